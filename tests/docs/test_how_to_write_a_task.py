"""docs/how-to/write-a-task.md."""

import gzip
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import RequestFactory

from async_downloads import cache
from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import content, posted
from tests.factories import OrderFactory
from tests.snippets import Page

PAGE = "docs/how-to/write-a-task.md"

COVERED = {
    "def export_columns": "test_columns_of_a_queryset",
    "def export_objects": "test_a_function_for_each_row",
    "def export_report": "test_rows_of_your_own",
    "def export_references": "test_a_file_without_rows",
    "def start_report": "test_a_task_is_queued_after_the_commit",
}

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def made(user: Any, filename: str) -> str:
    return cache.init_download(user, filename)[1]


def test_columns_of_a_queryset(user: Any, quick_start: Any, page: Page) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_columns"))
    OrderFactory(reference="R1", customer__name="Ada", status="open")
    OrderFactory(reference="R2", status="shipped")
    tasks.export_columns(made(user, "orders.csv"), "open")
    download = Download.objects.get()
    assert content(download) == "Reference,Customer,Total\nR1,Ada,19.90\n"
    assert (download.rows_expected, download.rows_written) == (1, 1)


def test_a_function_for_each_row(
    user: Any, quick_start: Any, page: Page, django_assert_num_queries: Any
) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_objects"))
    for reference, total in (("R1", "19.90"), ("R2", "1000")):
        OrderFactory(reference=reference, customer__name="Ada", total=total, status="open")
    tasks.export_objects(made(user, "orders.csv"), "open")
    expected = "Reference,Customer,Size\nR1,Ada,\nR2,Ada,large\n"
    assert content(Download.objects.get()) == expected
    orders = tasks.Order.objects.select_related("customer")
    with django_assert_num_queries(1):
        assert [tasks.row_of(order)[1] for order in orders] == ["Ada", "Ada"]


def test_rows_of_your_own(user: Any, quick_start: Any, page: Page) -> None:
    reports = quick_start("orders.reports", page.placed("def export_report"))
    OrderFactory(status="open")
    reports.export_report(made(user, "report.csv"), ["open", "shipped"])
    download = Download.objects.get()
    assert content(download, "utf-8-sig") == "Status,Orders\nopen,1\nshipped,0\n"
    assert download.rows_expected == 2
    key = made(user, "report.csv")
    reports.export_report(key, [])
    assert Download.objects.get(pk=key).errors == "Choose at least one status."


def test_a_file_without_rows(user: Any, quick_start: Any, page: Page) -> None:
    tasks = quick_start("orders.tasks", page.placed("def export_references"))
    OrderFactory(reference="R1")
    OrderFactory(reference="R2")
    tasks.export_references(made(user, "references.txt.gz"))
    download = Download.objects.get()
    assert download.complete, download.error_detail
    with default_storage.open(download.filepath) as file:
        assert gzip.decompress(file.read()) == b"R1\nR2\n"


def test_a_task_is_queued_after_the_commit(
    rf: RequestFactory, user: Any, quick_start: Any, page: Page
) -> None:
    quick_start("orders.reports", page.placed("def export_report"))
    views = quick_start("orders.views", page.placed("def start_report"))
    with transaction.atomic():
        assert views.start_report(posted(rf, user)).status_code == 302
        assert queues.waiting() == []
    queues.run_waiting()
    download = Download.objects.get()
    assert (download.name, download.filename) == ("Orders by status", "report.csv")
    assert content(download, "utf-8-sig") == "Status,Orders\nopen,0\nshipped,0\n"
