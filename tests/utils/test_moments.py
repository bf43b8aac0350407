"""Moments that a client names."""

from datetime import UTC, datetime
from typing import Any

import pytest

from async_downloads.utils.moments import parse_moment


def test_a_moment_keeps_its_offset() -> None:
    moment = datetime(2026, 11, 29, 17, 30, 0, 123456, tzinfo=UTC)
    assert parse_moment("2026-11-29T18:30:00.123456+01:00") == moment


def test_without_time_zones_a_moment_has_no_offset(settings: Any) -> None:
    settings.USE_TZ = False
    assert parse_moment("2026-11-29T17:30:00") == datetime(2026, 11, 29, 17, 30)  # noqa: DTZ001
    assert parse_moment("2026-11-29T17:30:00+00:00") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a time",
        "2026-02-30T00:00:00+00:00",
        "2026-11-29T17:30:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_any_other_text_names_none(text: str) -> None:
    assert parse_moment(text) is None
