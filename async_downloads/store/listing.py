"""What a person sees: the rows, with the live percentages laid over them."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from async_downloads import entries
from async_downloads.models import Download
from async_downloads.owners import Owner
from async_downloads.store.write_through import downloads

__all__ = ["Listing", "Version", "get_for_user", "read_changes", "read_listing"]


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
            token = entries.new_version()
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
    """The downloads of one owner, newest first, and the version that they are."""

    downloads: Sequence[Download]
    version: Version

    @property
    def in_progress(self) -> bool:
        """Whether a worker is at one of them, or may be soon."""
        return any(download.in_progress for download in self.downloads)

    @property
    def stalled(self) -> bool:
        """Whether one of them was given up on, and may still finish after all."""
        return any(download.stalled for download in self.downloads)


def read_listing(owner: Owner) -> Listing:
    """Return the owner's downloads that have not expired, newest first.

    It costs one query and at most two reads of the cache, however many there are.

    Args:
        owner: Whose downloads; a user, because only a user can look.
    """
    # The token is taken before the rows, so that it can be too old but never too new.
    known = entries.get_version(owner.collection_key)
    rows = _read_rows(owner)
    return Listing(rows, Version.of(known, _digest(rows)))


def read_changes(owner: Owner, seen: Version | None) -> Listing | None:
    """Return the owner's downloads if a page that shows ``seen`` is out of date.

    A page that is up to date costs one read of the cache, where the cache is
    shared between processes.

    Args:
        owner: Whose downloads.
        seen: What the page shows; None if it shows nothing yet.

    Returns:
        The downloads; None if the page shows them already.
    """
    if seen is None:
        return read_listing(owner)
    known = entries.get_version(owner.collection_key)
    if known in (seen.token, str(seen)):
        return None
    rows = _read_rows(owner)
    digest = _digest(rows)
    if digest == seen.digest:
        if known is None:
            # An empty answer cannot bring the page a token, so the cache takes the page's.
            entries.offer_version(owner.collection_key, str(seen))
        return None
    return Listing(rows, Version.of(known, digest))


def get_for_user(user_id: Any, download_key: uuid.UUID) -> Download | None:
    """Return a user's own download that has not expired.

    Returns:
        None both for what does not exist and for what is somebody else's, so
        that nobody can tell the two apart.
    """
    return downloads().for_user(user_id).active().filter(pk=download_key).first()


def _read_rows(owner: Owner) -> list[Download]:
    mine = downloads().for_user(owner.user_id).active()
    # A traceback may be long, and is not for the owner.
    rows = list(mine.newest_first().defer("error_detail"))
    _overlay(rows)
    return rows


def _overlay(rows: Iterable[Download]) -> None:
    """Lay live percentages over unfinished rows, where the entry is the later word."""
    unfinished = {row.download_key: row for row in rows if row.unfinished}
    for key, entry in entries.get_entries(unfinished).items():
        row, stamp = unfinished[key], datetime.fromisoformat(entry["stamp"])
        # USE_TZ may have been changed since the entry was written.
        comparable = (stamp.tzinfo is None) == (row.heard_at.tzinfo is None)
        if comparable and stamp > row.heard_at:
            row.percentage = entry["percentage"]
            row.heard_at = stamp


def _digest(rows: Iterable[Download]) -> str:
    """Return a digest of everything about the rows that a page may show."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        shown = (row.pk, row.state, row.percentage, row.stalled, row.errors, row.size, row.name)
        digest.update(repr(shown).encode(errors="surrogatepass"))
    return digest.hexdigest()
