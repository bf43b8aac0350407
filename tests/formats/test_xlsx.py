"""XLSX, as another library reads it."""

import io
import itertools
import math
import re
import tempfile
import tracemalloc
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.db.models import IntegerChoices, TextChoices
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, sheets
from async_downloads.formats.xlsx import write
from tests.formats.streams import FullStream, no_space

NAIVE = datetime(2026, 1, 31, 9, 5)  # noqa: DTZ001 (what a site with USE_TZ=False has)


LAST = datetime.max  # noqa: DTZ901 (as above)


class Choice(TextChoices):
    OPEN = "open", "Open"


class Number(IntegerChoices):
    ONE = 1, "One"


class Thing:
    def __str__(self) -> str:
        return "=a thing"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Fail if a file is put on disk, where a killed process would leave it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def written(rows: Iterable[Iterable[Any]], **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    write(rows, stream, Options(**options))
    return stream


def read_sheets(rows: Iterable[Iterable[Any]], **options: Any) -> list[list[list[Any]]]:
    book = openpyxl.load_workbook(written(rows, **options))
    return [[[cell.value for cell in row] for row in sheet.rows] for sheet in book.worksheets]


def read(cell: Any) -> Any:
    """Return the value that is read for a cell."""
    ((row,),) = read_sheets([[cell, "end"]])
    assert row[1] == "end"
    return row[0]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (5, 5),
        (-5, -5),
        (10**15 - 1, 10**15 - 1),
        (10**15, "1000000000000000"),
        (-(10**30), str(-(10**30))),
        (1.5, 1.5),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-1e307, -1e307),
        (1.7976931348623155e308, "1.7976931348623155e+308"),
        (5e-324, "5e-324"),
        (-0.0, 0),
        (0.1 + 0.2, 0.1 + 0.2),
        (1 / 3, 1 / 3),
        (123456789.12345679, 123456789.12345679),
        (1e22, 1e22),
        (Decimal("19.90"), 19.9),
        (Decimal("-0.001"), -0.001),
        (Decimal("123456789012.345"), 123456789012.345),
        (Decimal("1234567890123.4567"), "1234567890123.4567"),
        (Decimal("0.30000000000000004"), "0.30000000000000004"),
        (Decimal("1.00000000000000000000000000000001"), "1.00000000000000000000000000000001"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("1E-400"), "1E-400"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("Infinity"), "Infinity"),
        (Fraction(1, 2), 0.5),
        (Number.ONE, 1),
        (True, True),
        (False, False),
        (None, None),
        ("", None),
        (NAIVE, NAIVE),
        (date(2026, 1, 31), datetime(2026, 1, 31)),  # noqa: DTZ001
        (date(1900, 2, 28), "1900-02-28"),
        (datetime(1815, 12, 10, tzinfo=UTC), "1815-12-10 00:00:00"),
        (datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000)),  # noqa: DTZ001
        (time(9, 5), time(9, 5)),
        (time(9, 5, 1, 123456), time(9, 5, 1, 123000)),
        (time.max, time(23, 59, 59, 999000)),
        (time.min, time.min),
        (time(9, 5, tzinfo=UTC), "09:05:00+00:00"),
        (timedelta(days=2, hours=1), timedelta(days=2, hours=1)),
        (timedelta(0), timedelta(0)),
        (timedelta(microseconds=999_999), timedelta(milliseconds=999)),
        (timedelta(days=1) - timedelta(microseconds=1), timedelta(days=1, milliseconds=-1)),
        (timedelta(days=2_958_466, microseconds=-1), timedelta(days=2_958_466, milliseconds=-1)),
        (timedelta(days=2_958_466), "2958466 days, 0:00:00"),
        (timedelta.max, str(timedelta.max)),
        (timedelta(seconds=-1), "-1 day, 23:59:59"),
        (timedelta.min, str(timedelta.min)),
        ("=1+1", "=1+1"),
        ("{=1+1}", "{=1+1}"),
        ("https://example.org", "https://example.org"),
        ("007", "007"),
        ("<r><t>markup</t></r>", "<r><t>markup</t></r>"),
        ("<r></c></r>", "<r></c></r>"),
        ("<r>Q & A</r>", "<r>Q & A</r>"),
        ("]]>", "]]>"),
        ("  a  ", "  a  "),
        (" \t\n", " \t\n"),
        ("a\rb\r\nc\n", "a\rb\r\nc\n"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\x00\x0b\x1fb\ufffe\ud800", "ab"),
        ("<&>\"'", "<&>\"'"),
        ("名前 🙂", "名前 🙂"),
        (Choice.OPEN, "open"),
        (mark_safe("<b>"), "<b>"),
        (gettext_lazy("no such text"), "no such text"),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        pytest.param(Thing(), "=a thing", id="a thing"),
        (1j, "1j"),
        (b"\x00\xff", "AP8="),
        ({"a": [1, None], "b": "ü"}, '{"a": [1, null], "b": "ü"}'),
        ([Decimal("1.5"), {}], '["1.5", {}]'),
        ((1, 2), "[1, 2]"),
        ({"only": gettext_lazy("no such text")}, '{"only": "no such text"}'),
        (Decimal("0E+10"), 0),
        (Decimal("-0"), 0),
        (10**400, "1" + "0" * 400),
    ],
    ids=ascii,
)
def test_a_cell_has_its_type_or_is_text(cell: Any, found: Any) -> None:
    value = read(cell)
    assert value == found
    assert type(value) is type(found)


def test_the_numbers_of_other_libraries_are_numbers() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    cells = [
        (numpy.int64(5), 5),
        (numpy.uint8(7), 7),
        (numpy.int64(2**62), str(2**62)),
        (numpy.float64(0.1), 0.1),
        (numpy.float32(0.1), 0.1),
        (numpy.float64("nan"), "nan"),
        (numpy.bool_(True), True),
        (numpy.str_("=1"), "=1"),
        (numpy.datetime64("2026-01-31T09:05"), NAIVE),
        (numpy.datetime64("NaT"), None),
        (numpy.timedelta64(90, "s"), timedelta(seconds=90)),
        (pandas.NaT, None),
        (pandas.NA, None),
        (pandas.Timestamp("2026-01-31 09:05"), NAIVE),
        (pandas.Timedelta("1h"), timedelta(hours=1)),
    ]
    ((row,),) = read_sheets([[*(cell for cell, _ in cells), "end"]])
    assert [*zip(row, map(type, row), strict=True)] == [
        *((found, type(found)) for _, found in [*cells, ("end", "end")])
    ]


def test_another_reader_agrees() -> None:
    calamine = pytest.importorskip("python_calamine")
    row = [0.1 + 0.2, time.max, "_x0041_x0042_", " a\r\n<r>b</r>", True, LAST, "007"]
    stream = written([row], header=["<r>Q & A</r>", "", *"abcd", "a" * 40_000])
    stream.seek(0)
    header, found = calamine.load_workbook(stream).get_sheet_by_index(0).to_python()
    assert header == ["<r>Q & A</r>", "", *"abcd", "a" * 32_766 + "…"]
    late = {"microsecond": 999_000}
    assert found == [*(row[0], time.max.replace(**late), *row[2:5], LAST.replace(**late), row[6])]


def test_text_is_never_a_formula() -> None:
    rows = [["=1+1", "{=1}", Thing(), mark_safe("=1")]]
    with zipfile.ZipFile(written(rows, header=["=1"])) as found:
        sheet = found.read("xl/worksheets/sheet1.xml")
    assert sheet.count(b"inlineStr") == 5
    assert b"<f>" not in sheet


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
def test_a_moment_is_shown_in_the_current_time_zone(zone: str) -> None:
    moment = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    with timezone.override(zone):
        assert read(moment) == timezone.make_naive(moment)


def test_a_moment_outside_the_calendar_is_text() -> None:
    with timezone.override("Asia/Tokyo"):
        assert read(datetime.max.replace(tzinfo=UTC)) == "9999-12-31 23:59:59.999999+00:00"


@pytest.mark.parametrize("text", ["_x0041_", "_x0041_x0042_", "__x005f_x0041_", "a_x000D_\r\x00"])
def test_text_like_a_character_code_is_escaped(text: str) -> None:
    # Excel reads "_x0041_" as "A"; the reading library does not convert it.
    found = re.sub("_x([0-9A-Fa-f]{4})_", lambda each: chr(int(each[1], 16)), read(text))
    assert found == text.replace("\x00", "")


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, 499_999), "yyyy-mm-dd hh:mm:ss"),  # noqa: DTZ001
        (datetime(2026, 1, 31, 23, 59, 59, 500_000), "yyyy-mm-dd hh:mm:ss.000"),  # noqa: DTZ001
        (datetime.combine(NAIVE, time.max), "yyyy-mm-dd hh:mm:ss.000"),
        (time(23, 59, 59), "hh:mm:ss"),
        (time.max, "hh:mm:ss.000"),
    ],
)
def test_the_end_of_a_day_is_not_shown_as_the_next_day(moment: Any, shown: str) -> None:
    # A spreadsheet that rounds to seconds would show midnight.
    cell = openpyxl.load_workbook(written([[moment]])).worksheets[0]["A1"]
    assert cell.number_format == shown
    whole = moment.microsecond // 1000 * 1000
    assert cell.value == moment.replace(microsecond=whole)


#: Text without Excel's character codes, which the reading library does not convert.
TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: not re.search("_x[0-9A-Fa-f]{4}_", text)
)
DAYS = {"min_value": datetime(1900, 3, 1), "max_value": datetime(9999, 12, 31)}  # noqa: DTZ001
CELLS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15) + 1, 10**15 - 1)
    | st.floats(-1e307, 1e307, allow_subnormal=False)
    | st.datetimes(**DAYS)
    | TEXTS
)


def expected(cell: Any) -> Any:
    if isinstance(cell, str):
        return sheets.ILLEGAL.sub("", cell) or None
    if isinstance(cell, float) and 0 < abs(cell) < sheets.SMALLEST:
        return str(cell)
    if isinstance(cell, datetime):
        return pytest.approx(cell, abs=timedelta(milliseconds=1))
    return cell


@settings(max_examples=40)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=6), min_size=1, max_size=5))
def test_what_is_read_is_what_was_written(rows: list[list[Any]]) -> None:
    (found,) = read_sheets([[*row, "end"] for row in rows])
    for row, cells in zip(rows, found, strict=True):
        end = len(row)
        assert cells[end] == "end"
        for cell, value in zip(row, cells[:end], strict=True):
            assert value == expected(cell)


def test_rows_that_are_mappings_are_written_by_the_names_of_the_header() -> None:
    rows = [{"a": 1, "b": 2}, {"b": 4, "a": 3}]
    assert read_sheets(rows, header=["b", "a"]) == [[["b", "a"], [2, 1], [4, 3]]]
    assert read_sheets(rows) == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize("row", ["text", b"bytes"])
def test_text_is_not_a_row(row: Any) -> None:
    with pytest.raises(DownloadError, match=r"Row 2 is a (str|bytes)\. A row is"):
        written([["a"], row])


def test_the_header_is_the_first_row_and_not_counted() -> None:
    stream = io.BytesIO()
    header = ["id", gettext_lazy("Name"), "=1\x00"]
    assert write(iter([(1, "Ada"), iter([2])]), stream, Options(header=header)) == 2
    sheet = openpyxl.load_workbook(stream).worksheets[0]
    rows = [[cell.value for cell in row] for row in sheet.rows]
    assert rows == [["id", "Name", "=1"], [1, "Ada", None], [2, None, None]]
    assert sheet.freeze_panes == "A2"
    assert [cell.font.bold for cell in next(sheet.rows)] == [True] * 3


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("<r>Q & A</r>", "<r>Q & A</r>"),
        ("<r></c></row>", "<r></c></row>"),
        ("<b>&amp;", "<b>&amp;"),
        ("a\x00\x0b\ud800b", "ab"),
        ("", None),
        (" a\r\n", " a\r\n"),
        ("a" * 40_000, "a" * 32_766 + "…"),
        (gettext_lazy("no such text"), "no such text"),
        (None, None),
        (5, "5"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_any_heading_is_written_unchanged(name: Any, found: Any) -> None:
    for first, second in ([name, "end"], ["end", name], [name, name]):
        ((header, row),) = read_sheets([[1, 2]], header=[first, second])
        assert header == [found if each is name else "end" for each in (first, second)]
        assert row == [1, 2]


def test_the_limits_are_those_of_excel() -> None:
    from xlsxwriter.worksheet import Worksheet

    limits = Worksheet()
    assert (limits.xls_rowmax, limits.xls_colmax) == (sheets.MAX_ROWS, sheets.MAX_COLUMNS)
    assert limits.xls_strmax == sheets.MAX_TEXT


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a" * 32_767, "a" * 32_767),
        ("a" * 32_768, "a" * 32_766 + "…"),
        ("🙂" * 16_383 + "a", "🙂" * 16_383 + "a"),
        ("🙂" * 16_384, "🙂" * 16_383 + "…"),
    ],
    ids=["fits", "longer", "fits as UTF-16", "longer as UTF-16"],
)
def test_text_that_is_too_long_is_truncated(
    text: str, cut: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_sheets([["a"], [text]], name="orders.xlsx") == [[["a"], [cut]]]
    messages = [
        "orders.xlsx has 1 texts that were truncated to 32767 characters, the first in row 2"
    ]
    assert [record.getMessage() for record in caplog.records] == (messages if cut != text else [])


@pytest.mark.parametrize(
    ("number", "number_format"),
    [
        (Decimal("6.30"), "0.00"),
        (Decimal("0.00"), "0.00"),
        (Decimal("-0.5"), "0.0"),
        (Decimal("0.000001"), "0.000000"),
        (Decimal("0.0000001"), "General"),
        (Decimal(6), "General"),
        (Decimal("1E+2"), "General"),
        (Decimal("12345678901234.56"), "General"),
    ],
)
def test_a_decimal_is_shown_with_its_places(number: Decimal, number_format: str) -> None:
    cell = openpyxl.load_workbook(written([[number]])).worksheets[0]["A1"]
    assert cell.number_format == number_format
    assert Decimal(str(cell.value)) == number


def test_a_column_is_wide_enough_for_any_decimal_with_places() -> None:
    rows = itertools.chain(
        [[Decimal("0.50")]] * sheets.SAMPLE_ROWS, [[Decimal("-999999999999.99")]]
    )
    sheet = openpyxl.load_workbook(written(rows)).worksheets[0]
    assert sheet.column_dimensions["A"].width > len("-999999999999.999")


def test_an_empty_column_is_wide_enough_for_later_dates() -> None:
    rows = itertools.chain(([None, number] for number in range(sheets.SAMPLE_ROWS)), [[NAIVE, 1]])
    sheet = openpyxl.load_workbook(written(rows)).worksheets[0]
    assert sheet.column_dimensions["A"].width > 19
    # If all rows are known, an empty column keeps its width.
    sheet = openpyxl.load_workbook(written([[None, 1]])).worksheets[0]
    assert (
        sheet.column_dimensions["A"].width
        == openpyxl.load_workbook(written([])).worksheets[0].column_dimensions["A"].width
    )


def test_no_rows_are_a_workbook_with_an_empty_sheet() -> None:
    assert read_sheets([]) == [[]]
    assert read_sheets([], header=["a"]) == [[["a"]]]
    assert read_sheets([[], ["a"], []])[0][:2] == [[None], ["a"]]


def test_an_error_of_the_rows_is_passed_on_and_leaves_nothing_on_disk() -> None:
    def rows() -> Iterator[list[str]]:
        yield ["a"]
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        written(rows())


@pytest.mark.parametrize("room", [0, 1000, 3000])
@pytest.mark.parametrize("error", [no_space(), DownloadError("too large")])
def test_the_error_of_a_stream_is_raised_and_leaves_nothing_on_disk(
    error: Exception, room: int
) -> None:
    stream = FullStream(room, lambda: error)
    with pytest.raises(type(error)) as raised:
        write(([uuid.uuid4()] for _ in range(1000)), stream, Options())
    assert raised.value is error
    assert not stream.closed


def test_rows_are_written_as_they_come() -> None:
    stream = io.BytesIO()
    seen = []

    def rows() -> Iterator[list[Any]]:
        for number in range(20_000):
            seen.append(stream.tell())
            yield [number, uuid.uuid4()]

    write(rows(), stream, Options())
    assert 0 < seen[10_000] < seen[-1]


def test_memory_does_not_grow_with_the_rows() -> None:
    def most(count: int) -> int:
        with tempfile.TemporaryFile() as stream:
            tracemalloc.start()
            write(([number, f"row {number}", NAIVE] for number in range(count)), stream, Options())
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    most(10)
    assert most(5000) < most(500) + 100_000


def test_a_header_has_filters_on_each_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", 3)
    rows = [[1, 2], [3, 4], [5, 6]]
    book = openpyxl.load_workbook(written(rows, header=["a", "b"], title="Ada's"))
    assert [sheet.auto_filter.ref for sheet in book.worksheets] == ["A1:B3", "A1:B2"]
    assert [sheet.freeze_panes for sheet in book.worksheets] == ["A2", "A2"]
    with zipfile.ZipFile(written(rows, header=["a", "b"], title="Ada's")) as found:
        names = found.read("xl/workbook.xml").decode()
    assert ">'Ada''s (2 of 2)'!$A$1:$B$2</definedName>" in names
    book = openpyxl.load_workbook(written(rows))
    assert [sheet.auto_filter.ref for sheet in book.worksheets] == [None]


def test_text_with_lines_is_wrapped() -> None:
    sheet = openpyxl.load_workbook(written([["a\nb", "a b", "a\r\nb"]])).worksheets[0]
    cells = [sheet[f"{letter}1"] for letter in "ABC"]
    assert [bool(cell.alignment.wrap_text) for cell in cells] == [True, False, True]
    assert [cell.value for cell in cells] == ["a\nb", "a b", "a\r\nb"]


def test_the_document_has_a_title_and_a_creator() -> None:
    properties = openpyxl.load_workbook(written([[1]], title="<Orders>", creator="Ada & Bob"))
    assert properties.properties.title == "<Orders>"
    assert properties.properties.creator == "Ada & Bob"
