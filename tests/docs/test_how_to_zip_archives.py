"""docs/how-to/zip-archives.md."""

import io
import zipfile
from typing import Any

import openpyxl
import pytest
from django.core.files.storage import default_storage

from async_downloads import cache
from async_downloads.models import Download
from tests.factories import OrderFactory
from tests.snippets import Page

PAGE = "docs/how-to/zip-archives.md"

COVERED = {"def export_archive": "test_an_archive_of_workbooks"}

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def archive() -> zipfile.ZipFile:
    download = Download.objects.get()
    assert download.complete, download.error_detail
    with default_storage.open(download.filepath) as file:
        return zipfile.ZipFile(io.BytesIO(file.read()))


def test_an_archive_of_workbooks(user: Any, quick_start: Any, page: Page) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_archive"))
    order = OrderFactory(status="open")
    _, key = cache.init_download(user, "orders.zip")
    tasks.export_archive(key, ["open", "shipped"])
    found = archive()
    assert found.namelist() == ["README.txt", "open.xlsx", "shipped.xlsx"]
    book = openpyxl.load_workbook(io.BytesIO(found.read("open.xlsx")))
    rows = [[cell.value for cell in row] for row in book.worksheets[0].rows]
    assert rows == [["Reference", "Total"], [order.reference, 19.9]]


def test_members_of_each_kind_under_safe_names(user: Any, page: Page) -> None:
    assert '"2026/open.csv"' in page.text
    assert "`open (2).csv`" in page.text
    _, key = cache.init_download(user, "orders")
    members = [
        ("2026/open.csv", [["R1"]]),
        ("open.csv", io.BytesIO(b"R2")),
        ("open.csv", b"R3"),
        ("../../passwords.txt", "ä"),
    ]
    cache.save_download(key, members=members)
    assert Download.objects.get().filename == "orders.zip"
    found = archive()
    expected = ["2026/open.csv", "open.csv", "open (2).csv", "passwords.txt"]
    assert found.namelist() == expected
    assert [found.read(name).decode() for name in expected] == ["R1\n", "R2", "R3", "ä"]


def test_one_member_by_the_name_of_the_download(user: Any, page: Page) -> None:
    assert "name the download `orders.xlsx.zip`" in page.text
    _, key = cache.init_download(user, "orders.xlsx.zip")
    cache.save_download(key, [["R1"]])
    assert archive().namelist() == ["orders.xlsx"]
