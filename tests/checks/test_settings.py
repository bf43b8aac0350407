"""Checks of the values and names of settings report what is wrong, and only that."""

from pathlib import Path
from typing import Any

import pytest
from django.utils.functional import lazystr

from async_downloads import settings as own_settings
from tests.checks.test_checks import ids, messages


@pytest.mark.parametrize(
    "value", ["downloads", "", "{", "{}{}", "{name}", "{{}}", 5, None, "{.x}", "{[a]}", "{:d}"]
)
def test_e001_reports_a_key_format_without_distinct_keys(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = value
    assert ids() == ["E001"]


@pytest.mark.parametrize("value", ["{}", "mine/{}", "{0}", "mine:{}:theirs"])
def test_e001_accepts_a_format_with_distinct_keys(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = value
    assert ids() == []


def test_e002_reports_a_cache_that_is_not_in_caches(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "no such cache"
    assert ids() == ["E002"]
    # The other check of the cache skips an unknown one.
    assert ids(deploy=True) == ["E002"]
    assert "default" in str(messages()[0].hint)


@pytest.mark.parametrize("value", [["default"], {"default": 1}, b"default"], ids=repr)
def test_e002_reports_an_alias_that_is_not_a_text(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = value
    assert ids(deploy=True) == ["E002"]


@pytest.mark.parametrize("value", ["", "default", "dummy", "file"])
def test_e002_accepts_a_cache_in_caches(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = value
    assert ids() == []


@pytest.mark.parametrize(
    "name",
    [
        *("TIMEOUT", "MAX_LIFETIME", "STALLED_AFTER", "STUCK_AFTER", "MAX_ATTEMPTS"),
        "IN_MEMORY_MAX_SIZE_BYTES",
    ],
)
@pytest.mark.parametrize("value", [0, -1, "60", True, float("nan"), []], ids=repr)
def test_e003_reports_a_value_that_is_not_a_number_above_zero(
    settings: Any, name: str, value: Any
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == ["E003"]
    assert f"ASYNC_DOWNLOADS_{name}" in messages()[0].msg


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, []), (0.5, []), (60, []), (-1, ["E003"]), (None, ["E003"]), (False, ["E003"])],
    ids=repr,
)
def test_e003_accepts_zero_seconds_for_the_database_wait(
    settings: Any, value: Any, expected: list[str]
) -> None:
    settings.ASYNC_DOWNLOADS_DATABASE_WAIT = value
    assert ids() == expected
    assert all("a number 0 or above" in str(message.hint) for message in messages())


@pytest.mark.parametrize("name", ["TIMEOUT", "STALLED_AFTER", "STUCK_AFTER", "DATABASE_WAIT"])
@pytest.mark.parametrize("value", [float("inf"), 10**30, 100 * 366 * 86400], ids=repr)
def test_e003_reports_more_seconds_than_a_date_can_hold(
    settings: Any, name: str, value: float
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == ["E003"]
    may_be_none = name in {"TIMEOUT", "STUCK_AFTER"}
    assert ("None" in str(messages()[0].hint)) == may_be_none


#: Values of a type that no setting accepts, and of one that only some accept.
WRONG_TYPES = [["a"], {"a": 1}, {"a"}, ("a",), b"a", object(), print, 1j]
OTHER_TYPES = [7, -1, 1.5, None, True, lazystr("a"), Path("a"), "a", "{", "a\0b", 10**400]

#: Another setting with which more checks read the one in question.
BESIDE: dict[str, tuple[str, Any]] = {
    "SERVE_LOCATION": ("SERVE", "x-accel"),
    "WS_URL": ("WS_MODE", True),
    "AUDIT_ADDRESS": ("AUDIT", True),
    "SITE_URL": ("NOTIFY_AFTER", 60),
}


@pytest.mark.parametrize("name", own_settings.DEFAULTS)
def test_a_value_of_another_type_is_reported_without_an_error(settings: Any, name: str) -> None:
    settings.ASGI_APPLICATION = "demo.asgi.application"
    if beside := BESIDE.get(name):
        setattr(settings, f"ASYNC_DOWNLOADS_{beside[0]}", beside[1])
    for value in WRONG_TYPES + OTHER_TYPES:
        setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
        found = [str(message) for message in messages(deploy=True)]
        if value in WRONG_TYPES:
            assert any(name in text or repr(value) in text for text in found), value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CSS_CLASS", lazystr("wide"), []),
        ("CSS_CLASS", None, []),
        ("WS_CHANNEL_NAME", None, ["E025"]),
        ("ESCAPE_FORMULAS", 1, ["E025"]),
        ("WS_MODE", None, ["E025"]),
    ],
)
def test_e025_reports_what_is_not_a_text_or_not_on_or_off(
    settings: Any, name: str, value: Any, expected: list[str]
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == expected


LIMITS = ["MAX_ACTIVE", "MAX_BYTES", "MAX_ROWS"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, "60", True, 1.5, []], ids=repr)
def test_e003_reports_a_limit_that_is_not_an_int_above_zero(
    settings: Any, name: str, value: Any
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == ["E003"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [None, 1, 5_000_000_000])
def test_e003_accepts_a_limit_and_none(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert ids() == []


@pytest.mark.parametrize("name", ["STALLED_AFTER", "MAX_ATTEMPTS", "IN_MEMORY_MAX_SIZE_BYTES"])
def test_e003_accepts_none_only_for_times_without_end(settings: Any, name: str) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    settings.ASYNC_DOWNLOADS_STUCK_AFTER = None
    assert ids() == []
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", None)
    assert ids() == ["E003"]


def test_each_wrong_setting_is_reported(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 0
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 0
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = "/"
    assert ids() == ["E003", "E003", "E004"]


@pytest.mark.parametrize("value", ["/", "/srv/media", "..", "../up", "a/../../b", None, 5])
def test_e004_reports_a_prefix_outside_the_storage(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = value
    assert ids() == ["E004"]


@pytest.mark.parametrize("value", ["downloads", "a/b", "", "a..b", "made here"])
def test_e004_accepts_a_folder_inside_the_storage(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = value
    assert ids() == []


# E006 and E013

SITE_FUNCTIONS = {"MAY_FETCH": "E006", "MAY_START": "E013"}


@pytest.mark.parametrize("name", SITE_FUNCTIONS)
@pytest.mark.parametrize(
    "path",
    ["no.such.module", "may_fetch", "tests.attempts.no_such_name", "tests.settings.SECRET_KEY", 5],
)
def test_e006_and_e013_report_an_unknown_function(settings: Any, name: str, path: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", path)
    assert ids() == [SITE_FUNCTIONS[name]]
    assert f"ASYNC_DOWNLOADS_{name} is {path!r}" in messages()[0].msg


@pytest.mark.parametrize("name", SITE_FUNCTIONS)
@pytest.mark.parametrize("path", ["", "tests.attempts.claimed"])
def test_e006_and_e013_accept_a_function_and_none(settings: Any, name: str, path: str) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", path)
    assert ids() == []


# E010


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, True, 60.5, 32_768, [], "", "60", "0 3 * *", "61 * * * *", "0 3 * * never"),
        # The 31st of February never comes.
        *("0 3 31 2 *", "0 3 * * *" + " " * 100),
    ],
    ids=repr,
)
def test_e010_reports_a_schedule_that_is_never_due(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = value
    assert ids() == ["E010"]
    assert repr(value) in messages()[0].msg


@pytest.mark.parametrize("value", [1, 60, 32_767, None, "0 3 * * *", "*/5 * * * mon", "@daily"])
def test_e010_accepts_minutes_a_cron_text_and_none(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = value
    assert ids() == []


def test_e010_reports_a_cron_text_without_croniter(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # django-q2 sets this if croniter is not installed.
    monkeypatch.setattr("django_q.models.croniter", None)
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = "0 3 * * *"
    assert ids() == ["E010"]
    assert "pip install" in str(messages()[0].hint)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


# E014


@pytest.mark.parametrize("value", [None, 0, 1, "False", "", []], ids=repr)
def test_e014_reports_a_switch_that_is_neither_on_nor_off(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = value
    assert ids() == ["E014"]
    assert f"ASYNC_DOWNLOADS_RESCUE is {value!r}." in messages()[0].msg


@pytest.mark.parametrize("value", [True, False])
def test_e014_accepts_on_and_off(settings: Any, value: bool) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = value
    assert ids() == []


# W009


def test_w009_reports_a_misspelt_name(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATEMPTS = 5
    assert ids() == ["W009"]
    (message,) = messages()
    assert "ASYNC_DOWNLOADS_MAX_ATEMPTS" in message.msg
    assert message.hint == "Did you mean ASYNC_DOWNLOADS_MAX_ATTEMPTS?"


def test_w009_reports_a_name_unlike_any_setting(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_ = 5
    assert ids() == ["W009"]


def test_w009_accepts_each_known_name(settings: Any) -> None:
    for name, default in own_settings.DEFAULTS.items():
        setattr(settings, f"ASYNC_DOWNLOADS_{name}", default)
    settings.ASYNC_DOWNLOADER = "another app's"
    assert ids() == []


@pytest.mark.parametrize(
    ("timeout", "limit", "expected"),
    [
        (3600, None, []),
        (3600, 3601, []),
        (None, 3600, []),
        (3600, 3600, ["W016"]),
        (3600, 60, ["W016"]),
        (3600, "60", ["E003"]),
    ],
    ids=repr,
)
def test_w016_reports_a_limit_below_the_lifetime(
    settings: Any, timeout: Any, limit: Any, expected: list[str]
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = timeout
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = limit
    assert ids() == expected


# E024


@pytest.mark.parametrize(
    "path", ["no.such.module", "teams_of", "tests.attempts.no_such_name", "tests.settings.VAR", 5]
)
def test_e024_reports_an_unknown_function(settings: Any, path: Any) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = path
    assert ids() == ["E024"]
    assert f"ASYNC_DOWNLOADS_MEMBERS is {path!r}" in messages()[0].msg


@pytest.mark.parametrize("path", ["", "tests.team_members.groups_of"])
def test_e024_accepts_a_function_and_none(settings: Any, path: str) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = path
    assert ids() == []
