"""Several files in one download."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.files.storage import default_storage

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.formats import Rows
from async_downloads.models import Download
from tests.factories import OrderFactory
from tests.shop.models import Order

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def made(user: Any, members: Any, filename: str = "orders.zip", **what: Any) -> Download:
    key = cache.init_download(user, filename)[1]
    cache.save_download(key, members=members, **what)
    return Download.objects.get(pk=key)


def unpacked(download: Download) -> dict[str, bytes]:
    assert download.complete, download.error_detail
    with default_storage.open(download.filepath) as file, zipfile.ZipFile(file) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_each_member_has_the_format_of_its_name(user: Any) -> None:
    order = OrderFactory()
    download = made(
        user,
        {
            "orders.csv": Order.objects.values_list("reference", "status"),
            "2026/orders.xlsx": Rows([[1, "Ada"]], header=["id", "name"]),
            "orders.jsonl": Rows(iter([(1, "Ada")]), header=["id", "name"]),
            "orders.tsv.gz": [["a", "b"]],
            "umlauts.csv": Rows([["ü"]], encoding="latin-1"),
            "logo.png": io.BytesIO(b"\x89PNG"),
            "bytes.bin": b"\x00\x01",
            "README.txt": "Größe",
        },
    )
    found = unpacked(download)
    assert found.pop("orders.csv").decode() == f"{order.reference},{order.status}\n"
    book = openpyxl.load_workbook(io.BytesIO(found.pop("2026/orders.xlsx")))
    cells = [[cell.value for cell in row] for row in book.worksheets[0].rows]
    assert cells == [["id", "name"], [1, "Ada"]]
    assert json.loads(found.pop("orders.jsonl")) == {"id": 1, "name": "Ada"}
    assert gzip.decompress(found.pop("orders.tsv.gz")) == b"a\tb\n"
    assert found == {
        "umlauts.csv": b"\xfc\n",
        "logo.png": b"\x89PNG",
        "bytes.bin": b"\x00\x01",
        "README.txt": "Größe".encode(),
    }
    assert (download.rows_written, download.rows_expected) == (5, None)


def test_pairs_are_read_one_by_one(user: Any) -> None:
    steps: list[str] = []

    def rows(name: str) -> Iterator[list[str]]:
        try:
            steps.append(f"begin {name}")
            yield [name]
        finally:
            steps.append(f"end {name}")

    def members() -> Iterator[tuple[str, Any]]:
        for name in ("a.csv", "b.csv"):
            steps.append(f"ask {name}")
            yield name, rows(name)

    assert unpacked(made(user, members())) == {"a.csv": b"a.csv\n", "b.csv": b"b.csv\n"}
    assert steps == [
        *("ask a.csv", "begin a.csv", "end a.csv"),
        *("ask b.csv", "begin b.csv", "end b.csv"),
    ]


def test_the_encoding_applies_to_every_text(user: Any) -> None:
    found = unpacked(made(user, {"a.csv": [["ü"]], "b.txt": "ü"}, encoding="latin-1"))
    assert found == {"a.csv": b"\xfc\n", "b.txt": b"\xfc"}


def test_each_member_begins_with_a_byte_order_mark(user: Any) -> None:
    found = unpacked(made(user, {"a.csv": [["ü"]], "b.csv": [["ü"]]}, encoding="utf-16"))
    assert set(found.values()) == {"ü\n".encode("utf-16")}


def test_without_rows_nothing_is_counted(user: Any) -> None:
    download = made(user, {"a.txt": "a"})
    assert (download.rows_written, download.truncated) == (None, False)
    assert unpacked(made(user, {})) == {}


def test_fewer_rows_than_expected_are_shown(user: Any) -> None:
    download = made(user, {"a.csv": [[1]], "b.csv": [[2]]}, expected_rows=lambda: 3)
    assert (download.rows_written, download.rows_expected) == (2, 3)
    assert download.truncated


def test_rows_are_counted_across_members_while_they_are_written(user: Any, hasty: None) -> None:
    seen = []

    def rows() -> Iterator[list[int]]:
        for number in range(3):
            yield [number]
            seen.append(Download.objects.get().rows_written)

    made(user, {"a.csv": rows(), "b.csv": rows()})
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_file_is_read_in_pieces_from_its_beginning_and_left_open(user: Any) -> None:
    file = io.BytesIO(b"x" * 3_000_000)
    file.seek(5)
    assert unpacked(made(user, {"a.bin": file})) == {"a.bin": b"x" * 3_000_000}
    assert not file.closed


@pytest.mark.parametrize(
    "members",
    [{5: [["a"]]}, {"a.csv": 5}, {"a.txt": io.StringIO("a")}, [("a.csv",)]],
    ids=["name", "rows", "text file", "no pair"],
)
def test_an_invalid_member_fails_and_leaves_nothing(user: Any, members: Any) -> None:
    assert made(user, members).failed
    assert not [path for path in Path(default_storage.path("")).rglob("*") if path.is_file()]


def test_an_error_in_a_member_fails_the_download(user: Any) -> None:
    closed = []

    def members() -> Iterator[tuple[str, Any]]:
        try:
            yield "a.csv", ([1 // number] for number in (1, 0))
        finally:
            closed.append(True)

    download = made(user, members())
    assert download.failed
    assert "ZeroDivisionError" in download.error_detail
    assert closed == [True]


def test_a_cleared_download_stops_between_rows(user: Any, hasty: None) -> None:
    key = cache.init_download(user, "orders.zip")[1]
    reached = []

    def rows() -> Iterator[list[int]]:
        yield [1]
        store.clear(user.pk, download_key=Download.objects.get().pk)
        yield [2]
        reached.append("after")

    with pytest.raises(DownloadCancelled):
        cache.save_download(key, members={"a.csv": rows()})
    assert reached == []


@pytest.mark.parametrize(("setting", "value"), [("MAX_ROWS", 2), ("MAX_BYTES", 100)])
def test_the_limits_apply(user: Any, settings: Any, setting: str, value: int) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{setting}", value)
    download = made(user, {"a.csv": Rows([["abc"]] * 2, header=["a"])})
    assert download.failed
    assert "limit" in download.errors
