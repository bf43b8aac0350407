"""The cache: what is kept in it, under which keys, and for how long.

This is the only module that talks to a cache. Whatever a cache holds is
disposable, so every fault of a backend is a miss here, never an error to the
caller, and a backend that fails is left alone for a moment.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict, TypeGuard, TypeVar

from django.conf import settings as project_settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router
from django.utils import timezone

from async_downloads import settings
from async_downloads.utils.circuit_breaker import CircuitBreaker

__all__ = [
    "DownloadEntry",
    "add_version",
    "delete_entry",
    "end_cleanup",
    "get_entries",
    "get_entries_and_marks",
    "get_entry",
    "get_version",
    "is_cleared",
    "is_shared",
    "last_cleanup",
    "mark_cancelled",
    "mark_cleared",
    "new_version",
    "record_cleanup",
    "renew_cleanup",
    "renew_version",
    "set_entry",
    "stamp_of",
    "start_cleanup",
    "touch_entry",
]

T = TypeVar("T")

#: Seconds that a version token lives. A write of it that is lost costs no more than this.
VERSION_SECONDS: Final = 5

#: What marks a download as cleared; anything else is none of ours.
CLEARED: Final = "cleared by its owner"

#: Seconds that the mark of a cancelled download lives after its row.
CANCELLED_SECONDS: Final = 24 * 60 * 60

#: By how much the clocks of two machines may differ, a change of the clocks included.
CLOCK_DIFFERENCE: Final = timedelta(hours=1, minutes=1)

#: Seconds that a clean-up has the field to itself without saying that it is still at it.
CLEANUP_SECONDS: Final = 60

#: Seconds that the end of a clean-up is remembered: as long as Memcached remembers anything.
LAST_CLEANUP_SECONDS: Final = 30 * 24 * 60 * 60

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


def get_entries_and_marks(
    download_keys: Iterable[str], listed: Iterable[str]
) -> tuple[dict[str, DownloadEntry], set[str]]:
    """Return entries, and which downloads are marked as cleared, in one round trip.

    Args:
        download_keys: Whose entries are wanted.
        listed: Whose marks are wanted.
    """
    keys = list(download_keys)
    marks = {_mark_key(key): key for key in listed}
    if not keys and not marks:
        return {}, set()
    found: dict[str, Any] = _attempt(lambda cache: cache.get_many([*keys, *marks]), {})
    cleared = {key for mark, key in marks.items() if found.get(mark) == CLEARED}
    return {key: found[key] for key in keys if _is_entry(found.get(key))}, cleared


def set_entry(entry: DownloadEntry) -> None:
    """Keep a download's entry for ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _attempt(
        lambda cache: cache.set(entry["download_key"], dict(entry), settings.TIMEOUT),
        None,
    )


def touch_entry(download_key: str) -> None:
    """Give a download's entry another ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _attempt(lambda cache: cache.touch(download_key, settings.TIMEOUT), False)


def stamp_of(entry: DownloadEntry) -> datetime | None:
    """Return when something was last heard of an entry's download.

    None if it cannot be compared with now, because USE_TZ was changed since, or
    if it lies so far in the future that no two clocks differ by as much.
    """
    stamp, now = datetime.fromisoformat(entry["stamp"]), timezone.now()
    if timezone.is_aware(stamp) != timezone.is_aware(now):
        return None
    return min(stamp, now) if stamp - now < CLOCK_DIFFERENCE else None


def delete_entry(download_key: str) -> None:
    """Delete the entry of a download whose row is gone, and the mark that it was cleared."""
    keys = [download_key, _mark_key(download_key)]
    _attempt(lambda cache: cache.delete_many(keys), None)


def mark_cancelled(download_key: str) -> None:
    """Mark an unfinished download whose row is gone.

    Its writer may be inside a transaction that still sees the row as it was.
    """
    key = _mark_key(download_key)
    _attempt(lambda cache: cache.set(key, CLEARED, CANCELLED_SECONDS), None)


def mark_cleared(download_keys: Iterable[str]) -> bool:
    """Mark downloads as cleared whose rows are locked, in one round trip.

    Returns:
        Whether all processes will find the marks: their writers, and the pages of their owner.
    """
    marks = {_mark_key(key): CLEARED for key in download_keys}

    def mark(cache: BaseCache) -> bool:
        # Until the rows go: what is unfinished does not expire.
        return not cache.set_many(marks, None)

    return is_shared() and _attempt(mark, False)


def is_cleared(download_key: str) -> bool:
    """Return whether a download whose row was locked is marked as cleared."""
    found: object = _attempt(lambda cache: cache.get(_mark_key(download_key)), None)
    return found == CLEARED


def start_cleanup(scope: str) -> bool:
    """Return whether a clean-up may start: not while another one says that it is at it.

    Two at once do no harm, so it may where the cache cannot tell.

    Args:
        scope: What is cleaned up; two sites may share one cache.
    """
    if not is_shared():
        return True
    key = _cleanup_key(scope)

    def start(cache: BaseCache) -> bool:
        if cache.add(key, time.time(), CLEANUP_SECONDS):
            return True
        said = cache.get(key)
        if type(said) is float and abs(time.time() - said) < CLEANUP_SECONDS:
            return False
        cache.set(key, time.time(), CLEANUP_SECONDS)
        return True

    return _attempt(start, True)


def renew_cleanup(scope: str) -> None:
    """Say that the clean-up that was started is still at it."""
    if is_shared():
        key = _cleanup_key(scope)
        _attempt(lambda cache: cache.set(key, time.time(), CLEANUP_SECONDS), None)


def end_cleanup(scope: str) -> None:
    """Let the next clean-up start."""
    _attempt(lambda cache: cache.delete(_cleanup_key(scope)), False)


def record_cleanup(scope: str) -> None:
    """Remember that a clean-up came to its end now."""
    key = f"{_cleanup_key(scope)}:last"
    _attempt(lambda cache: cache.set(key, time.time(), LAST_CLEANUP_SECONDS), None)


def last_cleanup(scope: str) -> datetime | None:
    """Return when a clean-up last came to its end; None if the cache does not know."""
    said: object = _attempt(lambda cache: cache.get(f"{_cleanup_key(scope)}:last"), None)
    if type(said) is not float or not 0 <= said <= time.time() + CLOCK_DIFFERENCE.total_seconds():
        return None
    moment = datetime.fromtimestamp(said, tz=UTC)
    return moment if project_settings.USE_TZ else timezone.make_naive(moment)


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


def add_version(collection_key: str, version: str) -> None:
    """Set what a page brought as its version, unless a token is there.

    For a reader that found that the version still describes the rows. A token
    that a writer set in the meantime stands.
    """
    if is_shared():
        key = _version_key(collection_key)
        _attempt(lambda cache: cache.add(key, version, VERSION_SECONDS), False)


def _cleanup_key(scope: str) -> str:
    return f"async_downloads:cleanup:{hashlib.sha256(scope.encode()).hexdigest()}"


def _mark_key(download_key: str) -> str:
    return f"{download_key}:cleared"


def _version_key(collection_key: str) -> str:
    # Not the collection key itself: 0.6 may have left a list there that is yet to be adopted.
    key = f"{collection_key}:version"
    return key if _VALID_KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()


def _is_entry(value: object) -> TypeGuard[DownloadEntry]:
    """Tell an entry from what an older version, another program or a fault left there."""
    if not isinstance(value, dict) or not DownloadEntry.__required_keys__ <= value.keys():
        return False
    try:
        datetime.fromisoformat(value["stamp"])
    except (TypeError, ValueError):
        return False
    percentage = value["percentage"]
    # True is an int to isinstance().
    return type(percentage) is int and 0 <= percentage <= 100


_breakers: Final[dict[str, CircuitBreaker]] = {}


def _attempt(operation: Callable[[BaseCache], T], default: T) -> T:
    """Run an operation on the configured cache; answer ``default`` if it cannot be had."""
    alias = _alias()
    breaker = _breakers.setdefault(alias, CircuitBreaker(f"The cache {alias!r}"))

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
