"""Moments that a client sends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from async_downloads.utils.moments import FARTHEST, moment_of


@pytest.mark.parametrize("text", ["", "x", "2026", "2026-02-30", "2026-02-30T00:00:00"])
def test_other_texts_name_none(text: str) -> None:
    assert moment_of(text) is None


def test_a_moment_is_returned_as_it_is() -> None:
    now = timezone.now()
    assert moment_of(now.isoformat()) == now


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
    ],
)
def test_one_without_a_time_zone_is_one_of_the_site(
    settings: Any, text: str, expected: datetime
) -> None:
    settings.TIME_ZONE = "America/New_York"
    assert moment_of(text) == expected
    settings.USE_TZ = False
    local = expected - timedelta(hours=5)
    assert moment_of(text) == local.replace(tzinfo=None)


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["", "-14:00", "+14:00"])
def test_one_far_away_becomes_a_nearer_one(settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ = use_tz
    now = timezone.now()
    moments = [
        moment_of(f"{text}{zone}") for text in ("0001-01-01T00:00:00", "9999-12-31T23:59:59")
    ]
    distances = [moment - now for moment in moments if moment is not None]
    assert [round(each / FARTHEST) for each in distances] == [-1, 1]
