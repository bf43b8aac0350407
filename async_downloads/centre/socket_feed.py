"""The open websockets of one owner: one read of the summary for all of them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from async_downloads import intervals, settings, store, teams
from async_downloads.centre import rendering
from async_downloads.models import Download
from async_downloads.owners import Owner
from async_downloads.store import Summary
from async_downloads.utils.log import get_logger

__all__ = ["FAILED", "SIGNED_OUT", "Feed", "Page", "Socket"]

logger = get_logger(__name__)

T = TypeVar("T")

#: The close code after the end of a session: the page does not reconnect.
SIGNED_OUT: Final = 4401

#: The close code after an error: the page polls for a while.
FAILED: Final = 4500

#: Seconds after the moment at which a summary changes by itself: clocks and databases round.
MARGIN: Final = 2.0

#: Runs a function in a thread that may use the database.
InThread = Callable[[Callable[[], T]], Awaitable[T]]


class Socket(Protocol):
    """What a feed needs of a websocket. The first three methods use the database.

    Attributes:
        since: The ``newest`` of the summary that the page shows; None if it does not say.
    """

    since: str | None

    def is_signed_in(self) -> bool:
        """Return whether the session of the handshake is still valid."""

    def render(self, summary: Summary, finished: Sequence[Download]) -> str:
        """Return a summary as markup for this page, with toasts for what has finished."""

    def request_key(self) -> Hashable:
        """Return all of the handshake on which the markup may depend."""

    async def send_markup(self, markup: str) -> None:
        """Send markup to the page; an OSError means that the page has gone."""

    async def close(self, code: int) -> None:
        """Close the connection."""


class Page:
    """A websocket, and what its page shows.

    Attributes:
        socket: The websocket.
        seen: The version that was sent last.
        since: The ``newest`` of the summary that was sent last, or that came with the page.
        checked_at: When its session was checked last.
        check_due_at: When its session is checked though nothing is sent.
        sending: The task that sends or closes; None if there is none.
        is_behind: Whether the feed has passed over it meanwhile.
    """

    __slots__ = ("check_due_at", "checked_at", "is_behind", "seen", "sending", "since", "socket")

    def __init__(self, socket: Socket) -> None:
        now = time.monotonic()
        self.socket = socket
        self.seen = ""
        self.since = socket.since
        # The handshake has just read it.
        self.checked_at = now
        # Checks of sockets that connect at once are spread.
        self.check_due_at = now + random.uniform(0, intervals.SESSION_IDLE)  # noqa: S311
        self.sending: asyncio.Task[None] | None = None
        self.is_behind = False

    def check(self) -> bool:
        """Return whether the session is still valid, and note that it was checked."""
        began = time.monotonic()
        valid = self.socket.is_signed_in()
        self.checked_at = began
        if began >= self.check_due_at:
            self.check_due_at = began + intervals.SESSION_IDLE
        return valid

    def start(self, work: Any, wake: Callable[[], None]) -> None:
        """Begin to send or to close, and call ``wake`` afterwards if the page is behind."""

        def end(_: object) -> None:
            self.sending = None
            if self.is_behind:
                wake()

        self.sending = asyncio.create_task(work)
        self.sending.add_done_callback(end)


class Feed:
    """The pages of one owner, which see each change of the owner's downloads.

    All methods belong to the event loop of the sockets, except ``_read``.
    """

    def __init__(
        self, owner: Owner, in_thread: "InThread[Any]", teams_changed: "Callable[[Feed], None]"
    ) -> None:
        """Make a feed without pages.

        Args:
            owner: The owner.
            in_thread: Runs a function in a thread that may use the database.
            teams_changed: Called with the feed when its owner has other teams than before.
        """
        self.owner = owner
        self.pages: dict[Page, None] = {}
        self._in_thread = in_thread
        self._teams_changed = teams_changed
        #: The version token that the last look found; None if there is none to trust.
        self._token: str | None = None
        self._version = ""
        self._in_progress = False
        #: When the rows were last read, or the cache has said that nothing was written.
        self._read_at = 0.0
        self._due_at = 0.0
        self._is_woken = False
        self._task: asyncio.Task[None] | None = None

    @property
    def collection_keys(self) -> list[str]:
        """The keys of the collections that the pages show."""
        return store.collection_keys(self.owner)

    def is_due(self, token: str | None, *, hinted: bool) -> bool:
        """Return whether the pages may be behind.

        Args:
            token: The collection's version token; None if there is none to trust.
            hinted: Whether a hint has arrived.
        """
        if not self._version:
            # The first read has not ended; the token that it takes may be older.
            return hinted and token is None
        before, self._token = self._token, token
        now = time.monotonic()
        if token is not None:
            is_new = token != before and _token(token) != _token(self._version)
            return is_new or now >= self._due_at
        interval = intervals.SOCKET_BUSY if self._in_progress else intervals.SOCKET_IDLE
        if before is not None:
            # All feeds lose their tokens at once, so they are spread.
            spread = now - random.uniform(0, interval)  # noqa: S311
            self._read_at = max(self._read_at, spread)
        return hinted or now - self._read_at >= interval

    def wake(self) -> None:
        """Read soon, and send what has changed."""
        self._is_woken = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._is_woken and self.pages:
                self._is_woken = False
                await self._send_changes()
                await asyncio.sleep(intervals.SOCKET_MINIMUM)
        finally:
            self._task = None

    async def _send_changes(self) -> None:
        """Send the summary to each page that does not show it; after an error the pages poll."""
        # A page that is slow must not delay the others.
        for page in self.pages:
            page.is_behind = page.sending is not None
        pages = [page for page in self.pages if not page.is_behind]
        if not pages:
            return
        try:
            owner, summary, outcomes = await self._in_thread(lambda: self._read(pages))
        except Exception:
            logger.exception("Websockets are closed after an error; their pages poll instead")
            for page in pages:
                self.end(page, FAILED)
        else:
            self._note(owner, summary)
            self._deliver(summary, outcomes)

    def _deliver(self, summary: Summary, outcomes: dict[Page, str | int]) -> None:
        for page, outcome in outcomes.items():
            page.seen, page.since = summary.version, summary.newest
            if isinstance(outcome, int):
                self.end(page, outcome)
            elif page in self.pages:
                page.start(self._send(page, outcome), self.wake)

    def _read(self, pages: Sequence[Page]) -> tuple[Owner, Summary, dict[Page, str | int]]:
        """Return the summary, and the markup for each page without it, or its close code.

        The teams are those at this moment: one that the owner has left sends nothing more.
        """
        owner = teams.with_current_teams(self.owner)
        summary = store.read_summary(owner)
        behind = [page for page in pages if page.seen != summary.version]
        finished = {
            since: store.read_newly_finished(
                owner, since, summary.newest, limit=rendering.MAX_TOASTS
            )
            for since in {page.since for page in behind}
        }
        # Two tabs of one browser get the same markup.
        rendered: dict[Hashable, str] = {}
        return (
            owner,
            summary,
            {page: _outcome(page, summary, finished[page.since], rendered) for page in behind},
        )

    def _note(self, owner: Owner, summary: Summary) -> None:
        """Note the result of a read, and when the next one is due without a write."""
        if owner.teams != self.owner.teams:
            self.owner = owner
            self._teams_changed(self)
        now = self._read_at = time.monotonic()
        is_first = not self._version
        self._version = summary.version
        self._in_progress = summary.in_progress
        if summary.in_progress or summary.stalled:
            after = summary.recheck_after
        else:
            # Rechecks of sockets that connect at once are spread.
            spread = random.uniform(0, 1) if is_first else 1  # noqa: S311
            # Nothing says that a person has left or joined a team.
            recheck = intervals.SESSION_IDLE if settings.MEMBERS else intervals.SOCKET_RECHECK
            after = min(recheck * spread, summary.changes_after)
        self._due_at = now + max(after, 0) + MARGIN

    async def _send(self, page: Page, markup: str) -> None:
        try:
            await page.socket.send_markup(markup)
        except OSError:
            # The ASGI specification's error for a closed connection; uvicorn raises it.
            logger.debug("A page has gone before a change was sent")
            self.pages.pop(page, None)
        except Exception:
            logger.exception("A websocket is closed after an error; its page polls instead")
            self.pages.pop(page, None)
            await _close(page, FAILED)

    def end(self, page: Page, code: int) -> None:
        """Close a page's connection."""
        if page in self.pages:
            del self.pages[page]
            page.start(_close(page, code), self.wake)


def _outcome(
    page: Page, summary: Summary, finished: Sequence[Download], rendered: dict[Hashable, str]
) -> str | int:
    """Return the markup of a summary for a page, or the code with which its socket is closed."""
    try:
        if time.monotonic() - page.checked_at > intervals.SESSION_MAXIMUM and not page.check():
            return SIGNED_OUT
        key = (page.socket.request_key(), page.since)
        if key not in rendered:
            rendered[key] = page.socket.render(summary, finished)
    except Exception:
        logger.exception("A websocket is closed after an error; its page polls instead")
        return FAILED
    return rendered[key]


def _token(version: str) -> str:
    return version.partition(".")[0]


async def _close(page: Page, code: int) -> None:
    # The connection may be closed already.
    with suppress(Exception):
        await page.socket.close(code)
