"""The cells of ODS; what it shares with XLSX is in test_sheets."""

import io
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from async_downloads.formats import Options, ods

calamine = pytest.importorskip("python_calamine")

NAIVE = datetime(2026, 1, 31, 9, 5)  # noqa: DTZ001


def read(cell: Any, **options: Any) -> Any:
    stream = io.BytesIO()
    ods.write([["begin", cell, "end"]], stream, Options(**options))
    stream.seek(0)
    (row,) = calamine.load_workbook(stream).get_sheet_by_index(0).to_python()
    assert (row[0], row[2]) == ("begin", "end")
    return row[1]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (5, 5.0),
        (10**15, "1000000000000000"),
        (1 / 3, 1 / 3),
        (math.nan, "nan"),
        (5e-324, "5e-324"),
        (1e22, 1e22),
        (Decimal("19.90"), 19.9),
        (Decimal("1234567890123.4567"), "1234567890123.4567"),
        (Decimal("Infinity"), "Infinity"),
        (True, True),
        (False, False),
        (None, ""),
        ("", ""),
        (NAIVE, NAIVE),
        (date(2026, 1, 31), date(2026, 1, 31)),
        (date(1900, 2, 28), "1900-02-28"),
        (
            datetime(2026, 1, 31, 9, 5, 1, 123456, tzinfo=UTC),
            NAIVE.replace(second=1, microsecond=123000),
        ),
        (datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000)),  # noqa: DTZ001
        (time(9, 5), time(9, 5)),
        (time(9, 5, tzinfo=UTC), "09:05:00+00:00"),
        (timedelta(days=2, hours=1), "PT49H00M00S"),
        (timedelta(seconds=-1), "-1 day, 23:59:59"),
        ("=1+1", "=1+1"),
        ("007", "007"),
        ("<a> & ]]>", "<a> & ]]>"),
        ("  a   b  ", "  a   b  "),
        ("a\n\n b\r\nc\rd", "a\n\n b\nc\nd"),
        # Spreadsheets have no tabs in cells.
        ("a\tb \t", "a b  "),
        ("a\x00\x0b\ufffe\ud800b", "ab"),
        ("_x0041_", "_x0041_"),
        ("名前 🙂", "名前 🙂"),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        ({"a": 1}, '{"a": 1}'),
        (b"\x00", "AA=="),
        ("a" * 40_000, "a" * 32_766 + "…"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_cell_has_its_type_or_is_text(cell: Any, found: Any) -> None:
    value = read(cell)
    assert value == found
    assert type(value) is type(found)
