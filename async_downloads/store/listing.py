"""Read the downloads of one owner as a page shows them: rows with live percentages."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import inf
from typing import Any, Final, NamedTuple, Self, TypeVar

from django.core.paginator import Page, Paginator
from django.utils import timezone

from async_downloads import intervals, settings
from async_downloads.models import Download, DownloadQuerySet
from async_downloads.models.waiting import coarse_ahead
from async_downloads.owners import Owner
from async_downloads.serving import Attachment
from async_downloads.store import cache_entries, team_downloads
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.overdue import with_overdue_failed
from async_downloads.store.queue_position import with_queue_positions
from async_downloads.store.raw_rows import read_list
from async_downloads.store.rescue import with_stalled_rescued
from async_downloads.store.team_downloads import with_seen_at, with_teams
from async_downloads.store.transactions import downloads
from async_downloads.utils.memory import Memory

__all__ = [
    "Listing",
    "PageListing",
    "Rows",
    "Version",
    "as_shown",
    "attachment_of",
    "get_for_staff",
    "get_for_user",
    "is_unseen",
    "read_changes",
    "read_listing",
    "read_one_change",
    "read_page_changes",
    "visible_downloads",
]

#: Downloads on one page of the full list.
PAGE_SIZE: Final = 25

#: A list of up to so many downloads reads their live progress with its version token.
MAX_EARLY: Final = 3

#: What is known of live progress before the rows are read, by the key in the cache.
_Early = Mapping[str, object]

T = TypeVar("T")


class _LastList(NamedTuple):
    """What is known of an owner's list when it is read again.

    Attributes:
        total: How many downloads there were.
        early: Those whose live progress is read with the version token.
    """

    total: float = inf
    early: tuple[str, ...] = ()


#: The last lists, by the owner's collection.
_last_lists: Final[Memory[uuid.UUID, _LastList]] = Memory(1000)

#: A page, the counts of all pages, and when the last download on them finished.
_Page = tuple["Page[Download]", dict[str, int], datetime | None]


class Version(NamedTuple):
    """The version of a listing, in two short texts that a page sends when it polls.

    Attributes:
        token: The collection's version token from before the rows were read, so that it can be
            too old but never too new; another one if the page soon changes by itself, or if
            the clocks of two machines differ.
        digest: A digest of the rows.
    """

    token: str
    digest: str

    def __str__(self) -> str:
        return f"{self.token}.{self.digest}"

    @classmethod
    def of(cls, known: str | None, digest: str, holds: float) -> Self:
        """Return the version of a listing.

        Args:
            known: The cached token from before the rows were read.
            digest: The digest of the rows.
            holds: The seconds after which it may change though nothing is written.
        """
        if known is None:
            return cls(cache_entries.new_version(), digest)
        # One of the future would be young for longer than the page holds.
        if holds < intervals.RECHECK or cache_entries.is_of_future(known):
            # All pages with these rows get the same one, and share a check.
            return cls(f"x{known}", digest)
        return cls(known, digest)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the version that a page sent; None if the text is not a version."""
        token, dot, digest = text.partition(".")
        # The cache may get it, so nothing but a version passes.
        if not dot or not (token + digest).isalnum() or len(text) > 128:
            return None
        return cls(token, digest)


@dataclass(frozen=True, slots=True)
class Listing:
    """The downloads of one owner, newest first, with their version.

    Attributes:
        downloads: All of them, or the newest.
        version: The version that a page sends when it polls.
        total: How many there are, shown or not.
        running: How many are in progress, shown or not.
        polling_tier: The index of the polling interval, from 0 on: it grows with the
            age of the youngest download in progress.
        recheck_after: Seconds after which a page that shows them is compared with the rows
            again, if nothing is written meanwhile: a download may stall or expire.
        changes_after: Seconds after which it changes though nothing is written; None if
            it does not.
        percentage: The mean progress of those in progress.
        newest: When the last of them finished or failed, on the clock of the database.
        seen_at: The same of the last one that the owner has seen.
    """

    downloads: Sequence[Download]
    version: Version
    total: int
    running: int
    polling_tier: int
    recheck_after: float
    changes_after: float | None
    percentage: int
    newest: datetime | None
    seen_at: datetime | None

    @property
    def in_progress(self) -> bool:
        """Whether one of them is in progress."""
        return self.running > 0

    @property
    def stalled(self) -> bool:
        """Whether one of them has stalled; it may still finish."""
        return any(download.stalled for download in self.downloads)

    @property
    def finished(self) -> bool:
        """Whether one of the owner's own is complete or has failed."""
        return any(not row.unfinished and row.team is None for row in self.downloads)

    @property
    def newest_text(self) -> str:
        """``newest`` as ISO 8601; empty for None."""
        return self.newest.isoformat() if self.newest else ""

    @property
    def unseen(self) -> bool:
        """Whether one of them has finished or failed, and the owner has not seen that."""
        return self.newest is not None and (self.seen_at is None or self.newest > self.seen_at)


class PageListing(NamedTuple):
    """One page of the full list of one owner.

    Attributes:
        page: The page, for a template.
        listing: The downloads on it.
        counts: How many downloads of each stage there are on all pages.
        newest: When the last of them finished or failed, on the clock of the database.
    """

    page: "Page[Download]"
    listing: Listing
    counts: dict[str, int]
    newest: datetime | None


def read_listing(owner: Owner, *, limit: int | None = None) -> Listing:
    """Return the owner's downloads that have not expired, newest first.

    It costs one query and at most two reads of the cache, however many there are. If one
    waits for a worker, a process makes one more every two seconds.

    Args:
        owner: The user who owns them.
        limit: How many to return; None for all.
    """
    # The token is taken before the rows, so that it can be too old but never too new.
    known = team_downloads.get_version(owner)
    rows = Rows.read(owner, limit)
    version = Version.of(known, rows.digest(), rows.recheck_after)
    if rows.running:
        # The page will poll.
        cache_entries.record_check(owner.collection_key, str(version), known, rows.recheck_after)
    return rows.listing(version)


def read_changes(
    owner: Owner,
    seen: Version | None,
    *,
    limit: int | None = None,
    offset: int = 0,
    with_unseen: bool = False,
) -> Listing | None:
    """Return the owner's downloads, or None if a page shows them already.

    An unchanged page costs one read of the cache, if all processes share it.

    Args:
        owner: The user who owns them.
        seen: The version that the page shows; None if it shows nothing yet.
        limit: How many of them the page shows; None for all.
        offset: How many newer ones it does not show. A listing without downloads has no counts
            then.
        with_unseen: Whether the page shows which downloads the owner has not seen.
    """

    def read(early: _Early) -> "tuple[Rows, None]":
        return Rows.read(owner, limit, offset, early), None

    changes = _read_changes(owner, seen, read, with_unseen=with_unseen)
    return changes and changes[0]


def read_one_change(
    owner: Owner, download_key: uuid.UUID, seen: Version | None = None
) -> Listing | None:
    """Return one of the owner's downloads as ``read_changes`` does; an empty listing for none."""

    def read(early: _Early) -> "tuple[Rows, None]":
        return Rows.read_one(owner, download_key, early), None

    changes = _read_changes(owner, seen, read, with_unseen=True)
    return changes and changes[0]


def read_page_changes(
    owner: Owner, number: str | int, seen: Version | None = None
) -> PageListing | None:
    """Return the page with this number, or the nearest one; None if its version is ``seen``."""

    def read(early: _Early) -> "tuple[Rows, _Page]":
        # One query counts them in all and by stage.
        counts, newest = downloads().visible_to(owner).active().stages()
        paginator = Paginator(visible_downloads(owner).by_stage(), PAGE_SIZE)
        paginator.count = sum(counts.values())
        page = paginator.get_page(number)
        rows = with_teams(owner, list(page.object_list))
        page.object_list = shown = with_queue_positions(as_shown(rows, early))
        return Rows(shown, paginator.count), (page, counts, newest)

    changes = _read_changes(owner, seen, read)
    if changes is None:
        return None
    listing, (page, counts, newest) = changes
    return PageListing(page, listing, counts, newest)


def _read_changes(
    owner: Owner,
    seen: Version | None,
    read: "Callable[[_Early], tuple[Rows, T]]",
    *,
    with_unseen: bool = False,
) -> tuple[Listing, T] | None:
    """Return the listing and whatever else ``read`` returns; None if a page shows it already."""
    # Before the rows, as above.
    keys = team_downloads.collection_keys(owner)
    known, is_current, early = cache_entries.get_version_and_check(
        keys, str(seen or ""), _last_list(owner).early
    )
    if is_current:
        return None
    rows, extra = read(early)
    digest = rows.digest(with_unseen=with_unseen)
    unchanged = seen is not None and digest == seen.digest
    holds = rows.recheck_after
    version = seen if unchanged and seen is not None else Version.of(known, digest, holds)
    cache_entries.record_check(keys[0], str(version), known, holds)
    return None if unchanged else (rows.listing(version), extra)


def get_for_user(user_id: Any, download_key: uuid.UUID) -> Download | None:
    """Return a user's own download that has not expired.

    It returns None both if there is none and if another user owns it, so that a
    request cannot find out which keys exist.
    """
    rows = downloads().for_user(user_id).active().with_database_clock()
    download = rows.filter(pk=download_key).first()
    if download is None or cache_entries.is_cleared(download.download_key):
        return None
    return download


def get_for_staff(download_key: uuid.UUID) -> Download | None:
    """Return any download that has not expired; the caller has checked the permission."""
    return downloads().active().filter(pk=download_key).first()


def attachment_of(download: Download) -> Attachment:
    """Return the file of a complete download; its ETag is new if the file is made again."""
    size, finished = download.size or 0, download.finished_at
    moment = int(finished.timestamp() * 1e6) if finished else 0
    etag = f'"{download.pk.hex}-{size:x}-{moment:x}"'
    return Attachment(download.filepath, download.filename, size, etag)


@dataclass(frozen=True)
class Rows:
    """The rows of one owner as they were read, with their counts.

    Attributes:
        shown: The rows, with their live percentages.
        total: How many there are, shown or not.
        hidden: How many are in progress beside those.
    """

    shown: list[Download]
    total: int
    hidden: int = 0

    @classmethod
    def read(
        cls, owner: Owner, limit: int | None, offset: int = 0, early: _Early | None = None
    ) -> Self:
        end = None if limit is None else offset + limit
        fits = end is not None and _last_list(owner).total <= end
        rows, total, hidden = read_list(owner, offset, end, fits=fits)
        shown = with_queue_positions(as_shown(with_teams(owner, rows), early))
        read = cls(shown, total - (len(rows) - len(shown)), hidden)
        # An empty page behind the last one does not say how many there are.
        if not offset:
            few = read.in_progress and total <= MAX_EARLY
            keys = tuple(row.download_key for row in rows) if few else ()
            _last_lists[owner.collection_id] = _LastList(total, keys)
        return read

    @classmethod
    def read_one(cls, owner: Owner, download_key: uuid.UUID, early: _Early) -> Self:
        rows = with_teams(owner, list(visible_downloads(owner).filter(pk=download_key)))
        shown = with_queue_positions(as_shown(rows, early))
        return cls(shown, len(shown))

    @cached_property
    def in_progress(self) -> list[Download]:
        """Those of the rows that are in progress, by one look at the clock for each."""
        return [row for row in self.shown if row.in_progress]

    @property
    def running(self) -> int:
        """How many are in progress, shown or not."""
        # The cache entries are newer than the count of the hidden ones.
        return max(self.hidden + len(self.in_progress), 0)

    @cached_property
    def polling_tier(self) -> int:
        requested = [row.timestamp for row in self.in_progress]
        age = timezone.now() - max(requested) if requested else timedelta()
        return sum(age > limit for limit in intervals.LONGER_AFTER)

    @property
    def percentage(self) -> int:
        running = [row.percentage for row in self.in_progress]
        return sum(running) // len(running) if running else 0

    @cached_property
    def changes_after(self) -> float | None:
        """Seconds until a page changes though nothing is written; None if it does not."""
        now, stalled_after = timezone.now(), timedelta(seconds=settings.STALLED_AFTER)
        changes = [row.heard_at + stalled_after - row.database_time() for row in self.in_progress]
        changes += [
            row.expires_at - now
            for row in self.shown
            if row.expires_at and not row.unfinished and not row.held
        ]
        if any(row.waiting for row in self.shown):
            changes.append(timedelta(seconds=intervals.RECHECK_WAITING))
        return min((change.total_seconds() for change in changes), default=None)

    @property
    def recheck_after(self) -> float:
        """Seconds until a page changes though nothing is written, or may have missed a write."""
        limit = max(intervals.RECHECK, 3 * intervals.POLL[self.polling_tier])
        change = self.changes_after
        return limit if change is None else min(limit, change)

    def digest(self, *, with_unseen: bool = False) -> str:
        """Return a digest of all values of the rows that a page may show."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.total} {self.running} {self.polling_tier}".encode())
        for row in self.shown:
            stalled = row.stalled
            state = (row.pk, row.state, row.percentage, stalled, row.errors)
            again = (bool(row.task), stalled and row.rescuable)
            # Only of a finished one: each heartbeat of another prolongs its life.
            expires_at = None if row.unfinished else row.expires_at
            ended = (expires_at, row.held, row.fetch_count, with_unseen and is_unseen(row))
            file = (row.size, row.rows_written, row.rows_expected, row.name)
            # The time that is left changes with each second, and is shown with the progress. Once
            # it has passed, a page must not show it any longer.
            late = row.expected_at is not None and row.seconds_left is None
            queue = (stalled and row.served, *coarse_ahead(row.ahead), late)
            team = (row.team.title, row.read_only) if row.team else ()
            shown = state + again + file + ended + queue + team
            digest.update(repr(shown).encode(errors="surrogatepass"))
        return digest.hexdigest()

    def listing(self, version: Version) -> Listing:
        rows: Any = self.shown
        return Listing(
            downloads=self.shown,
            version=version,
            total=self.total,
            running=self.running,
            polling_tier=self.polling_tier,
            recheck_after=self.recheck_after,
            changes_after=self.changes_after,
            percentage=self.percentage,
            newest=max((row.heard_at for row in self.shown if not row.unfinished), default=None),
            seen_at=rows[0].seen_at if rows else None,
        )


def _last_list(owner: Owner) -> _LastList:
    return _last_lists.get(owner.collection_id, _LastList())


def visible_downloads(owner: Owner) -> DownloadQuerySet:
    """Return the downloads of the owner and their teams that have not expired, newest first."""
    # A traceback may be long, and is not for the owner.
    rows = downloads().visible_to(owner).active().newest_first()
    return with_seen_at(owner, rows.without_long_columns().with_database_clock())


def is_unseen(row: Any) -> bool:
    """Return whether a download has finished or failed since its owner last saw the list.

    Args:
        row: A row of a listing.
    """
    return not row.unfinished and (row.seen_at is None or row.heard_at > row.seen_at)


def as_shown(rows: list[Download], early: Mapping[str, object] | None = None) -> list[Download]:
    """Return rows with their live percentages.

    Those that are overdue fail first, and those that have stalled are rescued.

    Args:
        rows: The rows.
        early: What is known of their live progress before they were read, see
            ``with_live_progress``.
    """
    return with_stalled_rescued(with_overdue_failed(with_live_progress(rows, early)))
