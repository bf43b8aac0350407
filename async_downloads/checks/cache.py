"""Checks of the cache that is written through to; none asks a server."""

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings as project_settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from async_downloads import settings
from async_downloads.store import cache_entries

__all__ = ["check_cache_is_shared", "check_cache_time_limits"]

#: What limits how long a cache on a Redis is waited for, by backend: Django's and django-redis'.
TIME_LIMITS: Final[dict[Any, tuple[str, ...]]] = {
    "django.core.cache.backends.redis.RedisCache": ("socket_timeout", "socket_connect_timeout"),
    "django_redis.cache.RedisCache": ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT"),
}


def check_cache_is_shared(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W005: a cache that the worker does not share with the web processes."""
    if _wrong_cache() or cache_entries.is_shared():
        return []
    return [
        CheckWarning(
            "The cache of async_downloads is not shared between processes, so that every poll "
            "reads the database.",
            hint="Point ASYNC_DOWNLOADS_CACHE_NAME at a shared cache, such as Redis, Memcached, "
            "a database cache or a file-based one.",
            id="async_downloads.W005",
        )
    ]


def check_cache_time_limits(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W006: a Redis that hangs would hold up every request and export for as long as it likes."""
    alias = settings.CACHE_NAME or "default"
    caches: dict[str, Any] = project_settings.CACHES
    found = caches.get(alias, {})
    limits = TIME_LIMITS.get(found.get("BACKEND"), ())
    missing = [name for name in limits if not found.get("OPTIONS", {}).get(name)]
    if not missing:
        return []
    return [
        CheckWarning(
            f"The cache {alias!r} has no {' and no '.join(missing)}, so that a Redis that hangs "
            "holds up whoever asks it.",
            hint=f"Set both in the OPTIONS of CACHES[{alias!r}], to a second for example.",
            id="async_downloads.W006",
        )
    ]


def _wrong_cache() -> bool:
    return bool(settings.CACHE_NAME) and settings.CACHE_NAME not in project_settings.CACHES
