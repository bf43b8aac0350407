"""CSV in the language and by the clock of its reader."""

import io
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from async_downloads.formats import Options, localized, registry

MOMENT = datetime(2026, 1, 31, 18, 30, 0, 123456, tzinfo=UTC)
NAIVE = MOMENT.replace(tzinfo=None, microsecond=0)


def made(name: str, row: list[Any], **options: Any) -> str:
    stream = io.BytesIO()
    registry.named(name).write([row], stream, Options(**options))
    return stream.getvalue().decode("utf-8-sig").rstrip("\r\n")


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("en", "1.5,-19.90,a;b,5"),
        ("de", '1,5;-19,90;"a;b";5'),
        ("fr", '1,5;-19,90;"a;b";5'),
        ("zh-hans", "1.5,-19.90,a;b,5"),
    ],
)
@pytest.mark.parametrize("escape", [False, True])
def test_excel_gets_the_list_separator_and_the_decimal_sign_of_the_language(
    language: str, line: str, escape: bool
) -> None:
    with translation.override(language):
        row = [1.5, Decimal("-19.90"), "a;b", 5]
        assert made("csv-excel", row, escape_formulas=escape) == line


def test_a_text_that_looks_like_a_number_is_still_escaped() -> None:
    with translation.override("de"):
        assert made("csv-excel", ["-1,5", -1.5], escape_formulas=True) == "'-1,5;-1,5"


def test_excel_gets_times_by_the_clock_of_the_time_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    row = [MOMENT, MOMENT.replace(microsecond=0), NAIVE, MOMENT.date(), MOMENT.time()]
    line = (
        "2026-01-31 19:30:00.123,2026-01-31 19:30:00,2026-01-31 18:30:00,2026-01-31,18:30:00.123456"
    )
    assert made("csv-excel", row, time_zone=berlin) == line
    with timezone.override(berlin):
        assert made("csv-excel", row) == line


@pytest.mark.parametrize("name", ["csv-excel", "csv"])
def test_a_moment_at_the_end_of_the_calendar_keeps_its_zone(name: str) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    options = {"time_zone": ZoneInfo("Asia/Tokyo"), "localize": name == "csv"}
    assert made(name, [last], **options) == str(last)


@pytest.mark.parametrize(
    ("language", "line"),
    [
        (
            "de",
            "1,5\t19,90\tJa\tNein\t31.01.2026 19:30\t31.01.2026\t18:30\t1:00:00\t5000\t1.5",
        ),
        (
            "en",
            "1.5\t19.90\tYes\tNo\t01/31/2026 7:30 p.m.\t01/31/2026\t6:30 p.m.\t1:00:00\t5000\t1.5",
        ),
    ],
)
def test_people_get_the_short_formats_of_their_language(language: str, line: str) -> None:
    row = [
        *(1.5, Decimal("19.90"), True, False, MOMENT, MOMENT.date(), MOMENT.time()),
        *(timedelta(hours=1), 5000, "1.5"),
    ]
    zone = ZoneInfo("Europe/Berlin")
    with translation.override(language):
        assert made("tsv", row, localize=True, time_zone=zone) == line
        assert made("csv-excel", row, localize=True, time_zone=zone).count("19:30") == (
            language == "de"
        )


def test_without_localize_csv_is_pythons_in_each_language() -> None:
    with translation.override("de"):
        assert made("csv", [1.5, True, date(2026, 1, 31)]) == "1.5,True,2026-01-31"


def test_no_digits_are_lost_or_grouped(settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    number = Decimal("1234567.890123456789012345")
    with translation.override("de"):
        assert made("tsv", [number, 1e-5, 1234567], localize=True) == (
            "1234567,890123456789012345\t1e-05\t1234567"
        )


def test_a_time_with_a_zone_has_no_clock_of_another() -> None:
    aware = time(9, 5, tzinfo=UTC)
    assert made("csv", [aware], localize=True) == "09:05:00+00:00"
    assert localized.by_clock(NAIVE, ZoneInfo("Asia/Tokyo")) == NAIVE
