"""The keys, values and timeouts of the cache.

Only this module uses a cache. Cached values are disposable, so every error of a backend
counts as a miss and never reaches the caller. A backend that fails is not called for a while.
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

#: Seconds that a version token lives: a page is out of date that long if a write of it is lost.
VERSION_SECONDS: Final = 5

#: The value that marks a download as cleared; any other value under the key is ignored.
CLEARED: Final = "cleared by its owner"

#: Seconds that the mark of a cancelled download outlives its row.
CANCELLED_SECONDS: Final = 24 * 60 * 60

#: How much the clocks of two machines may differ, including daylight saving time.
CLOCK_DIFFERENCE: Final = timedelta(hours=1, minutes=1)

#: Seconds after which a clean-up that gives no heartbeat no longer blocks the next one.
CLEANUP_SECONDS: Final = 60

#: Seconds that the end of a clean-up is remembered: the longest timeout of Memcached.
LAST_CLEANUP_SECONDS: Final = 30 * 24 * 60 * 60

#: The keys that Memcached accepts, with 50 characters left for KEY_PREFIX.
_VALID_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


class DownloadEntry(TypedDict):
    """A download as plain values, for the cache and for JSON.

    ``timestamp`` and ``stamp`` are ISO 8601. ``stamp`` is when the percentage was set: the
    entry counts if it is newer than the row.
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
    """Return a download's entry; None for a miss and for a value that is not an entry."""
    return get_entries([download_key]).get(download_key)


def get_entries(download_keys: Iterable[str]) -> dict[str, DownloadEntry]:
    """Return the entries of these downloads, in one round trip."""
    keys = list(download_keys)
    if not keys:
        return {}
    values: dict[str, Any] = _call(lambda cache: cache.get_many(keys), {})
    return {key: value for key, value in values.items() if _is_entry(value)}


def get_entries_and_marks(
    download_keys: Iterable[str], listed: Iterable[str]
) -> tuple[dict[str, DownloadEntry], set[str]]:
    """Return entries, and which downloads are marked as cleared, in one round trip.

    Args:
        download_keys: The downloads whose entries are read.
        listed: The downloads whose marks are read.
    """
    keys = list(download_keys)
    marks = {_mark_key(key): key for key in listed}
    if not keys and not marks:
        return {}, set()
    values: dict[str, Any] = _call(lambda cache: cache.get_many([*keys, *marks]), {})
    cleared = {key for mark, key in marks.items() if values.get(mark) == CLEARED}
    return {key: values[key] for key in keys if _is_entry(values.get(key))}, cleared


def set_entry(entry: DownloadEntry) -> None:
    """Set a download's entry, for ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _call(
        lambda cache: cache.set(entry["download_key"], dict(entry), settings.TIMEOUT),
        None,
    )


def touch_entry(download_key: str) -> None:
    """Extend a download's entry by ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _call(lambda cache: cache.touch(download_key, settings.TIMEOUT), False)


def stamp_of(entry: DownloadEntry) -> datetime | None:
    """Return when an entry was set.

    None if that cannot be compared with now, because USE_TZ has changed since, or if it lies
    further in the future than two clocks may differ.
    """
    stamp, now = datetime.fromisoformat(entry["stamp"]), timezone.now()
    if timezone.is_aware(stamp) != timezone.is_aware(now):
        return None
    return min(stamp, now) if stamp - now < CLOCK_DIFFERENCE else None


def delete_entry(download_key: str) -> None:
    """Delete the entry and the mark of a download whose row is deleted."""
    keys = [download_key, _mark_key(download_key)]
    _call(lambda cache: cache.delete_many(keys), None)


def mark_cancelled(download_key: str) -> None:
    """Mark an unfinished download whose row is deleted.

    Its attempt may be inside a transaction that still sees the row.
    """
    key = _mark_key(download_key)
    _call(lambda cache: cache.set(key, CLEARED, CANCELLED_SECONDS), None)


def mark_cleared(download_keys: Iterable[str]) -> bool:
    """Mark downloads as cleared whose rows are locked, in one round trip.

    Returns:
        Whether all processes will see the marks: the attempts, and the pages of the owner.
    """
    marks = {_mark_key(key): CLEARED for key in download_keys}

    def mark(cache: BaseCache) -> bool:
        # Without a timeout: an unfinished download does not expire.
        return not cache.set_many(marks, None)

    return is_shared() and _call(mark, False)


def is_cleared(download_key: str) -> bool:
    """Return whether a download whose row was locked is marked as cleared."""
    mark: object = _call(lambda cache: cache.get(_mark_key(download_key)), None)
    return mark == CLEARED


def start_cleanup(scope: str) -> bool:
    """Return whether a clean-up may start: not while another one gives heartbeats.

    Two at once are harmless, so it may start if the cache is of no help.

    Args:
        scope: The database that is cleaned up; two sites may share one cache.
    """
    if not is_shared():
        return True
    key = _cleanup_key(scope)

    def start(cache: BaseCache) -> bool:
        if cache.add(key, time.time(), CLEANUP_SECONDS):
            return True
        heartbeat = cache.get(key)
        if type(heartbeat) is float and abs(time.time() - heartbeat) < CLEANUP_SECONDS:
            return False
        cache.set(key, time.time(), CLEANUP_SECONDS)
        return True

    return _call(start, True)


def renew_cleanup(scope: str) -> None:
    """Give a heartbeat for the clean-up that was started."""
    if is_shared():
        key = _cleanup_key(scope)
        _call(lambda cache: cache.set(key, time.time(), CLEANUP_SECONDS), None)


def end_cleanup(scope: str) -> None:
    """Allow the next clean-up to start."""
    _call(lambda cache: cache.delete(_cleanup_key(scope)), False)


def record_cleanup(scope: str) -> None:
    """Record that a clean-up has ended now."""
    key = f"{_cleanup_key(scope)}:last"
    _call(lambda cache: cache.set(key, time.time(), LAST_CLEANUP_SECONDS), None)


def last_cleanup(scope: str) -> datetime | None:
    """Return when the last clean-up ended; None if the cache does not know."""
    ended: object = _call(lambda cache: cache.get(f"{_cleanup_key(scope)}:last"), None)
    latest = time.time() + CLOCK_DIFFERENCE.total_seconds()
    if type(ended) is not float or not 0 <= ended <= latest:
        return None
    moment = datetime.fromtimestamp(ended, tz=UTC)
    return moment if project_settings.USE_TZ else timezone.make_naive(moment)


def is_shared() -> bool:
    """Return whether other processes see what this one puts into the cache.

    Without that there are no version tokens: a worker could not renew the token that a web
    process has, and pages would stay as they are.
    """
    try:
        return not isinstance(caches[_alias()], (LocMemCache, DummyCache))
    except InvalidCacheBackendError:
        return False


def new_version() -> str:
    """Return a version token that has never been used."""
    return secrets.token_hex(8)


def get_version(collection_key: str) -> str | None:
    """Return the collection's version token; None if there is none or it cannot be trusted."""
    if not is_shared():
        return None
    version = _call(lambda cache: cache.get(_version_key(collection_key)), None)
    return version if isinstance(version, str) else None


def renew_version(collection_key: str) -> None:
    """Set a new version token, so that every page reads the rows again."""
    if is_shared():
        key = _version_key(collection_key)
        _call(lambda cache: cache.set(key, new_version(), VERSION_SECONDS), None)


def add_version(collection_key: str, version: str) -> None:
    """Set the token of a page that is up to date, unless there is one.

    A token that a writer has set since the page was compared with the rows must stay.
    """
    if is_shared():
        key = _version_key(collection_key)
        _call(lambda cache: cache.add(key, version, VERSION_SECONDS), False)


def _cleanup_key(scope: str) -> str:
    return f"async_downloads:cleanup:{hashlib.sha256(scope.encode()).hexdigest()}"


def _mark_key(download_key: str) -> str:
    return f"{download_key}:cleared"


def _version_key(collection_key: str) -> str:
    # Not the collection key itself: 0.6 may have left a list there that is not adopted yet.
    key = f"{collection_key}:version"
    return key if _VALID_KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()


def _is_entry(value: object) -> TypeGuard[DownloadEntry]:
    """Return whether a value is an entry; 0.6 or another program may have left another one."""
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


def _call(operation: Callable[[BaseCache], T], default: T) -> T:
    """Run an operation on the configured cache; return ``default`` if it fails."""
    alias = _alias()
    breaker = _breakers.setdefault(alias, CircuitBreaker(f"The cache {alias!r}"))

    def call() -> T:
        cache = caches[alias]
        return default if _joins_transaction(cache) else operation(cache)

    return breaker.call(call, default)


def _alias() -> str:
    return settings.CACHE_NAME or "default"


def _joins_transaction(cache: BaseCache) -> bool:
    """Return whether the cache is a table, and a write would join the caller's transaction.

    Its rows would be locked and invisible until the caller commits, and an error would break
    the transaction.
    """
    if not isinstance(cache, DatabaseCache):
        return False
    return connections[router.db_for_write(cache.cache_model_class)].in_atomic_block
