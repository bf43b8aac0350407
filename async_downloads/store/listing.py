"""Read the downloads of one owner as a page shows them: rows with live percentages."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Self, TypeVar

from django.core.paginator import Page, Paginator
from django.utils import timezone

from async_downloads import intervals
from async_downloads.models import Download, DownloadQuerySet
from async_downloads.owners import Owner
from async_downloads.serving import Attachment
from async_downloads.store import cache_entries
from async_downloads.store.overdue import with_overdue_failed
from async_downloads.store.transactions import downloads

__all__ = [
    "Listing",
    "PageListing",
    "Version",
    "as_shown",
    "attachment_of",
    "get_for_staff",
    "get_for_user",
    "read_changes",
    "read_listing",
    "read_page",
    "read_page_changes",
    "with_live_progress",
]

#: Downloads on one page of the full list.
PAGE_SIZE: Final = 25

T = TypeVar("T")


class Version(NamedTuple):
    """The version of a listing, in two short texts that a page sends when it polls.

    Attributes:
        token: The collection's version token from before the rows were read,
            so that it can be too old but never too new.
        digest: A digest of the rows.
    """

    token: str
    digest: str

    def __str__(self) -> str:
        return f"{self.token}.{self.digest}"

    @classmethod
    def of(cls, known: str | None, digest: str) -> Self:
        """Return the version of a listing.

        Args:
            known: The cached text from before the rows were read: the token of a
                writer; or the version of another page, whose token says nothing
                about this page if the digests differ, because downloads expire
                and stall without a write.
            digest: The digest of the rows.
        """
        token, offered, offered_digest = (known or "").partition(".")
        if not token or (offered and offered_digest != digest):
            token = cache_entries.new_version()
        return cls(token, digest)

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
    """

    downloads: Sequence[Download]
    version: Version
    total: int
    running: int
    polling_tier: int

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
        """Whether one of them is complete or has failed."""
        return any(not download.unfinished for download in self.downloads)


class PageListing(NamedTuple):
    """One page of the full list of one owner.

    Attributes:
        page: The page, for a template.
        listing: The downloads on it.
    """

    page: "Page[Download]"
    listing: Listing


def read_listing(owner: Owner, *, limit: int | None = None) -> Listing:
    """Return the owner's downloads that have not expired, newest first.

    It costs one query and at most two reads of the cache, however many there are.

    Args:
        owner: The user who owns them.
        limit: How many to return; None for all.
    """
    # The token is taken before the rows, so that it can be too old but never too new.
    known = cache_entries.get_version(owner.collection_key)
    rows = _Rows.read(owner, limit)
    return rows.listing(Version.of(known, rows.digest()))


def read_changes(owner: Owner, seen: Version | None, *, limit: int | None = None) -> Listing | None:
    """Return the owner's downloads, or None if a page shows them already.

    An unchanged page costs one read of the cache, if all processes share it.

    Args:
        owner: The user who owns them.
        seen: The version that the page shows; None if it shows nothing yet.
        limit: How many of them the page shows; None for all.
    """
    changes = _read_changes(owner, seen, lambda: (_Rows.read(owner, limit), None))
    return changes and changes[0]


def read_page(owner: Owner, number: str | int) -> "Page[Download]":
    """Return the page of the full list with this number, or the nearest one."""
    paginator = Paginator(_mine(owner), PAGE_SIZE)
    page = paginator.get_page(number)
    page.object_list = as_shown(list(page.object_list))
    return page


def read_page_changes(
    owner: Owner, number: str | int, seen: Version | None = None
) -> PageListing | None:
    """Return a page as ``read_page`` does, or None if its version is ``seen``."""

    def read() -> "tuple[_Rows, Page[Download]]":
        page = read_page(owner, number)
        shown = list(page.object_list)
        running = sum(row.in_progress for row in shown)
        return _Rows(shown, page.paginator.count, running), page

    changes = _read_changes(owner, seen, read)
    return changes and PageListing(changes[1], changes[0])


def _read_changes(
    owner: Owner, seen: Version | None, read: "Callable[[], tuple[_Rows, T]]"
) -> tuple[Listing, T] | None:
    """Return the listing and whatever else ``read`` returns; None if a page shows it already."""
    # Before the rows, as above.
    known = cache_entries.get_version(owner.collection_key)
    if seen is not None and known in (seen.token, str(seen)):
        return None
    rows, extra = read()
    digest = rows.digest()
    if seen is not None and digest == seen.digest:
        if known is None:
            # A 204 has no body to bring the page a token, so the cache takes the page's.
            cache_entries.add_version(owner.collection_key, str(seen))
        return None
    return rows.listing(Version.of(known, digest)), extra


def get_for_user(user_id: Any, download_key: uuid.UUID) -> Download | None:
    """Return a user's own download that has not expired.

    It returns None both if there is none and if another user owns it, so that a
    request cannot find out which keys exist.
    """
    download = downloads().for_user(user_id).active().filter(pk=download_key).first()
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


class _Rows(NamedTuple):
    """The rows of one owner as they were read, with their counts."""

    shown: list[Download]
    total: int
    running: int

    @classmethod
    def read(cls, owner: Owner, limit: int | None) -> Self:
        rows = list(_mine(owner).counted()[:limit])
        if not rows:
            return cls([], 0, 0)
        counts: Any = rows[0]
        total, running = counts.total, counts.running
        hidden = running - sum(row.in_progress for row in rows)
        shown = as_shown(rows)
        # The cache entries are newer than the counts.
        running = hidden + sum(row.in_progress for row in shown)
        return cls(shown, total - (len(rows) - len(shown)), max(running, 0))

    @property
    def polling_tier(self) -> int:
        requested = [row.timestamp for row in self.shown if row.in_progress]
        age = timezone.now() - max(requested) if requested else timedelta()
        return sum(age > limit for limit in intervals.LONGER_AFTER)

    def digest(self) -> str:
        """Return a digest of all values of the rows that a page may show."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.total} {self.running} {self.polling_tier}".encode())
        for row in self.shown:
            state = (row.pk, row.state, row.percentage, row.stalled, row.errors)
            file = (row.size, row.rows_written, row.rows_expected, row.name)
            digest.update(repr(state + file).encode(errors="surrogatepass"))
        return digest.hexdigest()

    def listing(self, version: Version) -> Listing:
        return Listing(self.shown, version, self.total, self.running, self.polling_tier)


def _mine(owner: Owner) -> DownloadQuerySet:
    # A traceback may be long, and is not for the owner.
    return downloads().for_user(owner.user_id).active().newest_first().defer("error_detail")


def as_shown(rows: list[Download]) -> list[Download]:
    """Return rows with their live percentages, after failing those that are overdue."""
    return with_overdue_failed(with_live_progress(rows))


def with_live_progress(rows: list[Download]) -> list[Download]:
    """Return rows with the percentages of their cache entries, if those are newer.

    It leaves out rows that were cleared and are yet to be deleted.
    """
    unfinished = {row.download_key: row for row in rows if row.unfinished}
    live, cleared = cache_entries.get_entries_and_marks(
        unfinished, [row.download_key for row in rows]
    )
    for key, entry in live.items():
        row, stamp = unfinished[key], cache_entries.stamp_of(entry)
        if stamp is not None and stamp > row.heard_at:
            row.percentage = entry["percentage"]
            row.heard_at = stamp
    return [row for row in rows if row.download_key not in cleared]
