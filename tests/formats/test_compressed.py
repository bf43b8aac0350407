"""Any format, compressed while it is written."""

import csv
import gzip
import io
import time
import zipfile
from typing import Any

import openpyxl
import pytest

from async_downloads.formats import Options, registry

ROWS = [["id", "name"], [1, "Ada"], [2, "Größe"]]


def written(format_name: str, rows: Any = ROWS, **options: Any) -> bytes:
    stream = io.BytesIO()
    assert registry.named(format_name).write(rows, stream, Options(**options)) == len(ROWS)
    assert not stream.closed
    return stream.getvalue()


@pytest.mark.parametrize("name", ["csv", "tsv", "csv-excel", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_the_decompressed_file_is_the_same(name: str, encoding: str) -> None:
    packed = written(f"{name}.gz", encoding=encoding)
    assert gzip.decompress(packed) == written(name, encoding=encoding)


def test_a_decompressed_workbook_can_be_read() -> None:
    # gzip cannot seek back to where a ZIP file keeps the sizes.
    book = openpyxl.load_workbook(io.BytesIO(gzip.decompress(written("xlsx.gz"))))
    assert [[cell.value for cell in row] for row in book.worksheets[0].rows] == ROWS


def test_the_same_rows_are_the_same_bytes_at_any_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = written("csv.gz", name="orders.csv.gz")
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert written("csv.gz", name="other.csv.gz") == first


def test_rows_are_written_as_they_come() -> None:
    stream = io.BytesIO()
    seen = []

    def rows() -> Any:
        for number in range(200_000):
            seen.append(stream.tell())
            yield [number, "some text"]

    registry.named("csv.gz").write(rows(), stream, Options())
    assert seen[100_000] > 10_000
    text = io.StringIO(gzip.decompress(stream.getvalue()).decode())
    assert sum(1 for _ in csv.reader(text)) == 200_000


def test_a_compressed_archive_does_not_contain_itself() -> None:
    archive = gzip.decompress(written("zip.gz", name="orders.zip.gz"))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.namelist() == ["orders.csv"]
