"""The expiry and the stalled cutoff."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

from async_downloads.models import Download, timing
from async_downloads.models.timing import expiry, stalled_before
from tests.factories import DownloadFactory

HOUR = timedelta(hours=1)


@pytest.fixture
def clocks_change_soon(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[datetime]:
    """Live ten minutes before the clocks of Central Europe are put forward by an hour."""
    settings.USE_TZ = False
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    now = datetime(2026, 3, 29, 1, 50)  # noqa: DTZ001
    monkeypatch.setattr(timing.time, "time", now.timestamp)
    monkeypatch.setattr(timing.timezone, "now", lambda: now)
    yield now
    monkeypatch.undo()
    time.tzset()


def test_a_download_expires_a_timeout_from_now(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 3600
    expires_at = expiry()
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - HOUR) < timedelta(minutes=1)


def test_without_a_timeout_a_download_never_expires(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    assert expiry() is None


def test_the_stalled_cutoff_lies_stalled_after_seconds_back(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 3600
    assert abs(timezone.now() - HOUR - stalled_before()) < timedelta(minutes=1)


def test_a_clock_that_is_put_forward_expires_nothing_early(
    settings: Any, clocks_change_soon: datetime
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 1200
    # In twenty minutes the clock will show an hour more than that.
    assert expiry() == clocks_change_soon + timedelta(seconds=1200) + HOUR


def test_a_clock_that_is_put_forward_stalls_nothing_early(
    settings: Any, clocks_change_soon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 120
    after = datetime(2026, 3, 29, 3, 0, 30)  # noqa: DTZ001
    monkeypatch.setattr(timing.time, "time", after.timestamp)
    monkeypatch.setattr(timing.timezone, "now", lambda: after)
    # A minute ago it was 1:59:30.
    assert stalled_before() < datetime(2026, 3, 29, 1, 59, 30)  # noqa: DTZ001


@pytest.fixture
def times_of_berlin(db: None) -> Iterator[None]:
    """Store times in the time zone of Berlin, as ``TIME_ZONE`` of a database says."""
    # Not the proxy of the same name, which does not have the cached zone.
    default = connections[DEFAULT_DB_ALIAS]
    name = default.settings_dict["TIME_ZONE"]

    def set_zone(zone: str | None) -> None:
        default.settings_dict["TIME_ZONE"] = zone
        for cached in ("timezone", "timezone_name"):
            vars(default).pop(cached, None)
        default.ensure_timezone()

    set_zone("Europe/Berlin")
    yield
    set_zone(name)


def _check_clock() -> None:
    now = timezone.now()
    Download.objects.filter(pk=DownloadFactory(running=True).pk).update(**timing.alive_columns())
    (row,) = Download.objects.in_progress().with_database_clock()
    assert abs(row.clock_difference) < timedelta(minutes=1)
    assert abs(row.heard_at - now) < timedelta(minutes=1)
    assert not Download.objects.stalled().exists()


@pytest.mark.django_db
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_row_knows_the_time_with_and_without_time_zones(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    _check_clock()


@pytest.mark.usefixtures("times_of_berlin")
def test_a_row_knows_the_time_if_the_database_stores_times_of_another_zone() -> None:
    _check_clock()
