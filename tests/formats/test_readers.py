"""Each type in each format, as libraries read it that have not written it."""

import csv
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from async_downloads.formats import Options, registry

ZONE: Final = ZoneInfo("Europe/Berlin")

MOMENT: Final = datetime(2026, 7, 1, 16, 30, 5, 123456, tzinfo=UTC)

#: What a clock in the time zone shows, without what is less than a millisecond.
CLOCK: Final = datetime(2026, 7, 1, 18, 30, 5, 123000)  # noqa: DTZ001


class Case(NamedTuple):
    """A value in each family of formats.

    Attributes:
        value: Python's value, which Parquet keeps.
        text: In CSV.
        json: In JSON Lines.
        sheet: In a spreadsheet.
        parquet: In Parquet, if it is another one.
    """

    value: Any
    text: str
    json: Any
    sheet: Any
    parquet: Any = ...


UID: Final = UUID("01234567-89ab-4def-8123-456789abcdef")

CASES: Final = {
    "text": Case("Ada", "Ada", "Ada", "Ada"),
    "hard": Case('a, "b"; <c>\n名前 🙂', *['a, "b"; <c>\n名前 🙂'] * 3),
    "formula": Case("=1+1", "=1+1", "=1+1", "=1+1"),
    "integer": Case(-5, "-5", -5, -5),
    "long": Case(2**62, str(2**62), 2**62, str(2**62)),
    "float": Case(0.1 + 0.2, "0.30000000000000004", 0.1 + 0.2, 0.1 + 0.2),
    "decimal": Case(Decimal("19.90"), "19.90", "19.90", 19.9),
    "precise": Case(Decimal("1234567890123.4567"), *["1234567890123.4567"] * 3),
    "true": Case(True, "True", True, True),
    "false": Case(False, "False", False, False),
    "date": Case(date(2026, 1, 31), "2026-01-31", "2026-01-31", date(2026, 1, 31)),
    "old": Case(date(1815, 12, 10), "1815-12-10", "1815-12-10", "1815-12-10"),
    "moment": Case(
        MOMENT, "2026-07-01 16:30:05.123456+00:00", "2026-07-01T16:30:05.123456+00:00", CLOCK
    ),
    "naive": Case(CLOCK, "2026-07-01 18:30:05.123000", "2026-07-01T18:30:05.123000", CLOCK),
    "time": Case(time(9, 5, 1), "09:05:01", "09:05:01", time(9, 5, 1)),
    "duration": Case(
        timedelta(hours=30, seconds=5),
        "1 day, 6:00:05",
        "1 day, 6:00:05",
        timedelta(hours=30, seconds=5),
    ),
    "negative": Case(timedelta(hours=-1), *["-1 day, 23:00:00"] * 3),
    "uuid": Case(UID, str(UID), str(UID), str(UID), str(UID)),
    "bytes": Case(b"\x00\xff=", *["AP89"] * 3),
    "list": Case([1, None], "[1, null]", [1, None], "[1, null]", "[1, null]"),
    "mapping": Case({"a": "ü"}, '{"a": "ü"}', {"a": "ü"}, '{"a": "ü"}', '{"a": "ü"}'),
}

NAMES: Final = list(CASES)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a file of a format with one row."""

    def make(name: str) -> Path:
        path = tmp_path / f"values{registry.named(name).extensions[0]}"
        with path.open("wb") as file, timezone.override(ZONE):
            row = [case.value for case in CASES.values()]
            registry.named(name).write([row], file, Options(path.name, NAMES))
        return path

    return make


def texts() -> dict[str, str]:
    return {name: case.text for name, case in CASES.items()}


def duckdb_row(query: str, path: Path) -> dict[str, Any]:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(query, [str(path)])
        (row,) = result.fetchall()
        return dict(zip([each[0] for each in result.description], row, strict=True))


@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_csv_in_duckdb(made: Any, name: str) -> None:
    assert duckdb_row("FROM read_csv(?, header=true, all_varchar=true)", made(name)) == texts()


def test_the_types_that_duckdb_finds_in_csv(made: Any) -> None:
    row = duckdb_row("FROM read_csv(?, header=true, quote='\"')", made("csv"))
    for name in ("integer", "long", "float", "true", "false", "date", "moment", "naive", "time"):
        value = CASES[name].value
        assert (row[name], type(row[name])) == (value, type(value)), name


@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_csv_in_polars(made: Any, name: str) -> None:
    polars = pytest.importorskip("polars")
    separator = "\t" if name == "tsv" else ","
    frame = polars.read_csv(made(name), infer_schema=False, separator=separator)
    assert frame.row(0, named=True) == texts()


def test_jsonl_in_polars(made: Any) -> None:
    polars = pytest.importorskip("polars")
    row = polars.read_ndjson(made("jsonl")).row(0, named=True)
    assert row == {name: case.json for name, case in CASES.items()}
    assert [type(row[name]) for name in ("true", "integer", "float")] == [bool, int, float]


def test_jsonl_in_duckdb(made: Any) -> None:
    row = duckdb_row(
        'SELECT hard, integer, long, "float", "true", moment::timestamptz AS moment,'
        ' "decimal"::decimal(4, 2) AS "decimal", "date"::date AS "date", uuid::uuid AS uuid'
        " FROM read_json(?, format='newline_delimited')",
        made("jsonl"),
    )
    assert row == {name: CASES[name].value for name in row}


def test_jsonl_in_python(made: Any) -> None:
    assert json.loads(made("jsonl").read_text()) == {
        name: case.json for name, case in CASES.items()
    }


def as_sheet(value: Any) -> Any:
    """Return a value of a workbook as the table has it: a date is a time at midnight there."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    return value


def test_xlsx_in_openpyxl(made: Any) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    sheet = openpyxl.load_workbook(made("xlsx")).worksheets[0]
    names, row = [[cell.value for cell in cells] for cells in sheet.rows]
    found = dict(zip(names, map(as_sheet, row), strict=True))
    expected = {name: case.sheet for name, case in CASES.items()}
    assert found == expected
    assert {type(value) for value in found.values()} == {type(each) for each in expected.values()}


@pytest.mark.parametrize("name", ["xlsx", "ods"])
def test_spreadsheets_in_calamine(made: Any, name: str) -> None:
    calamine = pytest.importorskip("python_calamine")
    names, row = calamine.load_workbook(made(name)).get_sheet_by_index(0).to_python()
    found = dict(zip(names, map(as_sheet, row), strict=True))
    if name == "ods":
        # The library leaves durations as the file has them.
        assert found["duration"] == "PT30H00M05S"
        found["duration"] = CASES["duration"].sheet
    assert found == {name: case.sheet for name, case in CASES.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", ["xlsx", "ods"])
def test_spreadsheets_in_libreoffice(made: Any, tmp_path: Path, name: str) -> None:
    soffice = shutil.which("soffice")
    if soffice is None:
        pytest.skip("LibreOffice is not installed")
    # Its own CSV, quoted, with the values as its cells show them.
    as_csv = "csv:Text - txt - csv (StarCalc):44,34,76,1,,1033,false,true,false"
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    subprocess.run(
        [soffice, profile, "--headless", "--convert-to", as_csv, "--outdir", tmp_path, made(name)],
        check=True,
        capture_output=True,
    )
    names, row = csv.reader(io.StringIO((tmp_path / "values.csv").read_text()))
    found = dict(zip(names, row, strict=True))
    shown = texts() | {
        "float": "0.3",
        "decimal": "19.9",
        "true": "TRUE",
        "false": "FALSE",
        "moment": "2026-07-01 18:30:05",
        "naive": "2026-07-01 18:30:05",
        "time": "09:05:01 AM",
        "duration": "30:00:05",
        "bytes": "AP89",
    }
    found["float"] = f"{float(found['float']):.15g}"
    assert found == shown


def parquet_values() -> dict[str, Any]:
    return {
        name: case.value if case.parquet is ... else case.parquet for name, case in CASES.items()
    }


def test_parquet_in_pyarrow(made: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (row,) = parquet.read_table(made("parquet")).to_pylist()
    assert row == parquet_values()


def test_parquet_in_polars(made: Any) -> None:
    pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    row = polars.read_parquet(made("parquet")).row(0, named=True)
    assert row == parquet_values()


def test_parquet_in_duckdb(made: Any) -> None:
    pytest.importorskip("pyarrow")
    row = duckdb_row("FROM read_parquet(?)", made("parquet"))
    for name in ("duration", "negative"):
        # Parquet has no type of its own for them: microseconds.
        if isinstance(row[name], int):
            row[name] = timedelta(microseconds=row[name])
    assert row == parquet_values()


def test_csv_for_excel_has_what_its_reader_expects(made: Any) -> None:
    with translation.override("de"):
        text = made("csv-excel").read_bytes().decode("utf-8-sig")
    names, row = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    assert dict(zip(names, row, strict=True)) == texts() | {
        "float": "0,30000000000000004",
        "decimal": "19,90",
        "precise": "1234567890123,4567",
        "moment": "2026-07-01 18:30:05.123",
        "naive": "2026-07-01 18:30:05.123",
    }


def test_each_format_is_read_here() -> None:
    read = {"csv", "tsv", "csv-excel", "jsonl", "xlsx", "ods", "parquet"}
    # The rest contains another one.
    assert registry._formats.keys() - read == {"zip"}


def test_a_zip_file_has_the_file_of_its_name(made: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(made("zip")) as archive:
        (name,) = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    assert rows == [NAMES, list(texts().values())]
