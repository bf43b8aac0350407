"""The cache: what is kept in it, under which keys, and for how long.

This is the only module that talks to a cache. Whatever a cache holds is
disposable, so every fault of a backend is a miss here, never an error to the
caller, and a backend that fails is left alone for a moment.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypedDict, TypeGuard, TypeVar

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router

from async_downloads import settings
from async_downloads.breaker import Breaker

__all__ = [
    "DownloadEntry",
    "delete_entry",
    "get_entries",
    "get_entry",
    "get_version",
    "is_shared",
    "new_version",
    "offer_version",
    "renew_version",
    "set_entry",
    "touch_entry",
]

T = TypeVar("T")

#: Seconds that a version token lives. A write of it that is lost costs no more than this.
VERSION_SECONDS: Final = 5

#: Memcached takes no longer keys and no other characters; the room left is for KEY_PREFIX.
_VALID_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


class DownloadEntry(TypedDict):
    """A download as plain values: what lies in the cache, and what JSON shows.

    ``timestamp`` and ``stamp`` are ISO 8601; ``stamp`` is when the percentage
    was set, and decides between an entry and a row.
    """

    download_key: str
    user: str
    name: str
    timestamp: str
    filepath: str
    url: str
    state: str
    percentage: int
    complete: bool
    errors: str
    css_class: str | None
    stamp: str


def get_entry(download_key: str) -> DownloadEntry | None:
    """Return a download's entry; None for a miss or for anything that is no entry."""
    return get_entries([download_key]).get(download_key)


def get_entries(download_keys: Iterable[str]) -> dict[str, DownloadEntry]:
    """Return the entries there are for these keys, in one round trip."""
    keys = list(download_keys)
    if not keys:
        return {}
    found: dict[str, Any] = _attempt(lambda cache: cache.get_many(keys), {})
    return {key: value for key, value in found.items() if _is_entry(value)}


def set_entry(entry: DownloadEntry) -> None:
    """Keep a download's entry for ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _attempt(
        lambda cache: cache.set(entry["download_key"], dict(entry), settings.TIMEOUT),
        None,
    )


def touch_entry(download_key: str) -> None:
    """Give a download's entry another ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _attempt(lambda cache: cache.touch(download_key, settings.TIMEOUT), False)


def delete_entry(download_key: str) -> None:
    """Drop a download's entry."""
    _attempt(lambda cache: cache.delete(download_key), False)


def is_shared() -> bool:
    """Return whether other processes see what this one puts into the cache.

    A version token that only its writer sees would tell a page that nothing
    changed while a worker writes; so no token is used with such a cache.
    """
    try:
        return not isinstance(caches[_alias()], (LocMemCache, DummyCache))
    except InvalidCacheBackendError:
        return False


def new_version() -> str:
    """Return a version token that was never used before."""
    return secrets.token_hex(8)


def get_version(collection_key: str) -> str | None:
    """Return the collection's version token; None if there is none or it cannot be trusted."""
    if not is_shared():
        return None
    version = _attempt(lambda cache: cache.get(_version_key(collection_key)), None)
    return version if isinstance(version, str) else None


def renew_version(collection_key: str) -> None:
    """Set a new version token, so that every page looks at the rows again."""
    if is_shared():
        key = _version_key(collection_key)
        _attempt(lambda cache: cache.set(key, new_version(), VERSION_SECONDS), None)


def offer_version(collection_key: str, version: str) -> None:
    """Set what a page brought as its version, unless a token is there.

    For a reader that found that the version still describes the rows. A token
    that a writer set in the meantime stands.
    """
    if is_shared():
        key = _version_key(collection_key)
        _attempt(lambda cache: cache.add(key, version, VERSION_SECONDS), False)


def _version_key(collection_key: str) -> str:
    if _VALID_KEY.fullmatch(collection_key):
        return collection_key
    return hashlib.sha256(collection_key.encode()).hexdigest()


def _is_entry(value: object) -> TypeGuard[DownloadEntry]:
    """Tell an entry from what an older version, another program or a fault left there."""
    if not isinstance(value, dict) or not DownloadEntry.__required_keys__ <= value.keys():
        return False
    try:
        datetime.fromisoformat(value["stamp"])
    except (TypeError, ValueError):
        return False
    percentage = value["percentage"]
    return isinstance(percentage, int) and 0 <= percentage <= 100


_breakers: Final[dict[str, Breaker]] = {}


def _attempt(operation: Callable[[BaseCache], T], default: T) -> T:
    """Run an operation on the configured cache; answer ``default`` if it cannot be had."""
    alias = _alias()
    breaker = _breakers.setdefault(alias, Breaker(f"The cache {alias!r}"))

    def run() -> T:
        cache = caches[alias]
        return default if _joins_transaction(cache) else operation(cache)

    return breaker.call(run, default)


def _alias() -> str:
    return settings.CACHE_NAME or "default"


def _joins_transaction(cache: BaseCache) -> bool:
    """Return whether what is written now would be part of a transaction of the caller's.

    That is a cache in the database. Its rows would stay locked, and unseen, until
    the caller commits, and a fault of its table would break the transaction.
    """
    if not isinstance(cache, DatabaseCache):
        return False
    return connections[router.db_for_write(cache.cache_model_class)].in_atomic_block
