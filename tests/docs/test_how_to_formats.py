"""docs/how-to/formats.md."""

import io
import json
import re
from typing import Any

import openpyxl
import pytest
from django.core.files.storage import default_storage
from django.test import RequestFactory
from django.utils import translation

from async_downloads import cache
from async_downloads.formats import registry
from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import content, posted, rows_of
from tests.factories import OrderFactory
from tests.snippets import Page

PAGE = "docs/how-to/formats.md"

COVERED = {
    "def start_workbook": "test_the_file_name_means_a_workbook",
    "def export_in_format": "test_a_form_offers_formats",
    "def start_in_format": "test_a_form_offers_formats",
    "def export_labelled": "test_headings_are_those_of_the_fields",
    "def start_labelled": "test_headings_are_those_of_the_fields",
    "def export_local": "test_numbers_are_those_of_the_language",
    "def export_lines": "test_a_header_chooses_cells_of_mappings",
}

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def stored(download: Download) -> bytes:
    assert download.complete, download.error_detail
    with default_storage.open(download.filepath) as file:
        return bytes(file.read())


def test_the_file_name_means_a_workbook(
    rf: RequestFactory, user: Any, quick_start: Any, page: Page
) -> None:
    views = quick_start("orders.views", page.placed("def start_workbook"))
    OrderFactory(reference="R1", customer__name="Ada", status="open")
    assert views.start_workbook(posted(rf, user)).status_code == 302
    queues.run_waiting()
    book = openpyxl.load_workbook(io.BytesIO(stored(Download.objects.get())))
    rows = [[cell.value for cell in row] for row in book.worksheets[0].rows]
    assert rows == [["Reference", "Customer", "Total"], ["R1", "Ada", 19.9]]


def test_a_form_offers_formats(rf: RequestFactory, user: Any, quick_start: Any, page: Page) -> None:
    quick_start("orders.tasks", page.placed("def export_in_format"))
    views = quick_start("orders.views", page.placed("def start_in_format"))
    OrderFactory(reference="R1", customer__name="Ada")
    request = posted(rf, user)
    names = []
    for name in views.FORMATS:
        request.POST = {"format": name}  # type: ignore[assignment]
        assert views.start_in_format(request).status_code == 302
        queues.run_waiting()
        download = Download.objects.latest("timestamp")
        assert b"R1" in stored(download) or name in {"xlsx", "jsonl.gz"}
        names.append(download.filename)
    assert names == ["orders.csv", "orders.csv", "orders.xlsx", "orders.jsonl.gz"]
    request.POST = {"format": "pdf"}  # type: ignore[assignment]
    assert views.start_in_format(request).status_code == 400
    assert Download.objects.count() == len(views.FORMATS)


def test_headings_are_those_of_the_fields(
    rf: RequestFactory, user: Any, quick_start: Any, page: Page
) -> None:
    quick_start("orders.tasks", page.placed("def export_labelled"))
    views = quick_start("orders.views", page.placed("def start_labelled"))
    OrderFactory(reference="R1", customer__name="Ada", status="open")
    with translation.override("de"):
        assert views.start_labelled(posted(rf, user)).status_code == 302
    queues.run_waiting()
    download = Download.objects.get()
    assert content(download) == "Reference,Customer name,Status\nR1,Ada,open\n"
    assert download.call is not None
    assert list(download.call.args) == ["de"]


def test_numbers_are_those_of_the_language(user: Any, quick_start: Any, page: Page) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_local"))
    OrderFactory(reference="R1", total="19.90")
    tasks.export_local(cache.init_download(user, "orders.tsv")[1], "de", "Europe/Berlin")
    assert content(Download.objects.get()) == "R1\t19,90\n"


def test_a_header_chooses_cells_of_mappings(user: Any, quick_start: Any, page: Page) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_lines"))
    OrderFactory(reference="R1", customer__name="Ada")
    tasks.export_lines(cache.init_download(user, "orders")[1])
    (line,) = content(Download.objects.get()).splitlines()
    assert json.loads(line) == {"customer__name": "Ada", "reference": "R1"}


def test_the_table_of_choices_names_formats(page: Page) -> None:
    chosen = [cells[1] for cells in rows_of(page.text, "| the file is for")]
    names = [name for cell in chosen for name in re.findall(r"`([a-z-]+)`", cell)]
    assert len(names) == 6
    assert set(names) <= registry._formats.keys()


@pytest.mark.parametrize("extension", ["txt", "xslx", "cvs"])
def test_other_extensions_are_csv(
    user: Any, page: Page, extension: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert f"`.{extension}`" in page.text
    key = cache.init_download(user, f"orders.{extension}")[1]
    cache.save_download(key, [["a", "b"]])
    assert content(Download.objects.get()) == "a,b\n"
    assert ("means no format" in caplog.text) is (extension != "txt")
