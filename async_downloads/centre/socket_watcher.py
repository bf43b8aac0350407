"""One look for all websockets of a process.

A process reads the version tokens of all owners with a socket in one round trip, once a
second. A socket does work only if the token of its owner has changed, or if its list changes
by itself: a download stalls or expires. So a socket that waits costs almost nothing.

A hint of the channel layer hastens the look. Without tokens, as with a cache that other
processes do not see, hints and the intervals of each owner decide.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any, Final

from async_downloads import intervals, store
from async_downloads.centre import push
from async_downloads.centre.socket_feed import SIGNED_OUT, Feed, Page, Socket
from async_downloads.centre.socket_groups import SocketGroups
from async_downloads.centre.socket_threads import SocketThreads
from async_downloads.owners import Owner
from async_downloads.utils.log import get_logger

__all__ = ["SocketWatcher", "watch"]

logger = get_logger(__name__)

#: Owners whose rows are read at once; each takes a connection to the database.
READS: Final = 3

#: Seconds between two checks of sessions, which are checked together.
SESSION_PAUSE: Final = 5.0


class SocketWatcher:
    """The websockets of one event loop, by owner.

    It works from the first socket until the last one leaves.
    """

    def __init__(self, layer: Any) -> None:
        """Begin to work."""
        self._feeds: dict[str, Feed] = {}
        #: The feeds of the members of each team, by the groups of both.
        self._members: dict[str, set[str]] = {}
        self._hinted: set[str] = set()
        self._hint = asyncio.Event()
        self._reads = SocketThreads(READS)
        # Looks at tokens and sessions do not wait for the rows.
        self._looks = SocketThreads(1)
        self._next_look = self._next_check = 0.0
        self._groups = SocketGroups(layer, self._receive)
        self._groups.start()
        self._task = asyncio.create_task(self._watch())

    def add(self, owner: Owner, socket: Socket) -> Page:
        """Send the owner's list to a socket, now and after each change.

        Args:
            owner: The owner, who has a user.
            socket: The websocket, which was accepted.
        """
        group = push.group_name(owner.user_id)
        feed = self._feeds.get(group)
        if feed is None:
            feed = self._feeds[group] = Feed(owner, self._reads.run, self._join_teams)
            self._groups.join(group)
        page = Page(socket)
        feed.pages[page] = None
        feed.wake()
        return page

    def remove(self, owner: Owner, page: Page) -> bool:
        """Forget a socket, and return whether it was the last one."""
        group = push.group_name(owner.user_id)
        feed = self._feeds.get(group)
        if feed is not None:
            feed.pages.pop(page, None)
            if not feed.pages:
                del self._feeds[group]
                feed.stop()
                self._groups.leave(group)
                self._leave_teams(group, self._members)
        return not self._feeds

    def close(self) -> None:
        """End, once the last socket has left."""
        self._task.cancel()
        self._groups.close()
        self._reads.close()
        self._looks.close()

    def _receive(self, message: Mapping[str, Any]) -> None:
        """Note a message of the channel layer; one without a known group counts for all."""
        group = message.get("group")
        groups = [group] if group in self._feeds else list(self._feeds) if group is None else []
        groups += self._members.get(str(group), ())
        if message.get("type") == push.SIGNED_OUT:
            self._check_soon(groups)
        else:
            self._hinted |= set(groups)
            self._hint.set()

    def _join_teams(self, feed: Feed) -> None:
        """Join the groups of the teams that the owner of a feed has now, and leave the others."""
        group = push.group_name(feed.owner.user_id)
        # A read may end after the last socket has left.
        keys = store.collection_keys(feed.owner)[1:] if self._feeds.get(group) is feed else []
        joined = {push.team_group_name(key) for key in keys}
        self._leave_teams(group, self._members.keys() - joined)
        for team in joined:
            if team not in self._members:
                self._groups.join(team)
            self._members.setdefault(team, set()).add(group)

    def _leave_teams(self, group: str, teams: Iterable[str]) -> None:
        for team in tuple(teams):
            self._members[team].discard(group)
            if not self._members[team]:
                del self._members[team]
                self._groups.leave(team)

    def _check_soon(self, groups: list[str]) -> None:
        now = time.monotonic()
        due_at = now + intervals.SESSION_AFTER_HINT
        for group in groups:
            for page in self._feeds[group].pages:
                # Nothing is sent before a check.
                page.checked_at, page.check_due_at = -inf, due_at
        self._next_check = min(self._next_check, due_at)

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
                await self._check_sessions()
            except Exception:
                logger.exception("Changes reach websockets later, after an error")
            await asyncio.sleep(intervals.SOCKET_HINTED)
            with suppress(TimeoutError):
                async with asyncio.timeout(intervals.SOCKET_LOOK - intervals.SOCKET_HINTED):
                    await self._hint.wait()

    async def _look(self) -> None:
        """Wake each feed whose token has changed: of all, or between two looks of the hinted."""
        self._hint.clear()
        hinted, self._hinted = self._hinted, set()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + intervals.SOCKET_LOOK - intervals.SOCKET_HINTED
            feeds = dict(self._feeds)
        else:
            feeds = {group: self._feeds[group] for group in hinted if group in self._feeds}
        keys = {group: feed.collection_keys for group, feed in feeds.items()}
        if not keys:
            return
        every_key = set(chain.from_iterable(keys.values()))
        tokens = await self._looks.run(lambda: store.get_versions(every_key))
        for group, feed in feeds.items():
            token = _token_of(keys[group], tokens)
            if not feed.is_due(token, hinted=group in hinted) or group not in self._feeds:
                continue
            feed.wake()
            if token is None and group not in hinted:
                # Only hints make such a feed prompt, and none has come.
                self._groups.join(group)

    async def _check_sessions(self) -> None:
        """Close the sockets whose session has ended."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + SESSION_PAUSE
        due = [
            (feed, page)
            for feed in self._feeds.values()
            for page in feed.pages
            if page.check_due_at <= now
        ]
        if due:
            ended = await self._looks.run(lambda: [each for each in due if not each[1].check()])
            for feed, page in ended:
                feed.end(page, SIGNED_OUT)


def _token_of(keys: list[str], tokens: Mapping[str, str]) -> str | None:
    """Return the version token of collections; None if there is none to trust."""
    known = {key: tokens[key] for key in keys if key in tokens}
    # A team may have the key of a user whose primary key is its label.
    if len(known) < len(set(keys)):
        return None
    return store.joint_version(known) if len(keys) > 1 else known[keys[0]]


_watchers: Final[dict[asyncio.AbstractEventLoop, SocketWatcher]] = {}


def watch(layer: Any, owner: Owner, socket: Socket) -> Callable[[], None]:
    """Send the owner's list to a socket, now and after each change.

    Args:
        layer: The channel layer.
        owner: The owner, who has a user.
        socket: The websocket, which was accepted.

    Returns:
        A function to call once the socket is closed.
    """
    loop = asyncio.get_running_loop()
    watcher = _watchers.get(loop) or _watchers.setdefault(loop, SocketWatcher(layer))
    page = watcher.add(owner, socket)

    def leave() -> None:
        if watcher.remove(owner, page) and _watchers.get(loop) is watcher:
            del _watchers[loop]
            watcher.close()

    return leave
