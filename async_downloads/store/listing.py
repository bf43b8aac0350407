"""What a person sees: the rows, with the live percentages laid over them."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Self, TypeVar

from django.core.paginator import Page, Paginator
from django.utils import timezone

from async_downloads.models import Download, DownloadQuerySet
from async_downloads.owners import Owner
from async_downloads.serving import Attachment
from async_downloads.store import cache_entries
from async_downloads.store.overdue import settled
from async_downloads.store.transactions import downloads

__all__ = [
    "Listing",
    "PageListing",
    "Version",
    "attachment_of",
    "get_for_staff",
    "get_for_user",
    "overlaid",
    "read_changes",
    "read_listing",
    "read_page",
    "read_page_changes",
]

#: How long ago a download was asked for when its page need not look as often any more, and
#: when even less.
PATIENT_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=10))

#: Downloads on one page of all of them.
PAGE_SIZE: Final = 25

T = TypeVar("T")


class Version(NamedTuple):
    """What a page shows, in two short texts that it brings along when it polls.

    Attributes:
        token: The collection's version token from before the rows were read,
            so that it can be too old but never too new.
        digest: A digest of what was shown.
    """

    token: str
    digest: str

    def __str__(self) -> str:
        return f"{self.token}.{self.digest}"

    @classmethod
    def of(cls, known: str | None, digest: str) -> Self:
        """Return the version of a listing.

        Args:
            known: What the cache held before the rows were read: the token of a
                writer; or a whole version that a page offered, whose token says
                nothing about a page that shows something else, because downloads
                expire and stall without a write.
            digest: The digest of the rows.
        """
        token, offered, offered_digest = (known or "").partition(".")
        if not token or (offered and offered_digest != digest):
            token = cache_entries.new_version()
        return cls(token, digest)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the version that a page brought; None if it is no version."""
        token, dot, digest = text.partition(".")
        # It may be offered to the cache again, so nothing but a version passes.
        if not dot or not (token + digest).isalnum() or len(text) > 128:
            return None
        return cls(token, digest)


@dataclass(frozen=True, slots=True)
class Listing:
    """The downloads of one owner, newest first, and the version that they are.

    Attributes:
        downloads: All of them, or the newest.
        version: What a page that shows them brings along when it polls.
        total: How many there are, shown or not.
        running: How many a worker is at, or may be soon, shown or not.
        patience: From 0 on, how seldom a page that waits for them may look: the
            longer ago the youngest of those in progress was asked for.
    """

    downloads: Sequence[Download]
    version: Version
    total: int
    running: int
    patience: int

    @property
    def in_progress(self) -> bool:
        """Whether a worker is at one of them, or may be soon."""
        return self.running > 0

    @property
    def stalled(self) -> bool:
        """Whether one of them was given up on, and may still finish after all."""
        return any(download.stalled for download in self.downloads)

    @property
    def finished(self) -> bool:
        """Whether one of them is complete or has failed."""
        return any(not download.unfinished for download in self.downloads)


class PageListing(NamedTuple):
    """One page of all downloads of one owner.

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
        owner: Whose downloads; a user, because only a user can look.
        limit: How many of them; None for all.
    """
    # The token is taken before the rows, so that it can be too old but never too new.
    known = cache_entries.get_version(owner.collection_key)
    rows = _Rows.read(owner, limit)
    return rows.listing(Version.of(known, rows.digest()))


def read_changes(owner: Owner, seen: Version | None, *, limit: int | None = None) -> Listing | None:
    """Return the owner's downloads if a page that shows ``seen`` is out of date.

    A page that is up to date costs one read of the cache, where the cache is
    shared between processes.

    Args:
        owner: Whose downloads.
        seen: What the page shows; None if it shows nothing yet.
        limit: How many of them the page shows; None for all.

    Returns:
        The downloads; None if the page shows them already.
    """
    found = _read_changes(owner, seen, lambda: (_Rows.read(owner, limit), None))
    return found and found[0]


def read_page(owner: Owner, number: str | int) -> "Page[Download]":
    """Return one page of the owner's downloads, newest first; the nearest there is."""
    paginator = Paginator(_mine(owner), PAGE_SIZE)
    page = paginator.get_page(number)
    page.object_list = settled(overlaid(list(page.object_list)))
    return page


def read_page_changes(
    owner: Owner, number: str | int, seen: Version | None = None
) -> PageListing | None:
    """Return one page of the owner's downloads, as ``read_page``, unless it is ``seen``."""

    def read() -> "tuple[_Rows, Page[Download]]":
        page = read_page(owner, number)
        shown = list(page.object_list)
        running = sum(row.in_progress for row in shown)
        return _Rows(shown, page.paginator.count, running), page

    found = _read_changes(owner, seen, read)
    return found and PageListing(found[1], found[0])


def _read_changes(
    owner: Owner, seen: Version | None, read: "Callable[[], tuple[_Rows, T]]"
) -> tuple[Listing, T] | None:
    """Return what is read and what comes with it, unless a page shows it already."""
    # Before the rows, as above.
    known = cache_entries.get_version(owner.collection_key)
    if seen is not None and known in (seen.token, str(seen)):
        return None
    rows, more = read()
    digest = rows.digest()
    if seen is not None and digest == seen.digest:
        if known is None:
            # An empty answer cannot bring the page a token, so the cache takes the page's.
            cache_entries.offer_version(owner.collection_key, str(seen))
        return None
    return rows.listing(Version.of(known, digest)), more


def get_for_user(user_id: Any, download_key: uuid.UUID) -> Download | None:
    """Return a user's own download that has not expired.

    Returns:
        None both for what does not exist and for what is somebody else's, so
        that nobody can tell the two apart.
    """
    found = downloads().for_user(user_id).active().filter(pk=download_key).first()
    return None if found is None or cache_entries.is_cleared(found.download_key) else found


def get_for_staff(download_key: uuid.UUID) -> Download | None:
    """Return anybody's download that has not expired; who may ask, the caller has found out."""
    return downloads().active().filter(pk=download_key).first()


def attachment_of(download: Download) -> Attachment:
    """Return a complete file as it is handed out; its tag is new if it is ever made again."""
    size, finished = download.size or 0, download.finished_at
    moment = int(finished.timestamp() * 1e6) if finished else 0
    etag = f'"{download.pk.hex}-{size:x}-{moment:x}"'
    return Attachment(download.filepath, download.filename, size, etag)


class _Rows(NamedTuple):
    """What was read of the rows of one owner."""

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
        shown = settled(overlaid(rows))
        # Of those that are shown, the live entries know better.
        running = hidden + sum(row.in_progress for row in shown)
        return cls(shown, total - (len(rows) - len(shown)), max(running, 0))

    @property
    def patience(self) -> int:
        asked = [row.timestamp for row in self.shown if row.in_progress]
        age = timezone.now() - max(asked) if asked else timedelta()
        return sum(age > limit for limit in PATIENT_AFTER)

    def digest(self) -> str:
        """Return a digest of everything about the rows that a page may show."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.total} {self.running} {self.patience}".encode())
        for row in self.shown:
            state = (row.pk, row.state, row.percentage, row.stalled, row.errors)
            made = (row.size, row.rows_written, row.rows_expected, row.name)
            digest.update(repr(state + made).encode(errors="surrogatepass"))
        return digest.hexdigest()

    def listing(self, version: Version) -> Listing:
        return Listing(self.shown, version, self.total, self.running, self.patience)


def _mine(owner: Owner) -> DownloadQuerySet:
    mine = downloads().for_user(owner.user_id).active()
    # A traceback may be long, and is not for the owner.
    return mine.newest_first().defer("error_detail")


def overlaid(rows: list[Download]) -> list[Download]:
    """Lay live percentages over unfinished rows, where the entry is the later word.

    Rows that were cleared and could not be deleted yet are left out.
    """
    unfinished = {row.download_key: row for row in rows if row.unfinished}
    live, cleared = cache_entries.get_live(unfinished, [row.download_key for row in rows])
    for key, entry in live.items():
        row, stamp = unfinished[key], cache_entries.stamp_of(entry)
        if stamp is not None and stamp > row.heard_at:
            row.percentage = entry["percentage"]
            row.heard_at = stamp
    return [row for row in rows if row.download_key not in cleared]
