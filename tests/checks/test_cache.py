"""Checks of the cache report what is wrong, and only that."""

from typing import Any

import pytest

from async_downloads.checks.cache import check_cache_time_limits
from tests.checks.test_checks import ids


@pytest.mark.parametrize("cache", ["default", "dummy"])
def test_w005_reports_a_cache_that_is_not_shared_only_in_production(
    settings: Any, cache: str
) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = cache
    assert ids() == []
    assert ids(deploy=True) == ["W005"]


@pytest.mark.parametrize("cache", ["file", "database", "redis"])
def test_w005_accepts_a_shared_cache(settings: Any, cache: str) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = cache
    assert ids(deploy=True) == []


def test_w005_does_not_connect_to_the_server(settings: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "gone": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        },
    }
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "gone"
    assert ids(deploy=True) == []


# W006


@pytest.mark.parametrize(
    "options", [{}, {"socket_timeout": 1}, {"socket_timeout": None, "socket_connect_timeout": 1}]
)
def test_w006_reports_a_redis_without_timeouts_only_in_production(
    settings: Any, options: dict[str, Any]
) -> None:
    redis = {**settings.CACHES["redis"], "OPTIONS": options}
    settings.CACHES = {**settings.CACHES, "redis": redis}
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "redis"
    assert ids() == []
    assert ids(deploy=True) == ["W006"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1),
        ({"socket_timeout": 1, "socket_connect_timeout": 1}, 1),
        ({"SOCKET_TIMEOUT": 1, "SOCKET_CONNECT_TIMEOUT": 1}, 0),
    ],
    ids=str,
)
def test_w006_knows_the_names_of_timeouts_in_django_redis(
    settings: Any, options: dict[str, Any], expected: int
) -> None:
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "mine": {**cache, "OPTIONS": options}}
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "mine"
    # The package need not be installed, as the check does not use the cache.
    assert len(check_cache_time_limits(None)) == expected
