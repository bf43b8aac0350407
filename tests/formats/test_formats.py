"""Each format, from the call in a task to the file in the browser."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import openpyxl
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import default_storage
from django.db.models.functions import Upper
from django.test import Client

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.formats import Format, Options, register, registry
from async_downloads.models import Download
from async_downloads.shortcuts import queryset_to_csv
from tests.factories import DownloadFactory, OrderFactory
from tests.shop.models import Order

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ROWS = [[1, "Ada"], [2, "Größe"]]
TABLE = [["id", "name"], *ROWS]


def sheet_of(content: bytes) -> list[list[Any]]:
    book = openpyxl.load_workbook(io.BytesIO(content))
    return [[cell.value for cell in row] for row in book.worksheets[0].rows]


def text_of(content: bytes) -> list[list[Any]]:
    return [line.split(",") for line in content.decode("utf-8-sig").splitlines()]


def lines_of(content: bytes) -> list[list[Any]]:
    objects = [json.loads(line) for line in content.decode().splitlines()]
    return [list(objects[0]), *(list(each.values()) for each in objects)]


def member_of(content: bytes) -> list[list[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        (name,) = found.namelist()
        return (sheet_of if name.endswith(".xlsx") else text_of)(found.read(name))


CASES = {
    # Keys: the requested file name and format=. Values: the name, type and rows of the file.
    ("a.csv", None): ("a.csv", "text/csv", text_of),
    ("a.txt", None): ("a.txt", "text/plain", text_of),
    ("a.dat", None): ("a.dat", None, text_of),
    ("a.csv", "csv-excel"): ("a.csv", "text/csv", text_of),
    # The extension is that of the stored file.
    ("a.xlsx.", None): ("a.xlsx.", XLSX, sheet_of),
    ("a.xlsx?", None): ("a.xlsx?", XLSX, sheet_of),
    ("a.xlsx ", None): ("a.xlsx", XLSX, sheet_of),
    ("a.csv?", "xlsx"): ("a.xlsx", XLSX, sheet_of),
    ("a.zip?", None): ("a.zip?", "application/zip", member_of),
    ("a.zip.gz?", None): (
        "a.zip.gz?",
        "application/gzip",
        lambda content: member_of(gzip.decompress(content)),
    ),
    ("a.xslx", None): ("a.xslx", None, text_of),
    ("a.xls", None): ("a.xls", "application/vnd.ms-excel", text_of),
    ("a.tsv", None): (
        "a.tsv",
        "text/tab-separated-values",
        lambda content: text_of(content.replace(b"\t", b",")),
    ),
    ("a.jsonl", None): ("a.jsonl", "application/jsonl", lines_of),
    ("a.csv", "jsonl"): ("a.jsonl", "application/jsonl", lines_of),
    ("a.xlsx", None): ("a.xlsx", XLSX, sheet_of),
    ("a.csv", "xlsx"): ("a.xlsx", XLSX, sheet_of),
    ("a", "xlsx"): ("a.xlsx", XLSX, sheet_of),
    ("a.csv.gz", None): ("a.csv.gz", "application/gzip", lambda c: text_of(gzip.decompress(c))),
    ("a.csv", "csv.gz"): ("a.csv.gz", "application/gzip", lambda c: text_of(gzip.decompress(c))),
    ("a.xlsx.gz", None): ("a.xlsx.gz", "application/gzip", lambda c: sheet_of(gzip.decompress(c))),
    ("a.zip", None): ("a.zip", "application/zip", member_of),
    ("a.xlsx.zip", None): ("a.xlsx.zip", "application/zip", member_of),
    ("a.csv", "zip"): ("a.zip", "application/zip", member_of),
}


@pytest.mark.parametrize(("filename", "wanted"), CASES)
def test_the_file_has_the_name_type_and_rows_of_its_format(
    user: Any, signed_in: Client, filename: str, wanted: str | None
) -> None:
    name, content_type, read = CASES[filename, wanted]
    key = cache.init_download(user, filename)[1]
    cache.save_download(key, iter(ROWS), header=iter(TABLE[0]), format=wanted)
    download = Download.objects.get()
    assert download.complete, download.error_detail
    assert (download.rows_written, download.filename, download.name) == (2, name, name)
    assert download.filepath == f"downloads/{key}/{name.strip('.?')}"
    response = signed_in.get(download.url)
    content = response.getvalue()
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    if content_type:
        assert response["Content-Type"] == content_type
    assert int(response["Content-Length"]) == len(content) == download.size
    assert [[str(cell) for cell in row] for row in read(content)] == [
        [str(cell) for cell in row] for row in TABLE
    ]


@pytest.mark.parametrize(
    ("filename", "arguments", "logged"),
    [
        ("a.xslx", {"iterable": ROWS}, "'a.xslx'"),
        ("a.xslx.zip", {"iterable": ROWS}, "'a.xslx.zip'"),
        ("a.zip", {"members": {"b.xslx": ROWS, "c.csv": ROWS}}, "'b.xslx'"),
        ("a.xslx", {"iterable": ROWS, "format": "csv"}, ""),
        ("a.xslx", {"file": io.BytesIO(b"PK")}, ""),
        ("a.xls", {"iterable": ROWS}, ""),
    ],
)
def test_rows_under_a_misspelt_extension_are_logged(
    user: Any, caplog: pytest.LogCaptureFixture, filename: str, arguments: Any, logged: str
) -> None:
    key = cache.init_download(user, filename)[1]
    cache.save_download(key, **arguments)
    assert Download.objects.get().complete
    found = [record for record in caplog.records if "means no format" in record.getMessage()]
    assert len(found) == bool(logged)
    for record in found:
        assert f"The extension of {logged} means" in record.getMessage()
        assert "Is .xlsx meant?" in record.getMessage()
        assert record.download_key == key  # type: ignore[attr-defined]


def test_the_name_in_the_list_stays_when_the_file_is_renamed(user: Any) -> None:
    key = cache.init_download(user, "a.csv", "Open orders")[1]
    cache.save_download(key, ROWS, format="xlsx")
    download = Download.objects.get()
    assert (download.filename, download.name) == ("a.xlsx", "Open orders")


def test_a_file_is_renamed_once_it_is_complete(user: Any) -> None:
    key = cache.init_download(user, "a.csv")[1]
    cache.save_download(key, (1 / 0 for _ in ROWS), format="xlsx")  # type: ignore[arg-type, misc]
    download = Download.objects.get()
    assert (download.failed, download.filename) == (True, "a.csv")
    cache.save_download(key, ROWS)
    download = Download.objects.get()
    assert (download.complete, download.filename) == (True, "a.csv")


def test_an_attempt_that_takes_over_writes_another_file_with_the_new_extension(user: Any) -> None:
    download = DownloadFactory(collection__user=user, running=True, filename="a.csv")
    Download.objects.update(heard_at="2020-01-01T00:00Z")
    cache.save_download(download.download_key, ROWS, format="csv.gz")
    download.refresh_from_db()
    assert download.filename == "a.csv.gz"
    assert download.filepath.endswith(".gz")
    assert default_storage.exists(download.filepath)
    assert len(default_storage.listdir(f"downloads/{download.download_key}")[1]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterable": ROWS, "format": "pdf"}, "The format 'pdf' is unknown"),
        ({"file": io.BytesIO(b"a"), "format": "csv"}, "stored as it is"),
        ({"members": {}, "format": "csv"}, "ZIP"),
        ({"members": {}, "header": ["a"]}, "formats.Rows"),
        ({"members": {}, "encoding": "klingon"}, "encoding"),
        ({"members": {}, "iterable": ROWS}, "either"),
        ({"members": {}, "file": io.BytesIO(b"a")}, "either"),
        ({}, "either"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(
    user: Any, arguments: Any, message: str
) -> None:
    key = cache.init_download(user, "a.csv")[1]
    with pytest.raises(ValueError, match=message):
        cache.save_download(key, **arguments)
    assert Download.objects.get().state == "pending"


@pytest.fixture
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Format("xlsx", (".xlsx",), XLSX, registry.CSV.write, requires="no_such_module")
    monkeypatch.setitem(registry._formats, "xlsx", lacking)


@pytest.mark.usefixtures("without_the_library")
def test_a_format_whose_library_is_missing_is_refused_at_once(user: Any) -> None:
    key = cache.init_download(user, "a.csv")[1]
    with pytest.raises(ImproperlyConfigured, match="no_such_module"):
        cache.save_download(key, ROWS, format="xlsx")
    assert Download.objects.get().state == "pending"


@pytest.mark.usefixtures("without_the_library")
def test_a_missing_library_for_a_file_name_fails_with_a_reason_for_staff(user: Any) -> None:
    key = cache.init_download(user, "a.xlsx")[1]
    cache.save_download(key, ROWS)
    download = Download.objects.get()
    assert (download.failed, download.errors) == (
        True,
        "Something went wrong while creating the file. Please request it again.",
    )
    assert "needs no_such_module, which is not installed" in download.error_detail
    # A finished file needs no library.
    cache.save_download(key, file=io.BytesIO(b"PK"))
    assert Download.objects.get().complete


@pytest.mark.parametrize("filename", ["a.xlsx", "a.jsonl", "a.tsv.gz", "a.zip"])
@pytest.mark.parametrize(("setting", "value"), [("MAX_ROWS", 2), ("MAX_BYTES", 30)])
def test_the_limits_apply_to_every_format(
    user: Any, settings: Any, filename: str, setting: str, value: int
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{setting}", value)
    key = cache.init_download(user, filename)[1]
    cache.save_download(key, ROWS, header=TABLE[0])
    download = Download.objects.get()
    assert download.failed
    assert "limit" in download.errors


@pytest.mark.parametrize(("filename", "cell"), [("a.tsv", "'=1"), ("a.xlsx", "=1")])
def test_formulas_are_escaped_in_formats_that_a_spreadsheet_opens(
    user: Any, settings: Any, filename: str, cell: str
) -> None:
    settings.ASYNC_DOWNLOADS_ESCAPE_FORMULAS = True
    key = cache.init_download(user, filename)[1]
    cache.save_download(key, [["=1"]])
    with default_storage.open(Download.objects.get().filepath) as file:
        content = file.read()
    read = sheet_of if filename.endswith(".xlsx") else text_of
    assert read(content) == [[cell]]


@pytest.mark.parametrize("wanted", [None, "xlsx"])
def test_a_queryset_is_saved_in_any_format(user: Any, wanted: str | None) -> None:
    order = OrderFactory()
    key = cache.init_download(user, "a.csv" if wanted else "a.xlsx")[1]
    queryset_to_csv(
        key, ["Reference"], Order.objects.all(), lambda order: [order.reference], format=wanted
    )
    download = Download.objects.get()
    with default_storage.open(download.filepath) as file:
        assert sheet_of(file.read()) == [["Reference"], [order.reference]]
    assert (download.filename, download.percentage, download.rows_expected) == ("a.xlsx", 100, 1)


def test_a_queryset_of_values_is_saved_with_its_types(user: Any) -> None:
    OrderFactory(total="19.90", reference="R1")
    key = cache.init_download(user, "a.xlsx")[1]
    rows = Order.objects.values_list(Upper("reference"), "total")
    cache.save_download(key, rows, header=["Reference", "Total"])
    with default_storage.open(Download.objects.get().filepath) as file:
        assert sheet_of(file.read()) == [["Reference", "Total"], ["R1", 19.9]]


def test_a_format_of_a_site(user: Any, signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    options_seen = []

    def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
        options_seen.append(options)
        return stream.write(b"x" * len(list(rows)))

    monkeypatch.setattr(registry, "_formats", registry._formats.copy())
    register(Format("marks", (".marks",), "text/x-marks", write))
    key = cache.init_download(user, "a.marks")[1]
    cache.save_download(key, iter(ROWS), header=("id",), encoding="latin-1")
    download = Download.objects.get()
    response = signed_in.get(download.url)
    assert (response["Content-Type"], response.getvalue()) == ("text/x-marks", b"xx")
    assert download.rows_written == 2
    assert options_seen == [
        Options("a.marks", ["id"], "latin-1", title="a", creator=user.get_username())
    ]


def test_the_attempt_has_heartbeats_while_the_end_of_the_file_is_written(
    user: Any, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
        count = len(list(rows))
        for _ in range(3):
            heard.append(Download.objects.get().heard_at)
            stream.write(b"x")
        return count

    monkeypatch.setitem(registry._formats, "csv", Format("csv", (".csv",), "text/csv", write))
    cache.save_download(cache.init_download(user, "a.csv")[1], ROWS)
    assert heard[0] < heard[1] < heard[2]


def test_a_download_that_is_cleared_at_the_end_of_a_workbook_is_cancelled(
    user: Any, hasty: None
) -> None:
    key = cache.init_download(user, "a.xlsx")[1]

    def rows() -> Iterator[list[int]]:
        yield [1]
        store.clear(user.pk, download_key=Download.objects.get().pk)

    with pytest.raises(DownloadCancelled):
        cache.save_download(key, rows())
    assert not default_storage.exists(f"downloads/{key}/a.xlsx")
