"""Checks of what mails need report what is wrong, and only if mails are on."""

from copy import deepcopy
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model

from async_downloads.checks import mail as mail_checks
from async_downloads.store.mails import PAUSE_SECONDS
from tests.checks.test_checks import ids, messages
from tests.mail_server import mail_settings


@pytest.fixture
def on(settings: Any) -> Any:
    settings.ASYNC_DOWNLOADS_NOTIFY_AFTER = 300
    settings.ASYNC_DOWNLOADS_SITE_URL = "https://shop.example.org"
    return settings


def test_a_site_with_an_address_passes(on: Any) -> None:
    assert ids() == []


@pytest.mark.parametrize("value", [0, -1, "300", True, 1e12])
def test_e003_reports_a_time_that_is_not_one(on: Any, value: object) -> None:
    on.ASYNC_DOWNLOADS_NOTIFY_AFTER = value
    assert ids() == ["E003"]


def test_e016_reports_that_the_address_is_not_known(on: Any) -> None:
    on.ASYNC_DOWNLOADS_SITE_URL = ""
    assert ids() == ["E016"]
    (message,) = messages()
    assert "ASYNC_DOWNLOADS_SITE_URL" in str(message.hint)
    del on.ASYNC_DOWNLOADS_NOTIFY_AFTER
    assert ids() == []


@pytest.mark.usefixtures("sites_app")
def test_e016_accepts_the_current_site_instead(on: Any) -> None:
    on.ASYNC_DOWNLOADS_SITE_URL = ""
    assert ids() == ["E016"]
    on.SITE_ID = 1
    assert ids() == []


@pytest.mark.parametrize(
    "value",
    [
        *("shop.example.org", "//shop.example.org", "ftp://shop.example.org", "https://", 5),
        *("https://shop.example.org/?page=1", "https://shop.example.org/#top"),
        *("https://ada:secret@shop.example.org", "https://[shop"),
    ],
)
def test_e017_reports_what_is_not_an_address(on: Any, value: object) -> None:
    on.ASYNC_DOWNLOADS_SITE_URL = value
    assert ids() == ["E017"]


@pytest.mark.parametrize(
    "value", ["http://localhost:8000", "https://shop.example.org/", "https://example.org/shop"]
)
def test_e017_accepts_a_port_and_a_path(on: Any, value: str) -> None:
    on.ASYNC_DOWNLOADS_SITE_URL = value
    assert ids() == []


def test_e018_reports_templates_that_no_engine_finds(on: Any) -> None:
    templates = deepcopy(project_settings.TEMPLATES)
    templates[0]["APP_DIRS"] = False
    on.TEMPLATES = templates
    assert ids() == ["E011", "E018", "E018", "E018"]
    on.TEMPLATES = []
    assert ids() == ["W002"]


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(None, ["W017"]), (PAUSE_SECONDS, ["W017"]), (PAUSE_SECONDS - 1, []), (10, [])],
)
def test_w017_reports_a_mail_server_without_a_time_out(
    on: Any, timeout: Any, expected: list[str]
) -> None:
    for name, value in mail_settings(25, timeout=timeout).items():
        setattr(on, name, value)
    assert ids() == expected


def test_w018_reports_users_without_an_address(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "address")
    assert ids() == ["W018"]
    monkeypatch.setattr(get_user_model(), "address", property(lambda user: ""), raising=False)
    assert ids() == []


@pytest.mark.parametrize("name", ["default", "other"])
def test_the_time_out_is_read_from_mailers_where_django_has_them(
    settings: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(mail_checks.django, "VERSION", (6, 1))
    settings.MAILERS = {name: {"BACKEND": "smtp.EmailBackend", "OPTIONS": {"timeout": 5}}}
    expected = ("smtp.EmailBackend", 5) if name == "default" else ("", None)
    assert mail_checks._mail_server() == expected
