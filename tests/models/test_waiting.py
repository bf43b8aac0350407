"""What a page says of the queue and of the time that is left."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.models import Download
from async_downloads.models.waiting import coarse_ahead, coarse_seconds, time_left_text

LATER = timedelta(minutes=2, seconds=1)


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (None, ""),
        (0, ""),
        (1, "1 ahead of it"),
        (2, "2 ahead of it"),
        (10, "10 ahead of it"),
        (11, "more than 10 ahead of it"),
        (20, "more than 10 ahead of it"),
        (21, "more than 20 ahead of it"),
        (99, "more than 90 ahead of it"),
        (100, "more than 99 ahead of it"),
    ],
)
def test_how_many_are_ahead(ahead: int | None, text: str) -> None:
    download = Download()
    download.ahead = ahead
    assert download.ahead_text == text


@given(st.integers(0, 100))
def test_more_than_a_number_is_never_false(ahead: int) -> None:
    number, more = coarse_ahead(ahead)
    assert ahead > number if more else ahead == number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (10, "less than a minute left"),
        (40, "less than a minute left"),
        (50, "about 1 min left"),
        (80, "about 1 min left"),
        (90, "about 2 min left"),
        (120, "about 2 min left"),
        (600, "about 10 min left"),
        (640, "about 10 min left"),
        (800, "about 15 min left"),
        (3600, "about 60 min left"),
        (5400, "about 90 min left"),
        (5410, "about 2 h left"),
        (9000, "about 3 h left"),
        (7 * 24 * 3600, "about 168 h left"),
    ],
)
def test_the_time_that_is_left(seconds: int | None, text: str) -> None:
    assert time_left_text(seconds) == text


@given(st.integers(5, 10**6))
def test_a_text_is_never_off_by_more_than_half(seconds: int) -> None:
    coarse = coarse_seconds(timezone.now() + timedelta(seconds=seconds))
    assert coarse is not None
    assert coarse % 10 == 0
    assert abs(coarse - seconds) <= 6
    number, unit = time_left_text(coarse).split()[1:3]
    if unit in {"min", "h"}:
        shown = int(number) * {"min": 60, "h": 3600}[unit]
        assert shown / 1.5 <= coarse <= shown * 1.5


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({"state": "running"}, True),
        ({"state": "running", "expected_at": None}, False),
        ({"state": "running", "expected_at": timezone.now()}, False),
        ({"state": "running", "heard_at": timezone.now() - timedelta(hours=1)}, False),
        ({"state": "pending"}, False),
        ({"state": "complete"}, False),
        ({"state": "failed"}, False),
    ],
)
def test_only_a_download_that_a_live_worker_builds_has_a_time_left(
    values: dict[str, Any], known: bool
) -> None:
    download = Download(**{"expected_at": timezone.now() + LATER, **values})
    assert download.seconds_left == (120 if known else None)
    assert download.time_left == ("about 2 min left" if known else "")


@pytest.mark.parametrize(
    ("served", "text"),
    [
        (None, "nothing has started it"),
        (True, "Waiting for its turn"),
        (False, "nothing has begun to build it so far"),
    ],
)
def test_one_that_waits_for_long_says_whether_others_are_built(
    served: bool | None, text: str
) -> None:
    download = Download(heard_at=timezone.now() - timedelta(hours=1))
    download.served = served
    assert text in download.status_text
    # Before that, it does not matter.
    download.heard_at = timezone.now()
    assert download.status_text == "Waiting"
