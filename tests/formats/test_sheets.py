"""What the sheets of all spreadsheets have in common."""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from django.utils import translation

from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, registry, sheets
from async_downloads.formats.sheets import sheet_title
from tests.formats.streams import FullStream, OneWay, no_space

calamine = pytest.importorskip("python_calamine")

KINDS = ["xlsx", "ods"]


def book(name: str, rows: Iterable[Iterable[Any]], **options: Any) -> Any:
    stream = io.BytesIO()
    registry.named(name).write(rows, stream, Options(**options))
    stream.seek(0)
    return calamine.load_workbook(stream)


def rows_of(name: str, rows: Iterable[Iterable[Any]], **options: Any) -> list[list[list[Any]]]:
    made = book(name, rows, **options)
    return [made.get_sheet_by_name(title).to_python() for title in made.sheet_names]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Orders", "Orders"),
        ("Orders: [open/closed]?*\\", "Orders open closed"),
        ("'Orders'", "Orders"),
        ("It's", "It's"),
        (" a\n\tb\x00 ", "a b"),
        ("", "Sheet"),
        ("///", "Sheet"),
        ("history", "history_"),
        ("a" * 40, "a" * 31),
        ("🙂" * 20, "🙂" * 15),
        ("a" * 30 + " b", "a" * 30),
        ("名前", "名前"),
        ("\ud800x", "x"),
    ],
    ids=ascii,
)
def test_the_name_of_a_sheet_is_one_that_excel_takes(title: str, name: str) -> None:
    assert sheet_title(title) == name
    assert len(sheet_title(title, " (10 of 12)").encode("utf-16-le")) <= 62
    assert sheet_title(title, " (10 of 12)").endswith(" (10 of 12)")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sheet_has_the_name_of_the_export(kind: str) -> None:
    assert book(kind, [[1]], title="Orders & <more>").sheet_names == ["Orders & <more>"]
    assert book(kind, [[1]]).sheet_names == ["Sheet1"]


def test_sheets_of_a_workbook_are_counted_in_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", 2)
    rows = [[1], [2], [3]]
    with translation.override("en"):
        assert book("xlsx", rows, title="Orders").sheet_names == [
            "Orders (1 of 2)",
            "Orders (2 of 2)",
        ]
    # Their number is not known when the first one is written.
    assert book("ods", rows, title="Orders").sheet_names == ["Orders", "Orders (2)"]


@pytest.mark.parametrize("kind", KINDS)
def test_more_rows_continue_below_the_same_header(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", 3)
    rows = [[n] for n in range(5)]
    assert rows_of(kind, rows, header=["n"]) == [
        [["n"], [0], [1]],
        [["n"], [2], [3]],
        [["n"], [4]],
    ]
    assert rows_of(kind, rows) == [[[0], [1], [2]], [[3], [4]]]
    # No sheet begins without a row.
    assert len(rows_of(kind, rows[:3])) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cells", "header"), [(4, None), (4, ["a"] * 3), (1, ["a"] * 4)])
def test_a_row_with_too_many_cells_is_an_error(
    monkeypatch: pytest.MonkeyPatch, kind: str, cells: int, header: Any
) -> None:
    monkeypatch.setattr(sheets, "MAX_COLUMNS", 3)
    assert rows_of(kind, [["a"] * 3]) == [[["a"] * 3]]
    with pytest.raises(DownloadError, match="more than 3 cells, the limit of a sheet"):
        book(kind, [["a"] * cells], header=header)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_a_formula(kind: str) -> None:
    stream = io.BytesIO()
    registry.named(kind).write([["=1+1", "{=1}"]], stream, Options(header=["=2"]))
    assert rows_of(kind, [["=1+1", "{=1}"]], header=["=2"]) == [[["=2", ""], ["=1+1", "{=1}"]]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_moment_is_shown_in_the_time_zone_of_the_options(kind: str) -> None:
    moment = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    (((found,),),) = rows_of(kind, [[moment]], time_zone=ZoneInfo("Europe/Berlin"))
    assert found == datetime(2026, 7, 1, 14, 0)  # noqa: DTZ001


#: What the library returns for a column without a width of its own.
USUAL = 13


def widths(rows: Iterable[Iterable[Any]], header: Any = None) -> list[int]:
    """Return the widths of columns in characters."""
    stream = io.BytesIO()
    registry.named("xlsx").write(rows, stream, Options(header=header))
    columns = openpyxl.load_workbook(stream).worksheets[0].column_dimensions
    return [int(columns[letter].width) for letter in "ABCDEFGH"]


def test_the_cells_of_the_first_rows_decide_the_widths() -> None:
    rows = [
        ["a" * 20, "a\n" + "b" * 30, "名" * 10, 123456789012345, "a" * 200, 1, None, True],
    ]
    assert widths(rows) == [21, 31, 21, 16, 50, *[USUAL] * 3]
    assert widths([["a"] * 2], header=["b" * 12, "b" * 100])[:2] == [14, 50]


@pytest.mark.parametrize(
    ("cell", "width"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), 19),
        (datetime(2026, 1, 31, microsecond=1, tzinfo=UTC), 23),
        (date(2026, 1, 31), 11),
        (time(9), 9),
        (timedelta(hours=1), 11),
        (Decimal("0.50"), 17),
        (Decimal(1234567890), 11),
    ],
)
def test_a_type_has_the_width_of_all_its_values(cell: Any, width: int) -> None:
    assert widths([[cell]])[0] == width


def test_later_rows_do_not_change_the_widths() -> None:
    def rows() -> Iterator[list[str]]:
        yield from ([["a"]] * sheets.SAMPLE_ROWS)
        yield ["b" * 40]

    assert widths(rows())[0] == USUAL


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_a_full_disk_is_raised_wherever_it_is_full(kind: str) -> None:
    rows, whole = [[number] for number in range(30)], io.BytesIO()
    write = registry.named(kind).write
    write(rows, whole, Options())
    for room in range(0, len(whole.getvalue()), 20):
        with pytest.raises(OSError, match="No space left"):
            write(rows, FullStream(room, no_space), Options())


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_need_not_be_seekable_and_is_the_same_each_time(kind: str) -> None:
    streams = [OneWay(), io.BytesIO()]
    contents = []
    for stream in streams:
        registry.named(kind).write([[1, "a"]], stream, Options(title="Orders"))
        contents.append(calamine.load_workbook(io.BytesIO(stream.getvalue())))
    assert [each.get_sheet_by_index(0).to_python() for each in contents] == [[[1, "a"]]] * 2
    again = io.BytesIO()
    registry.named(kind).write([[1, "a"]], again, Options(title="Orders"))
    assert again.getvalue() == streams[1].getvalue()
