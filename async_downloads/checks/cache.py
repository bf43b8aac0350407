"""Checks of the cache."""

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings as project_settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from async_downloads import settings
from async_downloads.store import cache_entries

__all__ = ["check_cache_is_shared", "check_cache_time_limits", "names_a_cache"]

#: Options with the time limits of a Redis cache, by backend: Django's and django-redis's.
TIME_LIMITS: Final[dict[Any, tuple[str, ...]]] = {
    "django.core.cache.backends.redis.RedisCache": ("socket_timeout", "socket_connect_timeout"),
    "django_redis.cache.RedisCache": ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT"),
}


def names_a_cache(name: object) -> bool:
    """Return whether a value of ``CACHE_NAME`` is an alias in ``CACHES``, or empty."""
    return not name or (isinstance(name, str) and name in project_settings.CACHES)


def check_cache_is_shared(**_: Any) -> Iterator[CheckMessage]:
    """W005: a cache that the worker does not share with the web processes."""
    if names_a_cache(settings.CACHE_NAME) and not cache_entries.is_shared():
        yield CheckWarning(
            "The cache of async_downloads is not shared between processes, so that every poll "
            "reads the database.",
            hint="Point ASYNC_DOWNLOADS_CACHE_NAME at a shared cache, such as Redis, Memcached, "
            "a database cache or a file-based one.",
            id="async_downloads.W005",
        )


def check_cache_time_limits(**_: Any) -> Iterator[CheckMessage]:
    """W006: a cache on Redis without time limits."""
    alias = settings.CACHE_NAME or "default"
    if not names_a_cache(alias):
        return
    caches: dict[str, Any] = project_settings.CACHES
    options = caches.get(alias, {})
    limits = TIME_LIMITS.get(options.get("BACKEND"), ())
    missing = [name for name in limits if not options.get("OPTIONS", {}).get(name)]
    if missing:
        yield CheckWarning(
            f"The cache {alias!r} has no {' and no '.join(missing)}, so that requests and "
            "exports wait for a Redis that does not answer.",
            hint=f"Set both in the OPTIONS of CACHES[{alias!r}], to one second for example.",
            id="async_downloads.W006",
        )
