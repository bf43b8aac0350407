"""System checks: each fires on what is wrong, and is silent on what is right.

Nothing here is marked django_db, so a check that queries a database fails.
"""

import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections

SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL;",
}


class ElsewhereRouter:
    """Keeps downloads in the database "faraway"."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "faraway" if model._meta.app_label == "async_downloads" else None


@pytest.fixture
def sqlite_with(settings: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep downloads in an SQLite with these options, whatever database the tests run on."""

    def use(options: dict[str, Any]) -> None:
        connections.settings["faraway"] = {
            **deepcopy(connections.settings["default"]),
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": options,
        }
        settings.DATABASE_ROUTERS = [f"{__name__}.{ElsewhereRouter.__name__}"]

    yield use
    settings.DATABASE_ROUTERS = []
    connections.settings.pop("faraway", None)
    if hasattr(connections._connections, "faraway"):
        del connections["faraway"]


def messages(*, deploy: bool = False) -> list[CheckMessage]:
    return run_checks(tags=["async_downloads"], include_deployment_checks=deploy)


def ids(*, deploy: bool = False) -> list[str]:
    found = messages(deploy=deploy)
    # What is wrong is said with what to do about it.
    assert all(message.hint and message.msg for message in found)
    return sorted(str(message.id).removeprefix("async_downloads.") for message in found)


def test_the_settings_of_the_tests_are_right() -> None:
    assert ids() == []


def test_with_the_defaults_and_a_shared_cache_nothing_is_wrong(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert ids(deploy=True) == []


def test_the_checks_run_with_djangos_own_command(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = -1
    with pytest.raises(SystemCheckError, match=r"async_downloads\.E003") as failed:
        call_command("check")
    assert "ASYNC_DOWNLOADS_TIMEOUT is -1" in str(failed.value)


# E001 to E004


@pytest.mark.parametrize(
    "value", ["downloads", "", "{", "{}{}", "{name}", "{{}}", 5, None, "{.x}", "{[a]}", "{:d}"]
)
def test_e001_a_key_format_that_makes_no_distinct_keys(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = value
    assert ids() == ["E001"]


@pytest.mark.parametrize("value", ["{}", "mine/{}", "{0}", "mine:{}:theirs"])
def test_e001_is_silent_on_a_format_that_does(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = value
    assert ids() == []


def test_e002_a_cache_that_is_not_in_caches(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "no such cache"
    assert ids() == ["E002"]
    # The other check of the cache has nothing to say about one that is not there.
    assert ids(deploy=True) == ["E002"]
    assert "default" in str(messages()[0].hint)


@pytest.mark.parametrize("value", ["", "default", "dummy", "file"])
def test_e002_is_silent_on_a_cache_that_is(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = value
    assert ids() == []


@pytest.mark.parametrize(
    "name", ["TIMEOUT", "STALLED_AFTER", "MAX_ATTEMPTS", "IN_MEMORY_MAX_SIZE_BYTES"]
)
@pytest.mark.parametrize("value", [0, -1, "60", True, float("nan"), []], ids=repr)
def test_e003_a_number_that_is_none_or_not_above_zero(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == ["E003"]
    assert f"ASYNC_DOWNLOADS_{name}" in messages()[0].msg


LIMITS = ["MAX_ACTIVE", "MAX_BYTES", "MAX_ROWS"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, "60", True, 1.5, []], ids=repr)
def test_e003_a_limit_is_a_whole_number(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == ["E003"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [None, 1, 5_000_000_000])
def test_e003_is_silent_on_a_limit_and_on_none(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == []


@pytest.mark.parametrize("name", ["STALLED_AFTER", "MAX_ATTEMPTS", "IN_MEMORY_MAX_SIZE_BYTES"])
def test_e003_none_means_for_ever_to_the_timeout_alone(settings: Any, name: str) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    assert ids() == []
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", None)
    assert ids() == ["E003"]


def test_each_wrong_setting_is_told(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 0
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 0
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = "/"
    assert ids() == ["E003", "E003", "E004"]


@pytest.mark.parametrize("value", ["/", "/srv/media", "..", "../up", "a/../../b", None, 5])
def test_e004_a_prefix_outside_the_storage(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = value
    assert ids() == ["E004"]


@pytest.mark.parametrize("value", ["downloads", "a/b", "", "a..b", "made here"])
def test_e004_is_silent_on_a_folder_inside_it(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = value
    assert ids() == []


# E005


@pytest.mark.parametrize("layers", [{}, None])
def test_e005_pushes_without_a_channel_layer(settings: Any, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers
    assert ids() == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == ["E005"]


def test_e005_pushes_without_channels(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "channels", None)
    assert ids() == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == ["E005"]
    assert "django-async-downloads[ws]" in str(messages()[0].hint)


def test_e005_is_silent_on_pushes_through_a_layer(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == []


# E006


@pytest.mark.parametrize(
    "path",
    ["no.such.module", "may_fetch", "tests.runs.no_such_name", "tests.settings.SECRET_KEY", 5],
)
def test_e006_a_function_that_is_not_there(settings: Any, path: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = path
    assert ids() == ["E006"]
    assert repr(path) in messages()[0].msg


@pytest.mark.parametrize("path", ["", "tests.runs.claimed"])
def test_e006_is_silent_on_one_that_is_and_on_none(settings: Any, path: str) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = path
    assert ids() == []


# W001 and W002


def test_w001_a_site_that_does_not_include_our_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert ids() == ["W001"]


def test_w001_a_site_without_urls(settings: Any) -> None:
    del settings.ROOT_URLCONF
    assert ids() == ["W001"]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([], ["W002"]),
        (["django.contrib.messages.context_processors.messages"], ["W002"]),
        (["django.template.context_processors.request"], []),
        (["django.contrib.auth.context_processors.auth"], []),
    ],
)
def test_w002_templates_that_do_not_know_who_looks(
    settings: Any, kept: list[str], expected: list[str]
) -> None:
    templates = deepcopy(project_settings.TEMPLATES)
    templates[0]["OPTIONS"]["context_processors"] = kept
    settings.TEMPLATES = templates
    assert ids() == expected


def test_w002_templates_without_options(settings: Any) -> None:
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
    assert ids() == ["W002"]


# W003


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"timeout": None, "retry": 60},
        {"retry": 60},
        {"timeout": 60},
        {"timeout": 60, "retry": 60},
        {"timeout": 120, "retry": 60},
    ],
    ids=str,
)
def test_w003_a_queue_that_starts_a_running_task_again(
    settings: Any, cluster: dict[str, Any]
) -> None:
    settings.Q_CLUSTER = cluster
    assert ids() == ["W003"]


def test_w003_a_queue_without_settings(settings: Any) -> None:
    del settings.Q_CLUSTER
    assert ids() == ["W003"]


def test_w003_is_silent_on_a_longer_retry_and_without_the_queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"timeout": 60, "retry": 61}
    assert ids() == []
    settings.Q_CLUSTER = {}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


# W004


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transaction_mode": "IMMEDIATE"},
        {"init_command": "PRAGMA journal_mode=WAL;"},
        {**SQLITE_OPTIONS, "transaction_mode": "DEFERRED"},
        {**SQLITE_OPTIONS, "transaction_mode": None},
        {**SQLITE_OPTIONS, "init_command": "PRAGMA journal_mode=DELETE;"},
    ],
    ids=str,
)
def test_w004_an_sqlite_that_locks(sqlite_with: Any, options: dict[str, Any]) -> None:
    sqlite_with(options)
    assert ids() == ["W004"]


@pytest.mark.parametrize(
    "options",
    [
        SQLITE_OPTIONS,
        {**SQLITE_OPTIONS, "transaction_mode": "EXCLUSIVE"},
        {"transaction_mode": "immediate", "init_command": "pragma journal_mode = wal"},
    ],
    ids=str,
)
def test_w004_is_silent_on_one_that_waits(sqlite_with: Any, options: dict[str, Any]) -> None:
    sqlite_with(options)
    assert ids() == []


# W005


@pytest.mark.parametrize("cache", ["default", "dummy"])
def test_w005_a_cache_that_is_not_shared_matters_only_in_production(
    settings: Any, cache: str
) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = cache
    assert ids() == []
    assert ids(deploy=True) == ["W005"]


@pytest.mark.parametrize("cache", ["file", "database", "redis"])
def test_w005_is_silent_on_a_shared_one(settings: Any, cache: str) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = cache
    assert ids(deploy=True) == []


def test_w005_does_not_ask_the_server(settings: Any) -> None:
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
def test_w006_a_redis_without_time_limits_matters_only_in_production(
    settings: Any, options: dict[str, Any]
) -> None:
    redis = {**settings.CACHES["redis"], "OPTIONS": options}
    settings.CACHES = {**settings.CACHES, "redis": redis}
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "redis"
    assert ids() == []
    assert ids(deploy=True) == ["W006"]
