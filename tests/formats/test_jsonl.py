"""JSON Lines."""

import csv as python_csv
import io
import json
import math
import re
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, csv
from async_downloads.formats.jsonl import write
from tests.formats.streams import FullStream, no_space

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()

CELLS = st.recursive(
    PLAIN.filter(lambda cell: not isinstance(cell, float) or math.isfinite(cell)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

TYPED = [
    date(2026, 1, 31),
    datetime(2026, 1, 31, 9, 5, 1, 123456, tzinfo=UTC),
    time(9, 5),
    timedelta(days=1, seconds=2),
    Decimal("19.90"),
    uuid.UUID(int=5),
    gettext_lazy("January"),
]


def written(rows: Iterable[Iterable[Any]], **options: Any) -> str:
    stream = io.BytesIO()
    write(rows, stream, Options(**options))
    return stream.getvalue().decode(options.get("encoding", "utf-8"))


@given(st.lists(st.lists(CELLS, max_size=4), max_size=4))
def test_what_is_read_is_what_was_written(rows: list[list[Any]]) -> None:
    lines = written(rows).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == rows


def test_a_cell_for_which_json_has_no_type_is_the_text_of_csv() -> None:
    (line,) = written([TYPED]).splitlines()
    stream = io.BytesIO()
    csv.write([[each] for each in TYPED], stream)
    texts = [row[0] for row in python_csv.reader(io.StringIO(stream.getvalue().decode()))]
    for cell, value, text in zip(TYPED, json.loads(line), texts, strict=True):
        if isinstance(cell, (str, Decimal, date, time, timedelta, uuid.UUID)):
            # ISO 8601 has a T between date and time.
            assert value == (cell.isoformat() if isinstance(cell, datetime) else text)
        else:
            assert value == cell


def test_the_header_names_the_members_of_objects() -> None:
    rows = [(1, "Ada"), iter([2, None])]
    assert written(rows, header=[gettext_lazy("No such text"), "Name"]) == (
        '{"No such text":1,"Name":"Ada"}\n{"No such text":2,"Name":null}\n'
    )


def test_without_a_header_rows_of_any_kind_are_arrays() -> None:
    rows: list[Iterable[Any]] = [(1, 2), iter([3]), (cell for cell in "ab"), []]
    assert written(rows) == '[1,2]\n[3]\n["a","b"]\n[]\n'


def test_rows_that_are_mappings_are_objects() -> None:
    rows = [{"a": 1, "b": {"c": (2,)}}, {"b": None, "a": "x"}]
    assert written(rows) == '{"a":1,"b":{"c":[2]}}\n{"a":"x","b":null}\n'
    assert written(rows, header=["b"]) == '{"b":{"c":[2]}}\n{"b":null}\n'
    assert written([{"a": 1}], header=["First"]) == '{"First":1}\n'


def test_keys_of_any_kind_are_text() -> None:
    cell = {gettext_lazy("January"): 1, (1, "a"): 2, 5: 3, None: 4, True: 5, date(2026, 1, 31): 6}
    (line,) = written([[cell]]).splitlines()
    assert json.loads(line) == [
        {"January": 1, '[1, "a"]': 2, "5": 3, "null": 4, "true": 5, "2026-01-31": 6}
    ]
    (line,) = written([{gettext_lazy("January"): 1, (1, "a"): 2}]).splitlines()
    assert list(json.loads(line).values()) == [1, 2]


def test_the_rows_are_counted_without_the_header() -> None:
    assert write([[1], [2]], io.BytesIO(), Options(header=["a"])) == 2
    assert write([], io.BytesIO(), Options(header=["a"])) == 0


def test_infinity_and_nan_are_null() -> None:
    row = [math.nan, math.inf, -math.inf, 1.5, [math.nan, {"a": math.inf}], (math.nan,)]
    assert written([row]) == '[null,null,null,1.5,[null,{"a":null}],[null]]\n'


class Thing:
    def __str__(self) -> str:
        return "a thing"


def test_values_that_json_lacks_are_their_text_as_in_csv() -> None:
    row = [Thing(), time(9, 5, tzinfo=UTC), b"bytes", {"x"}]
    assert written([row]) == '["a thing","09:05:00+00:00","Ynl0ZXM=",["x"]]\n'


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "utf-16-le"])
def test_a_character_that_the_encoding_lacks_is_escaped(encoding: str) -> None:
    rows = [["Größe"], ["名"], ["🙂"], ["end"]]
    text = written(rows, encoding=encoding)
    assert [json.loads(line) for line in text.splitlines()] == rows
    assert ("名" in text) is encoding.startswith("utf")


def test_text_stays_readable() -> None:
    assert written([["Größe 名 </script>"]]) == '["Größe 名 </script>"]\n'


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-8-sig", "ascii"])
@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("\ud800", "\ufffd"),
        ("a\udfff名\ud800b", "a\ufffd名\ufffdb"),
        ("\ud83d\ude42", "🙂"),
        ({"\ud800": ["\udc00"]}, {"\ufffd": ["\ufffd"]}),
    ],
    ids=ascii,
)
def test_half_a_surrogate_pair_is_replaced(cell: Any, found: Any, encoding: str) -> None:
    text = written([[cell, "名"], [1.5, math.nan]], encoding=encoding)
    # Other readers refuse such a half, in UTF-8 as well as escaped.
    assert not re.search(r"(?i)\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]", text)
    assert [json.loads(line) for line in text.removeprefix("\ufeff").splitlines()] == [
        [found, "名"],
        [1.5, None],
    ]


def test_half_a_surrogate_pair_in_a_heading_is_replaced() -> None:
    text = written([[1, 2]], header=["\ud800", "\udfff"])
    assert json.loads(text) == {"\ufffd": 1, "\ufffd (2)": 2}


@pytest.mark.parametrize(
    "end", ["\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_a_row_is_one_line_for_any_reader(end: str) -> None:
    text = written([[f"a{end}b"], [{end: end}]])
    lines = text.splitlines()
    assert [json.loads(line) for line in lines] == [[f"a{end}b"], [{end: end}]]


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 10**400, 0.1 + 0.2, 1e300, -5e-324])
def test_a_number_keeps_all_of_its_digits(number: Any) -> None:
    (line,) = written([[number]]).splitlines()
    assert json.loads(line) == [number]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["Total", "Total"], ["Total", "Total (2)"]),
        (["a", "a", "a"], ["a", "a (2)", "a (3)"]),
        (["a", "a (2)", "a"], ["a", "a (2)", "a (3)"]),
        (["a", "a", "a (2)"], ["a", "a (2)", "a (2) (2)"]),
        (["", None], ["", " (2)"]),
        ([1, "1"], ["1", "1 (2)"]),
    ],
)
def test_a_name_that_several_columns_have_gets_a_number(
    header: list[Any], names: list[str]
) -> None:
    row = list(range(len(names)))
    (line,) = written([row], header=header).splitlines()
    assert list(json.loads(line)) == names
    assert list(json.loads(line).values()) == row


@pytest.mark.parametrize("row", [[1], [1, 2, 3], []])
def test_a_cell_without_a_name_is_an_error(row: list[int]) -> None:
    stream = io.BytesIO()
    with pytest.raises(DownloadError, match=f"Row 2 has {len(row)} cells, .* header has 2"):
        write([[1, 2], row], stream, Options(header=["a", "b"]))


def test_the_error_of_a_full_disk_is_raised_unchanged() -> None:
    stream = FullStream(0, no_space)
    with pytest.raises(OSError, match="No space left"):
        write([["a"]], stream, Options())
    assert not stream.closed
