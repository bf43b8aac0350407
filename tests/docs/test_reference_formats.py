"""The page on formats has each format, and says what each type becomes."""

import io
import json
import re
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import openpyxl
import pytest

from async_downloads.formats import Options, registry
from async_downloads.models import DownloadState
from tests.docs.helpers import rows_of
from tests.shop.models import Customer
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/formats.md"

TEXT = PAGES[PAGE].text

HEADER = "| type | Python | CSV, TSV | JSON Lines | spreadsheets | Parquet |"

CELLS = rows_of(TEXT, HEADER)

#: What the page calls the type of a cell, by that of openpyxl.
SHEET_TYPES = {"s": "text", "inlineStr": "text", "n": "number", "b": "boolean", "d": "date"}


def example(expression: str) -> Any:
    names = {
        **{kind.__name__: kind for kind in (date, datetime, time, timedelta, Decimal, UUID)},
        "UTC": UTC,
        "DownloadState": DownloadState,
        "Customer": Customer,
    }
    if "Range" in expression:
        names["Range"] = pytest.importorskip("psycopg.types.range").Range
    return eval(expression.strip("`"), names)  # noqa: S307 (our own text)


def written(name: str, cell: Any) -> bytes:
    stream = io.BytesIO()
    # A second cell, or an empty one would be quoted.
    registry.named(name).write([[cell, 0]], stream, Options())
    return stream.getvalue()


def test_the_table_has_each_format() -> None:
    rows = rows_of(TEXT, "| format | extensions | what it is |")
    documented = {
        name.strip("`"): tuple(re.findall(r"`(\.\w+)`", extensions)) for name, extensions, _ in rows
    }
    assert documented == {name: each.extensions for name, each in registry._formats.items()}


@pytest.mark.parametrize(("expression", "text"), [(row[1], row[2]) for row in CELLS])
def test_a_cell_of_csv_is_that_of_the_table(expression: str, text: str) -> None:
    assert written("csv", example(expression)).decode() == f"{text.strip('`')},0\n"


@pytest.mark.parametrize(("expression", "text"), [(row[1], row[3]) for row in CELLS])
def test_a_cell_of_json_lines_is_that_of_the_table(expression: str, text: str) -> None:
    line = written("jsonl", example(expression)).decode()
    assert line == f"[{text.strip('`')},0]\n"
    json.loads(line)


@pytest.mark.parametrize(("expression", "kind"), [(row[1], row[4]) for row in CELLS])
def test_a_cell_of_a_workbook_is_of_the_type_of_the_table(expression: str, kind: str) -> None:
    book = openpyxl.load_workbook(io.BytesIO(written("xlsx", example(expression))))
    cell = book.worksheets[0]["A1"]
    if cell.value is None:
        assert kind == "blank"
    elif isinstance(cell.value, timedelta):
        assert kind == "duration"
    else:
        assert kind == SHEET_TYPES[cell.data_type]


#: What the page calls the type of a cell, by the type in ODS. A time is a date in XLSX.
DOCUMENT_TYPES = {
    None: {"blank"},
    "string": {"text"},
    "float": {"number"},
    "boolean": {"boolean"},
    "date": {"date"},
    "time": {"date", "duration"},
}


@pytest.mark.parametrize(("expression", "kind"), [(row[1], row[4]) for row in CELLS])
def test_a_cell_of_a_document_is_of_the_type_of_the_table(expression: str, kind: str) -> None:
    with zipfile.ZipFile(io.BytesIO(written("ods", example(expression)))) as archive:
        row = archive.read("content.xml").decode().partition("<table:table-row>")[2]
    cell = row.partition(">")[0]
    found = re.search(r'office:value-type="(\w+)"', cell)
    assert kind in DOCUMENT_TYPES[found[1] if found else None]


#: What the page calls the type of a column, by the beginning of that of pyarrow.
COLUMN_TYPES = {
    "string": "text",
    "int64": "integer",
    "double": "float",
    "decimal128": "decimal",
    "bool": "boolean",
    "date32": "date",
    "timestamp[us]": "timestamp",
    "timestamp[us, tz": "timestamp with a zone",
    "time64": "time",
    "duration": "duration",
    "binary": "bytes",
}


@pytest.mark.parametrize(("expression", "kind"), [(row[1], row[5]) for row in CELLS])
def test_a_column_of_parquet_is_of_the_type_of_the_table(expression: str, kind: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(written("parquet", example(expression))))
    if kind == "null":
        assert table.column(0).to_pylist() == [None]
    else:
        name = str(table.schema.types[0])
        assert [word for start, word in COLUMN_TYPES.items() if name.startswith(start)] == [kind]
