"""Read the downloads that 0.6 kept in the cache, without changing it.

0.6 kept a list of download keys under each collection key, which it made of the
user name, and a dictionary under each download key.
"""

import uuid
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from django.core.cache import CacheKeyWarning, caches
from django.core.cache.backends.base import BaseCache

from async_downloads import settings
from async_downloads.files.names import download_key_of
from async_downloads.utils.log import get_logger

__all__ = ["LegacyDownload", "UnreadableCacheError", "read_downloads", "read_lists"]

logger = get_logger(__name__)

#: The key that is read to see whether a cache answers at all.
PROBE: Final = "async_downloads:probe"


class UnreadableCacheError(Exception):
    """The cache does not answer, so that its contents are unknown."""


@dataclass(frozen=True, slots=True)
class LegacyDownload:
    """A download as 0.6 kept it.

    Attributes:
        user: The owner's user name, or a text.
        name: Its name in the list.
        timestamp: When it was requested, in the time of the site's TIME_ZONE.
        filepath: The path that 0.6 requested; the storage may have chosen another.
        url: The URL of the file; empty if it was never saved.
        complete: Whether it had finished or failed.
        percentage: 0 to 100.
        errors: The text of a failure; empty without one.
    """

    user: str
    name: str
    timestamp: datetime
    filepath: str
    url: str
    complete: bool
    percentage: int
    errors: str


#: The fields of a cache entry of 0.6. Today's entries have a state as well.
FIELDS: Final = {field.name for field in fields(LegacyDownload)}


def read_lists(collection_keys: Iterable[str]) -> dict[str, list[uuid.UUID]]:
    """Return the download keys in the lists under these collection keys.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    values = _read(collection_keys)
    return {
        collection_key: [key for text in value if (key := download_key_of(text))]
        for collection_key, value in values.items()
        if isinstance(value, list)
    }


def read_downloads(download_keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, LegacyDownload | None]:
    """Return the downloads under these keys, with None for values of another kind.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    values = _read(str(key) for key in download_keys)
    return {uuid.UUID(key): _download(value) for key, value in values.items()}


def _download(value: object) -> LegacyDownload | None:
    if not isinstance(value, dict) or not value.keys() >= FIELDS or "state" in value:
        return None
    timestamp, filepath = value["timestamp"], value["filepath"]
    if not isinstance(timestamp, datetime) or not isinstance(filepath, str):
        return None
    try:
        percentage = min(max(int(value["percentage"]), 0), 100)
    except (OverflowError, TypeError, ValueError):
        percentage = 0
    return LegacyDownload(
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
    """Return the values under these keys, without those that cannot be read."""
    alias, wanted = settings.CACHE_NAME or "default", list(keys)
    cache = caches[alias]
    if not wanted:
        # Redis refuses an empty list.
        return {}
    with warnings.catch_warnings():
        # A user name may contain a space, which some kinds of cache refuse.
        warnings.simplefilter("ignore", CacheKeyWarning)
        try:
            values: dict[str, Any] = cache.get_many(wanted)
        except Exception as error:  # noqa: BLE001 (each kind of cache has errors of its own)
            return _read_singly(cache, alias, wanted, error)
    return values


def _read_singly(cache: BaseCache, alias: str, keys: list[str], error: Exception) -> dict[str, Any]:
    """Read key by key, so that one broken value does not hide the others."""
    try:
        cache.get(PROBE)
    except Exception:  # noqa: BLE001 (as above)
        raise UnreadableCacheError(f"The cache {alias!r} does not answer: {error}") from error
    values = {}
    for key in keys:
        try:
            value = cache.get(key)
        except Exception as broken:  # noqa: BLE001 (as above)
            logger.warning("The value of the key %r in the cache cannot be read: %s", key, broken)
        else:
            if value is not None:
                values[key] = value
    return values
