"""The expiry and the stalled cutoff."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from async_downloads.models import timing
from async_downloads.models.timing import expiry, stalled_before

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
