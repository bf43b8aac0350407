"""CSV with the same bytes as ``csv.writer``."""

import codecs
import csv
import gc
import io
import itertools
import re
import sys
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db.models import TextChoices
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, registry
from async_downloads.formats.csv import check_encoding, line, write
from async_downloads.models import Download
from tests.formats.streams import FullStream, no_space


class Printed:
    def __str__(self) -> str:
        return "=1+1"


TABLES: dict[str, list[Any]] = {
    "plain": [["id", "name"], [1, "Ada"], [2, "Grace"]],
    "quotes": [['say "hi"', '"', '""', "'", "a,b", ";", "\t", "\\", "\\n"]],
    "newlines": [["a\nb", "a\r\nb", "a\rb", "\n", ""], ["\r"], ["\x85", "\u2028"]],
    "nothing in cells": [[None, "", None], [None], [""], []],
    "empty rows": [[], [], ["a"], [], ()],
    "numbers": [[0, -5, 10**30, 1.5, 0.1 + 0.2, 1e300, float("inf"), float("nan"), True, -0.0]],
    "decimals": [[Decimal("19.90"), Decimal("1E+5"), Decimal("-0.00"), Decimal("NaN")]],
    "dates": [
        [
            date(2026, 1, 31),
            time(23, 59, 59, 999999),
            datetime(2026, 1, 31, 9, 5, tzinfo=UTC),
            datetime(2026, 1, 31, 9, 5),  # noqa: DTZ001 (what a site with USE_TZ=False has)
            timedelta(days=-1, seconds=5),
        ]
    ],
    "unicode": [["Łódź", "名前", "🙂", "e\u0301", "\u202e", "\x00", "\x1a", "\ufeff"]],
    "other things": [[uuid.UUID(int=5), Fraction(1, 2), 1j, Printed(), mark_safe("<b>")]],
    "lazy texts": [[gettext_lazy("January"), gettext_lazy("no such text, with a comma")]],
    "kinds of rows": [("a", 1), range(3), {"x"}, deque("ab"), {"k": 5}.values()],
    "formulas": [["=1+1", "+1", "-5", "@x", "\t=1", "\r=1", -5]],
}


#: The signs of OWASP, and those that Excel reads in some languages.
STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


class Choice(TextChoices):
    MINUS = "-", "minus"


class Money(Decimal):
    """A site's own class of numbers."""


def escaped(rows: Iterable[Iterable[Any]]) -> list[list[str]]:
    """Return the cells that a spreadsheet reads from escaped rows."""
    stream = io.BytesIO()
    write(rows, stream, escape_formulas=True)
    return list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))


# Formulas


@pytest.mark.parametrize("start", STARTS, ids=ascii)
def test_formulas_get_an_apostrophe_if_the_setting_says_so(start: str) -> None:
    # csv.writer quotes a cell with a comma in any case.
    text = f"{start}1+cmd|' /C calc'!A0,"
    assert escaped([["id", text, f" {text}", f"a{text}"], [text]]) == [
        ["id", f"'{text}", f" {text}", f"a{text}"],
        [f"'{text}"],
    ]


SIGNS = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
@pytest.mark.parametrize(
    "between", [*';,\t|"\r\n\ufeff', "\r\n", ";\ufeff", ',"', ";\t"], ids=ascii
)
def test_no_formula_begins_after_a_separator_in_a_cell(between: str, sign: str) -> None:
    cell = f"hello{between}{sign}1+1"
    safe = f"hello{between}'{sign}1+1"
    assert escaped([[cell, "x"], [cell]]) == [[safe, "x"], [safe]]
    for name in ("csv", "tsv", "csv-excel"):
        content = unmarked(name, [["x", cell]], header=[cell], escape_formulas=True)
        assert content.count(f"{between[-1]}'{sign}".encode()) == 2
        assert f"{between[-1]}{sign}".encode() not in content


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_a_byte_order_mark_hides_no_formula(sign: str) -> None:
    assert escaped([[f"\ufeff{sign}1"]]) == [[f"\ufeff'{sign}1"]]


#: Text as people write it.
PROSE = [
    "a\r\nb",
    "Sir,\n\nthanks",
    "High St 1,\nLondon",
    "a\tb\t\tc",
    "a - b",
    "1+1=2",
    "me@x.org",
]


@pytest.mark.parametrize("text", [*PROSE, "a, -5", "x;y", '"', ";", "\ufeff"], ids=ascii)
def test_text_without_a_formula_stays_unchanged(text: str) -> None:
    assert escaped([["x", text]]) == [["x", text]]


HARMFUL = st.text(st.sampled_from("=+-@\uff1d;,\t|\"\r\n\ufeff' a1"))


@given(HARMFUL)
def test_with_any_separator_no_part_of_a_cell_is_a_formula(text: str) -> None:
    ((cell,),) = escaped([[text]])
    # LibreOffice splits at any of the separators, and drops a byte order mark.
    parts = re.split(r'[;,\t|"\r\n]', cell.replace("\ufeff", ""))
    assert not [part for part in parts if part[:1] in SIGNS]
    assert re.sub("'", "", cell) == re.sub("'", "", text)


@pytest.mark.parametrize(
    "cell",
    [
        -5,
        -1.5,
        Decimal("-19.90"),
        Fraction(-1, 2),
        float("-inf"),
        Money("-5.00"),
        timedelta(days=-1),
        date(2026, 1, 31),
        datetime(2026, 1, 31, 9, 5, tzinfo=UTC),
        True,
        None,
        uuid.UUID(int=5),
        "",
        "a-5",
        "'=1",
    ],
    ids=ascii,
)
def test_numbers_and_harmless_text_stay_unchanged(cell: Any) -> None:
    assert escaped([["x", cell]]) == [["x", "" if cell is None else str(cell)]]


@pytest.mark.parametrize(
    "cell",
    ["-5", "+44 20 7946 0000", mark_safe("=1+1"), gettext_lazy("=1+1"), Choice.MINUS, Printed()],
    ids=["number", "phone", "safe", "lazy", "choice", "printed"],
)
def test_text_of_any_class_is_escaped(cell: Any) -> None:
    # A number in text is text: text from people may continue in any way.
    assert escaped([[cell]]) == [[f"'{cell}"]]


def test_a_row_may_be_any_iterable() -> None:
    rows: list[Iterable[Any]] = [iter(["=1"]), (cell for cell in ["=1", 5]), {"=1"}, ()]
    assert escaped(rows) == [["'=1"], ["'=1", "5"], ["'=1"], []]


def test_the_keys_of_mappings_are_not_cells() -> None:
    assert escaped([{"=k": "=1"}]) == [["'=1"]]


@pytest.mark.parametrize("name", TABLES)
def test_without_formulas_escaping_changes_nothing(name: str) -> None:
    rows = [
        [cell for cell in row if str(cell)[:1] not in STARTS or isinstance(cell, (int, Decimal))]
        for row in TABLES[name]
    ]
    stream = io.BytesIO()
    write(rows, stream, escape_formulas=True)
    assert stream.getvalue() == reference(rows, "utf-8")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("escape", "cell"), [(False, "=1+1"), (True, "'=1+1")])
def test_a_site_decides_whether_formulas_are_escaped(
    settings: Any, user: Any, escape: bool, cell: str
) -> None:
    settings.ASYNC_DOWNLOADS_ESCAPE_FORMULAS = escape
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["Name", "Total"], ["=1+1", -5]])
    with default_storage.open(Download.objects.get().filepath) as file:
        assert file.read().decode() == f"Name,Total\n{cell},-5\n"


def cell_of(cell: object, delimiter: str) -> str:
    """Return a cell as Python 3.13 writes it, on any version of Python."""
    text = "" if cell is None else str(cell)
    return '"' + text.replace('"', '""') + '"' if set(text) & {delimiter, *'"\r\n'} else text


def reference(
    rows: Iterable[Iterable[Any]], encoding: str, delimiter: str = ",", line_end: str = "\n"
) -> bytes:
    """Return rows as Python 3.13's ``csv.writer`` writes them."""
    text = ""
    for row in rows:
        cells = [cell_of(cell, delimiter) for cell in row]
        # A reader would skip an empty line.
        text += ('""' if cells == [""] else delimiter.join(cells)) + line_end
    return text.encode(encoding)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the reference is Python 3.13's")
@pytest.mark.parametrize("name", TABLES)
def test_the_reference_is_the_standard_library(name: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(TABLES[name])
    assert reference(TABLES[name], "utf-8") == text.getvalue().encode()


def written(rows: Iterable[Iterable[Any]], encoding: str = "utf-8") -> bytes:
    stream = io.BytesIO()
    write(rows, stream, encoding=encoding)
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", TABLES)
def test_the_bytes_are_those_of_the_standard_library(name: str, encoding: str) -> None:
    assert written(TABLES[name], encoding) == reference(TABLES[name], encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_no_rows_make_no_text(encoding: str) -> None:
    # With or without a byte order mark.
    assert written([], encoding).decode(encoding) == ""


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_a_single_byte_encoding_writes_its_bytes(encoding: str) -> None:
    rows = [["id", "price"], [1, Decimal("19.90")], ['"', "a\nb"]]
    assert written(rows, encoding) == reference(rows, encoding)
    if encoding != "ascii":
        assert written([["Größe", "é"]], encoding) == "Größe,é\n".encode(encoding)


def test_iterables_of_any_kind_are_rows() -> None:
    rows = (iter(row) for row in (["a", 1], ["b", 2]))
    assert written(rows) == b"a,1\nb,2\n"


def test_the_last_line_ends_with_a_newline_and_none_with_a_return() -> None:
    assert written([["a"], ["b"]]) == b"a\nb\n"


def test_many_buffers_of_rows_are_written_whole_and_in_order() -> None:
    rows = [[index, f"row {index}", 'with "quotes"', "ü" * 50] for index in range(60_000)]
    assert written(iter(rows), "utf-16") == reference(rows, "utf-16")


def test_a_cell_larger_than_any_buffer_is_written_whole() -> None:
    rows = [["x" * 3_000_000, "ü" * 3_000_000], ["end"]]
    assert written(rows) == reference(rows, "utf-8")


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8-sig", b"\xef\xbb\xbf"), ("utf-16", None), ("utf-32", None), ("utf-8", b"")],
)
def test_a_byte_order_mark_is_written_once(encoding: str, mark: bytes | None) -> None:
    if mark is None:
        mark = "".encode(encoding)
    content = written(([str(index) * 100] for index in range(5000)), encoding)
    assert content.startswith(mark)
    if mark:
        assert content.count(mark) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_no_byte_order_mark_is_written_into_the_middle_of_a_file(encoding: str) -> None:
    stream = io.BytesIO()
    write([["a"]], stream, encoding=encoding)
    write([["b"]], stream, encoding=encoding)
    assert stream.getvalue() == "a\nb\n".encode(encoding)


@pytest.mark.parametrize("row", [1, 2, 700, 5000])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_unencodable_cell_names_its_row(encoding: str, row: int) -> None:
    rows = ([index, "名" if index == row else "a"] for index in itertools.count(1))
    with pytest.raises(DownloadError) as raised:
        written(rows, encoding)
    assert str(raised.value) == f"Row {row} has a character that {encoding} cannot write: '名'."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_half_a_surrogate_names_its_row(encoding: str) -> None:
    with pytest.raises(DownloadError, match=r"^Row 2 .*'\\ud800'"):
        written([["a"], ["\ud800"]], encoding)


def test_an_encoding_error_of_the_rows_is_not_taken_for_one_of_the_file() -> None:
    def rows() -> Iterator[list[str]]:
        yield ["id"]
        yield [str("名".encode("ascii"))]

    # Its message is not meant for the owner, and utf-8 can write any character.
    with pytest.raises(UnicodeEncodeError, match="ascii"):
        written(rows())


def test_an_error_of_the_rows_is_passed_on() -> None:
    def rows() -> Iterator[list[str]]:
        yield ["a"]
        raise LookupError("mine")

    stream = io.BytesIO()
    with pytest.raises(LookupError, match="mine"):
        write(rows(), stream)
    assert not stream.closed


@pytest.mark.parametrize("rows", [5, None, [object()]])
def test_none_instead_of_rows_is_an_error(rows: Any) -> None:
    with pytest.raises((TypeError, DownloadError)):
        written(rows)


def test_the_stream_stays_open_at_the_end_of_what_was_written() -> None:
    stream = io.BytesIO()
    write([["a", "b"]], stream)
    gc.collect()
    assert not stream.closed
    assert stream.tell() == 4
    stream.write(b"more")
    assert stream.getvalue() == b"a,b\nmore"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("max_size", [1, 1000, 10_000_000])
def test_a_spooled_file_may_roll_over_at_any_point(max_size: int, encoding: str) -> None:
    rows = [[index, "ü" * 20] for index in range(5000)]
    with SpooledTemporaryFile(max_size=max_size) as spool:
        write(rows, spool, encoding=encoding)  # type: ignore[arg-type]
        assert spool.tell() == len(reference(rows, encoding))
        spool.seek(0)
        assert spool.read() == reference(rows, encoding)


@pytest.mark.parametrize("count", [3000, 100_000])
def test_the_error_of_a_full_disk_is_raised_and_leaves_nothing(count: int) -> None:
    stream = FullStream(20_000, no_space)
    with pytest.raises(OSError, match="No space left"):
        write(([number, "abcdefgh"] for number in range(count)), stream)
    # The text layer must neither close the stream nor warn when it is garbage-collected:
    # warnings are errors here.
    gc.collect()
    assert not stream.closed


@pytest.mark.parametrize(
    "encoding", ["utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "big5"]
)
def test_a_text_encoding_is_accepted(encoding: str) -> None:
    check_encoding(encoding)


@pytest.mark.parametrize(
    "encoding",
    ["klingon", "", "utf-9", "base64", "hex", "rot13", "zlib", "bz2", "uu", "quopri", "undefined"],
)
def test_an_unknown_encoding_or_one_that_is_not_for_text_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=encoding or "''"):
        check_encoding(encoding)


@pytest.mark.parametrize("encoding", [None, 5, b"utf-8", "utf-8\x00"], ids=ascii)
def test_an_encoding_that_is_not_a_name_is_refused(encoding: Any) -> None:
    with pytest.raises(ValueError, match=r"encoding|null"):
        check_encoding(encoding)


def made(name: str, rows: Iterable[Iterable[Any]], **options: Any) -> bytes:
    stream = io.BytesIO()
    registry.named(name).write(rows, stream, Options(**options))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["csv", "tsv", "csv-excel"])
def test_a_header_is_written_first_and_not_counted(name: str) -> None:
    stream = io.BytesIO()
    assert registry.named(name).write([[1], [2]], stream, Options(header=["n"])) == 2
    assert stream.getvalue().decode("utf-8-sig").split() == ["n", "1", "2"]


def test_tsv_separates_by_tabs_and_quotes_cells_with_tabs() -> None:
    rows = [["a,b", "c\td", 'say "hi"', None], ["e\nf", 5]]
    content = made("tsv", rows)
    assert content == b'a,b\t"c\td"\t"say ""hi"""\t\n"e\nf"\t5\n'


def test_excel_gets_a_byte_order_mark_and_its_line_ends() -> None:
    assert made("csv-excel", [["a", "ü"], ["b\nc"]]) == '\ufeffa,ü\r\n"b\nc"\r\n'.encode()
    assert made("csv-excel", [["ü"]], encoding="UTF8") == "\ufeffü\r\n".encode()
    # Another encoding is used unchanged, with its own byte order mark or without.
    assert made("csv-excel", [["ü"]], encoding="utf-16") == "ü\r\n".encode("utf-16")
    assert made("csv-excel", [["ü"]], encoding="latin-1") == b"\xfc\r\n"


@pytest.mark.parametrize("name", ["csv", "tsv", "csv-excel"])
def test_formulas_are_escaped_in_every_kind_of_csv(name: str) -> None:
    content = made(name, [["=1+1", -5]], header=["=2"], escape_formulas=True)
    assert content.decode("utf-8-sig").replace("\t", ",").split() == ["'=2", "'=1+1,-5"]


#: Cells that are quoted, cells that are not, and hard cases for a parser.
CELLS = st.text(st.sampled_from(",\t\"\r\n' ab\x00\ufeff\u2028")) | st.text(
    st.characters(exclude_categories=["Cs"])
)

KINDS = [("csv", ",", "\n"), ("tsv", "\t", "\n"), ("csv-excel", ",", "\r\n")]


def unmarked(name: str, rows: Iterable[Iterable[Any]], **options: Any) -> bytes:
    """Return a file without the byte order mark for Excel."""
    content = made(name, rows, **options)
    return content.removeprefix(codecs.BOM_UTF8) if name == "csv-excel" else content


def parsed(text: str, delimiter: str, line_end: str) -> list[list[str]]:
    """Parse a file strictly by RFC 4180."""
    cell = rf'"((?:[^"]|"")*)"|([^"\r\n{delimiter}]*)'
    at, rows, row = 0, list[list[str]](), list[str]()
    while at < len(text):
        found = re.compile(cell).match(text, at)
        assert found
        quoted, bare = found.groups()
        row.append(bare if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if text.startswith(line_end, at):
            rows, row, at = [*rows, row], [], at + len(line_end)
        else:
            assert text[at] == delimiter
            at += 1
    assert not row
    return rows


@pytest.mark.parametrize(("name", "delimiter", "line_end"), KINDS)
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=4))
def test_what_is_read_is_what_was_written(
    name: str, delimiter: str, line_end: str, rows: list[list[str]]
) -> None:
    content = unmarked(name, rows)
    assert content == reference(rows, "utf-8", delimiter, line_end)
    text = content.decode()
    assert parsed(text, delimiter, line_end) == rows
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)) == rows


@pytest.mark.parametrize(("name", "delimiter", "line_end"), KINDS)
@pytest.mark.parametrize(
    "cell", ["a\rb", "\r", "\ra", "a\r", "a\r\rb", "a\r,b", 'a\r"b'], ids=ascii
)
def test_a_carriage_return_is_quoted_wherever_it_is(
    name: str, delimiter: str, line_end: str, cell: str
) -> None:
    rows = [["x", cell, ""], [cell], [cell, cell], ["a,\n", cell, '"\r"']]
    text = unmarked(name, rows, header=[cell]).decode()
    assert parsed(text, delimiter, line_end) == [[cell], *rows]


def test_the_time_for_carriage_returns_is_linear() -> None:
    rows = [["a" * 50_000, "\r" * 50_000, '"' * 50_000]] * 3
    assert written(rows) == reference(rows, "utf-8")
    ((cell, *_),) = escaped([[";" * 50_000 + "=" * 50_000]])
    assert cell.count("'") == 1


def test_a_line_is_as_in_a_file() -> None:
    assert line(["a\rb", None, {"k": "é"}, "=1"]) == '"a\rb",,"{""k"": ""é""}",=1\n'
    assert line(["=1", -5], escape_formulas=True) == "'=1,-5\n"


@pytest.mark.parametrize("name", ["csv", "tsv", "csv-excel"])
@pytest.mark.parametrize(
    ("header", "row", "place"), [(["名"], ["a"], "The header"), (["a"], ["名"], "Row 1")]
)
def test_an_unencodable_cell_is_counted_without_the_header(
    name: str, header: list[str], row: list[str], place: str
) -> None:
    with pytest.raises(DownloadError, match=f"^{place} has a character that latin-1 cannot write"):
        made(name, [row], header=header, encoding="latin-1")


def test_an_unencodable_cell_of_a_later_row_is_counted_without_the_header() -> None:
    rows = ([number, "名" if number == 300 else "a"] for number in itertools.count(1))
    with pytest.raises(DownloadError, match=r"^Row 300 "):
        made("csv", rows, header=["number", "text"], encoding="latin-1")
