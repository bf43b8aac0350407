"""What 0.6 kept of downloads, which it kept in the cache alone.

Two kinds of things: a list of download keys under each collection key, which it
made of the user name, and a dictionary under each download key. They are read
here, and nothing in the cache is changed.
"""

import uuid
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.core.cache import CacheKeyWarning, caches
from django.core.cache.backends.base import BaseCache

from async_downloads import settings
from async_downloads.files.names import download_key_of
from async_downloads.utils.log import get_logger

__all__ = ["OldDownload", "UnreadableCacheError", "read_downloads", "read_lists"]

logger = get_logger(__name__)

#: What is asked for to see whether a cache answers at all.
PROBE: Final = "async_downloads:probe"

#: What each entry of 0.6 has. Today's entries have a state besides.
FIELDS: Final = {
    *("user", "name", "timestamp", "filepath", "url"),
    *("complete", "percentage", "errors"),
}


class UnreadableCacheError(Exception):
    """The cache does not answer, so that nothing can be said of what is in it."""


@dataclass(frozen=True, slots=True)
class OldDownload:
    """A download as 0.6 kept it.

    Attributes:
        user: The owner's user name, or the text that was given for an owner.
        name: What the list called it.
        timestamp: When it was asked for, in the time of the site's TIME_ZONE.
        filepath: The path that was asked of the storage, which may have chosen another.
        url: Where the file was said to be; empty if nothing was ever saved.
        complete: Whether it had ended, well or badly.
        percentage: 0 to 100.
        errors: What went wrong; empty if nothing did.
    """

    user: str
    name: str
    timestamp: datetime
    filepath: str
    url: str
    complete: bool
    percentage: int
    errors: str


def read_lists(collection_keys: Iterable[str]) -> dict[str, list[uuid.UUID]]:
    """Return the download keys in the lists that there are under these collection keys.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    found = _read(collection_keys)
    return {
        collection_key: [key for text in value if (key := download_key_of(text))]
        for collection_key, value in found.items()
        if isinstance(value, list)
    }


def read_downloads(download_keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, OldDownload | None]:
    """Return what the cache has under these keys: None for what is no download of 0.6.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    found = _read(str(key) for key in download_keys)
    return {uuid.UUID(key): _download(value) for key, value in found.items()}


def _download(value: object) -> OldDownload | None:
    if not isinstance(value, dict) or not value.keys() >= FIELDS or "state" in value:
        return None
    timestamp, filepath = value["timestamp"], value["filepath"]
    if not isinstance(timestamp, datetime) or not isinstance(filepath, str):
        return None
    try:
        percentage = min(max(int(value["percentage"]), 0), 100)
    except (OverflowError, TypeError, ValueError):
        percentage = 0
    return OldDownload(
        user=str(value["user"]),
        name=str(value["name"]),
        timestamp=timestamp,
        filepath=filepath,
        url=str(value["url"] or ""),
        complete=bool(value["complete"]),
        percentage=percentage,
        errors=str(value["errors"] or ""),
    )


def _read(keys: Iterable[str]) -> dict[str, Any]:
    """Return what the cache has under these keys, less what cannot be read."""
    alias, wanted = settings.CACHE_NAME or "default", list(keys)
    cache = caches[alias]
    if not wanted:
        # Redis would take that for a mistake.
        return {}
    with warnings.catch_warnings():
        # Of user names with a space in them, which not every kind of cache would take.
        warnings.simplefilter("ignore", CacheKeyWarning)
        try:
            found: dict[str, Any] = cache.get_many(wanted)
        except Exception as error:  # noqa: BLE001 (each kind of cache has errors of its own)
            return _read_singly(cache, alias, wanted, error)
    return found


def _read_singly(cache: BaseCache, alias: str, keys: list[str], error: Exception) -> dict[str, Any]:
    """Read key by key, so that one that is spoiled does not hide the others."""
    try:
        cache.get(PROBE)
    except Exception:  # noqa: BLE001 (as above)
        raise UnreadableCacheError(f"The cache {alias!r} does not answer: {error}") from error
    found = {}
    for key in keys:
        try:
            value = cache.get(key)
        except Exception as spoiled:  # noqa: BLE001 (as above)
            logger.warning("What the cache has under %r cannot be read: %s", key, spoiled)
        else:
            if value is not None:
                found[key] = value
    return found
