"""The keys, values and timeouts of the cache.

Only this module uses a cache. Cached values are disposable, so every error of a backend
counts as a miss and never reaches the caller. A backend that fails is not called for a while.
"""

import hashlib
import random
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from typing import Any, Final, NotRequired, TypedDict, TypeGuard, TypeVar
from zlib import crc32

from django.conf import settings as project_settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router
from django.utils import timezone

from async_downloads import intervals, settings
from async_downloads.models.lifetime import Timeout
from async_downloads.store.redis_clients import with_kept_clients
from async_downloads.utils.circuit_breaker import CircuitBreaker

__all__ = [
    "DownloadEntry",
    "add_version",
    "delete_entry",
    "end_job",
    "get_entries_and_marks",
    "get_entry",
    "get_joint_version_and_summary",
    "get_version",
    "get_version_and_check",
    "get_version_and_summary",
    "get_versions",
    "is_cleared",
    "is_of_future",
    "is_shared",
    "is_table_of",
    "joint_version",
    "last_cleanup",
    "mark_cancelled",
    "mark_cleared",
    "moved_at_of",
    "new_version",
    "record_check",
    "record_cleanup",
    "renew_job",
    "renew_version",
    "renew_versions",
    "set_entries",
    "set_entry",
    "set_summary",
    "stamp_of",
    "start_job",
    "touch_entry",
    "unmark",
]

T = TypeVar("T")

#: Seconds that a version token lives. A page that has one is checked against the rows more often.
VERSION_SECONDS: Final = 60 * 60

#: How many pages of one collection can have a check at once: each takes one of so many keys, so
#: that the versions of a page that changes each second do not fill the cache.
CHECKS: Final = 16

#: How many version tokens are read at once: SQLite, as a cache, takes few parameters.
VERSIONS_AT_ONCE: Final = 900

#: How many version tokens a process remembers to set once the cache can be reached.
MAX_UNRENEWED: Final = 10_000

#: The value that marks a download as cleared; any other value under the key is ignored.
CLEARED: Final = "cleared by its owner"

#: Seconds that the mark of a cancelled download outlives its row.
CANCELLED_SECONDS: Final = 24 * 60 * 60

#: How much the clocks of two machines may differ, including daylight saving time.
CLOCK_DIFFERENCE: Final = timedelta(hours=1, minutes=1)

#: Seconds after which a job that gives no heartbeat no longer blocks the next one: less than
#: the shortest interval of a job, so that a job that was killed does not cost one turn more.
JOB_SECONDS: Final = 50

#: Seconds that the end of a clean-up is remembered: the longest timeout of Memcached.
LAST_CLEANUP_SECONDS: Final = 30 * 24 * 60 * 60

#: The longest life of an entry. Memcached refuses one that ends after the year 2038, and the fault
#: would keep the process from the cache for a while.
MAX_ENTRY_SECONDS: Final = 365 * 24 * 60 * 60

#: The keys that Memcached accepts, with 50 characters left for KEY_PREFIX.
_VALID_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_VALID_VERSION: Final = re.compile(r"[0-9A-Za-z]{1,64}")

#: How many digits of a version token are its time: seconds since 1970, in hexadecimal.
_TIME_DIGITS: Final = 8


class DownloadEntry(TypedDict):
    """A download as plain values, for the cache and for JSON.

    Times are ISO 8601. ``stamp`` is the time of the heartbeat that came with the percentage:
    the entry counts if it is newer than the row. ``moved_at`` is when the work came further;
    only an entry that is newer than the row has it.
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
    moved_at: NotRequired[str]


def get_entry(download_key: str) -> DownloadEntry | None:
    """Return a download's entry; None for a miss and for a value that is not an entry."""
    return get_entries_and_marks([download_key], [])[0].get(download_key)


def get_entries_and_marks(
    download_keys: Iterable[str],
    listed: Iterable[str],
    early: Mapping[str, object] | None = None,
) -> tuple[dict[str, DownloadEntry], set[str]]:
    """Return entries, and which downloads are marked as cleared, in one round trip.

    Args:
        download_keys: The downloads whose entries are read.
        listed: The downloads whose marks are read.
        early: What ``get_version_and_check`` has read of them. If it has all, nothing is read.
    """
    keys = list(download_keys)
    # ``mark_cleared`` marks only what all processes see.
    marks = {_mark_key(key): key for key in listed} if is_shared() else {}
    names = [*keys, *marks]
    if not names:
        return {}, set()
    values: Mapping[str, Any] = early or {}
    if not all(name in values for name in names):
        values = _call(lambda cache: cache.get_many(names), {})
    cleared = {key for mark, key in marks.items() if values.get(mark) == CLEARED}
    return {key: values[key] for key in keys if _is_entry(values.get(key))}, cleared


def set_entries(entries: Iterable[DownloadEntry], timeout: Timeout) -> None:
    """Set the entries of downloads that live equally long, in one round trip."""
    values = {entry["download_key"]: dict(entry) for entry in entries}
    _call(lambda cache: cache.set_many(values, _seconds(timeout)), [])


def set_entry(entry: DownloadEntry, timeout: Timeout = "default") -> bool:
    """Set a download's entry for the time that the row lives; return whether that worked."""

    def write(cache: BaseCache) -> bool:
        cache.set(entry["download_key"], dict(entry), _seconds(timeout))
        return True

    return _call(write, False)


def _seconds(timeout: Timeout) -> float | None:
    seconds: float | None = settings.TIMEOUT if timeout == "default" else timeout
    return None if seconds is None else min(seconds, MAX_ENTRY_SECONDS)


def touch_entry(download_key: str) -> None:
    """Extend a download's entry by ``ASYNC_DOWNLOADS_TIMEOUT``."""
    _call(lambda cache: cache.touch(download_key, _seconds("default")), False)


def stamp_of(entry: DownloadEntry, *, now: datetime) -> datetime | None:
    """Return the time of the last heartbeat in an entry.

    None if that cannot be compared with now, because USE_TZ has changed since, or if it lies
    further in the future than two clocks may differ.

    Args:
        entry: The entry.
        now: The time on the clock of the database.
    """
    return _comparable(entry["stamp"], now)


def moved_at_of(entry: DownloadEntry, *, now: datetime) -> datetime | None:
    """Return when the work came further, as ``stamp_of`` does; None if that is not known."""
    moved_at = entry.get("moved_at")
    return None if moved_at is None else _comparable(moved_at, now)


def _comparable(moment: str, now: datetime) -> datetime | None:
    stamp = datetime.fromisoformat(moment)
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


def unmark(download_keys: Iterable[str]) -> None:
    """Remove the marks of downloads that were marked as cleared, and that staff hold."""
    keys = [_mark_key(key) for key in download_keys]
    _call(lambda cache: cache.delete_many(keys), None)


def is_cleared(download_key: str) -> bool:
    """Return whether a download whose row was locked is marked as cleared."""
    mark: object = _call(lambda cache: cache.get(_mark_key(download_key)), None)
    return mark == CLEARED


def start_job(job: str) -> bool:
    """Return whether a periodic job may start: not while another process is at work on it.

    Two at once are harmless, so it may start if the cache is of no help.

    Args:
        job: A name of the job and of its database; two sites may share one cache.
    """
    if not is_shared():
        return True
    key = _job_key(job)

    def start(cache: BaseCache) -> bool:
        if cache.add(key, time.time(), JOB_SECONDS):
            return True
        heartbeat = cache.get(key)
        if type(heartbeat) is float and abs(time.time() - heartbeat) < JOB_SECONDS:
            return False
        cache.set(key, time.time(), JOB_SECONDS)
        return True

    return _call(start, True)


def renew_job(job: str) -> None:
    """Give a heartbeat for the job that was started."""
    if is_shared():
        key = _job_key(job)
        _call(lambda cache: cache.set(key, time.time(), JOB_SECONDS), None)


def end_job(job: str) -> None:
    """Allow the next process to start the job."""
    _call(lambda cache: cache.delete(_job_key(job)), False)


def record_cleanup(job: str) -> None:
    """Record that a clean-up has ended now."""
    key = f"{_job_key(job)}:last"
    _call(lambda cache: cache.set(key, time.time(), LAST_CLEANUP_SECONDS), None)


def last_cleanup(job: str) -> datetime | None:
    """Return when the last clean-up ended; None if the cache does not know."""
    ended: object = _call(lambda cache: cache.get(f"{_job_key(job)}:last"), None)
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


def is_table_of(vendor: str) -> bool:
    """Return whether the cache is a table of a database of this vendor, such as ``sqlite``."""
    cache = _call(lambda cache: cache, None)
    if not isinstance(cache, DatabaseCache):
        return False
    return connections[router.db_for_write(cache.cache_model_class)].vendor == vendor


def new_version() -> str:
    """Return a version token that has never been used, and that begins with its time."""
    return f"{int(time.time()):08x}{secrets.token_hex(4)}"


def is_of_future(version: str) -> bool:
    """Return whether a version token was made by a clock that is ahead of that of this process."""
    return _age_of(version) < 0


def get_version(collection_key: str) -> str | None:
    """Return the collection's version token; None if there is none or it cannot be trusted."""
    if not is_shared():
        return None
    return _as_version(_call(lambda cache: cache.get(_version_key(collection_key)), None))


def get_version_and_check(
    collection_keys: Sequence[str], shown: str, download_keys: Iterable[str] = ()
) -> tuple[str | None, bool, dict[str, object]]:
    """Return the version token of collections, and whether a page was compared with the rows.

    Args:
        collection_keys: All that the page shows.
        shown: The version that the page shows.
        download_keys: Downloads whose entries and marks are read in the same round trip.

    Returns:
        The token: of several, as ``joint_version`` returns it; None if none can be trusted.
        Whether ``record_check`` was called lately, for the first, with the same page and token.
        And what ``get_entries_and_marks`` would read.
    """
    checked_key = _checked_key(collection_keys[0], shown)
    names = [name for key in download_keys for name in (key, _mark_key(key))]
    version, values = _get_version_and(collection_keys, [checked_key, *names])
    if version is None:
        return None, False, {}
    is_current = _is_fresh(shown, version) or values.get(checked_key) == f"{shown} {version}"
    return version, is_current, {name: values.get(name) for name in names}


def get_version_and_summary(collection_key: str) -> tuple[str | None, object]:
    """Return the collection's version token, and the summary that ``set_summary`` has kept.

    Both are None if there is none or it cannot be trusted. The summary may be of another token.
    """
    if not is_shared():
        return None, None
    keys = [_version_key(collection_key), _summary_key(collection_key)]
    values: dict[str, object] = _call(lambda cache: cache.get_many(keys), {})
    return _as_version(values.get(keys[0])), values.get(keys[1])


def get_joint_version_and_summary(collection_keys: Sequence[str]) -> tuple[str | None, object]:
    """Do the same as ``get_version_and_summary`` for a summary of several collections.

    Args:
        collection_keys: The collections. ``set_summary`` was called with the first.
    """
    summary_key = _summary_key(collection_keys[0])
    version, values = _get_version_and(collection_keys, [summary_key])
    return version, values.get(summary_key)


def joint_version(versions: Mapping[str, str]) -> str:
    """Return one version token for several collections.

    It differs if the token of one does, or if the collections are others. It begins with the time
    of the youngest.

    Args:
        versions: The tokens, by collection key.
    """
    text = repr(sorted(versions.items()))
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return max(version[:_TIME_DIGITS] for version in versions.values()) + digest


def _get_version_and(
    collection_keys: Sequence[str], other_keys: Iterable[str]
) -> tuple[str | None, dict[str, object]]:
    """Return one version token for collections, and other values by key, in one round trip.

    That of one collection is its own. Tokens that are missing are set, before the caller reads
    the rows.
    """
    if not is_shared():
        return None, {}
    keys = {key: _version_key(key) for key in collection_keys}
    values: dict[str, object] | None = _call(
        lambda cache: cache.get_many([*keys.values(), *other_keys]), None
    )
    if values is None:
        return None, {}
    versions = {}
    for key, name in keys.items():
        token = _as_version(values.get(name))
        if token is None:
            add_version(key, token := new_version())
        versions[key] = token
    is_one = len(collection_keys) == 1
    version = versions[collection_keys[0]] if is_one else joint_version(versions)
    return version, values


def set_summary(collection_key: str, summary: tuple[object, ...], seconds: float) -> None:
    """Keep a summary of plain values for so many seconds at most."""
    if is_shared():
        key = _summary_key(collection_key)
        _call(lambda cache: cache.set(key, summary, max(1, round(seconds))), None)


def get_versions(collection_keys: Iterable[str]) -> dict[str, str]:
    """Return the version tokens of collections, without those that cannot be trusted."""
    if not is_shared():
        return {}
    keys = {_version_key(key): key for key in collection_keys}
    names, values = list(keys), dict[str, object]()
    for start in range(0, len(names), VERSIONS_AT_ONCE):
        some = names[start : start + VERSIONS_AT_ONCE]
        values |= _call(partial(_get_many, some), values)
    return {
        keys[name]: version
        for name, value in values.items()
        if (version := _as_version(value)) is not None
    }


def record_check(collection_key: str, shown: str, version: str | None, seconds: float) -> None:
    """Record that a page was compared with the rows just now.

    It costs nothing if the page has the token, and the token is young enough to say as much.

    Args:
        collection_key: The first collection that the page shows.
        shown: The version that the page shows.
        version: The token of all of them from before the rows were read; None if there is none,
            and then nothing is recorded.
        seconds: How long the comparison holds, if nothing is written. A write whose new token
            is lost stays unseen for that long.
    """
    if version is not None and not _is_fresh(shown, version):
        key, value = _checked_key(collection_key, shown), f"{shown} {version}"
        _call(lambda cache: cache.set(key, value, max(1, round(seconds))), None)


def renew_version(collection_key: str) -> None:
    """Set a new version token, so that every page reads the rows again.

    If the cache cannot be reached, the next call that reaches it sets the token.
    """
    renew_versions([collection_key])


def renew_versions(collection_keys: Iterable[str]) -> None:
    """Set new version tokens of collections, in one round trip, as ``renew_version`` does."""
    if is_shared():
        unrenewed = _unrenewed[_alias()]
        if len(unrenewed) < MAX_UNRENEWED:
            unrenewed |= set(map(_version_key, collection_keys))
        _renew_versions(unrenewed)


def add_version(collection_key: str, version: str) -> None:
    """Set the token of a page that is up to date, unless there is one.

    A token that a writer has set since the page was compared with the rows must stay.
    """
    if is_shared():
        key = _version_key(collection_key)
        # Pages that open at once must not all lose their tokens at once.
        seconds = round(VERSION_SECONDS * random.uniform(0.5, 1))  # noqa: S311
        _call(lambda cache: cache.add(key, version, seconds), False)


def _get_many(keys: list[str], cache: BaseCache) -> dict[str, object]:
    return cache.get_many(keys)


def _job_key(job: str) -> str:
    return f"async_downloads:job:{hashlib.sha256(job.encode()).hexdigest()}"


def _mark_key(download_key: str) -> str:
    return f"{download_key}:cleared"


def _version_key(collection_key: str) -> str:
    # Not the collection key itself: 0.6 may have left a list there that is not adopted yet.
    return _valid_key(f"{collection_key}:version")


def _summary_key(collection_key: str) -> str:
    return _valid_key(f"{collection_key}:summary")


def _checked_key(collection_key: str, shown: str) -> str:
    return _valid_key(f"{collection_key}:version:{crc32(shown.encode()) % CHECKS}")


def _valid_key(key: str) -> str:
    return key if _VALID_KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()


def _is_fresh(shown: str, version: str) -> bool:
    """Return whether a page was read since the present token was made, less than RECHECK ago.

    ``Version.of`` gives a page the token only if it may be shown for that long.
    """
    return shown.partition(".")[0] == version and 0 <= _age_of(version) < intervals.RECHECK


def _age_of(version: str) -> float:
    """Return the age of a version token in seconds; infinite if it has no time."""
    try:
        made_at = int(version[:_TIME_DIGITS], 16)
    except ValueError:
        return inf
    return time.time() - made_at


def _as_version(value: object) -> str | None:
    """Return a value that is a version token; None for another one."""
    return value if isinstance(value, str) and _VALID_VERSION.fullmatch(value) else None


def _is_entry(value: object) -> TypeGuard[DownloadEntry]:
    """Return whether a value is an entry; 0.6 or another program may have left another one."""
    if not isinstance(value, dict) or not DownloadEntry.__required_keys__ <= value.keys():
        return False
    try:
        for name in {"stamp", "moved_at"} & value.keys():
            datetime.fromisoformat(value[name])
    except (TypeError, ValueError):
        return False
    percentage = value["percentage"]
    # True is an int to isinstance().
    return type(percentage) is int and 0 <= percentage <= 100


_breakers: Final[dict[str, CircuitBreaker]] = {}

#: The keys of the version tokens that are still to be renewed, by the alias of the cache.
_unrenewed: Final[defaultdict[str, set[str]]] = defaultdict(set)


def _renew_versions(keys: set[str]) -> None:
    # Another thread may take them as well, which does no harm.
    while some := tuple(keys)[:VERSIONS_AT_ONCE]:
        keys.difference_update(some)
        if not _call_once(partial(_renew, some), False):
            keys |= set(some)
            return


def _renew(keys: tuple[str, ...], cache: BaseCache) -> bool:
    if len(keys) == 1:
        cache.set(keys[0], new_version(), VERSION_SECONDS)
        return True
    return not cache.set_many({key: new_version() for key in keys}, VERSION_SECONDS)


def _call(operation: Callable[[BaseCache], T], default: T) -> T:
    """Run an operation on the configured cache; return ``default`` if it fails."""
    if unrenewed := _unrenewed[_alias()]:
        _renew_versions(unrenewed)
    return _call_once(operation, default)


def _call_once(operation: Callable[[BaseCache], T], default: T) -> T:
    alias = _alias()
    breaker = _breakers.get(alias)
    if breaker is None:
        breaker = _breakers.setdefault(alias, CircuitBreaker(f"The cache {alias!r}"))

    def call() -> T:
        cache = with_kept_clients(caches[alias])
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
