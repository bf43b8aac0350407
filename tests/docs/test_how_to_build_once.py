"""docs/how-to/build-once.md."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import RequestFactory

from async_downloads.models import Call, Download
from async_downloads.shortcuts import start_download
from tests import queues
from tests.docs.helpers import posted
from tests.factories import UserFactory
from tests.snippets import Page

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/build-once.md"

COVERED = {
    "def start_once": "test_a_second_click_returns_the_download_that_is_there",
    "def start_unless_fresh": "test_a_fresh_file_is_joined_and_an_older_one_is_not",
}


@pytest.fixture
def views(quick_start: Any, page: Page) -> Any:
    """The views of a reader who has added both blocks, one after the other."""
    bodies = [block.body for block in page.blocks]
    before = next(block.body for block in page.continues if block.file == "orders/views.py")
    return quick_start("orders.views", "\n\n".join([before, *bodies]))


def test_a_second_click_returns_the_download_that_is_there(
    rf: RequestFactory, user: Any, views: Any
) -> None:
    for _ in range(2):
        assert views.start_once(posted(rf, user)).status_code == 302
    assert Download.objects.count() == len(queues.waiting()) == 1
    views.start_once(posted(rf, UserFactory()))
    assert Download.objects.count() == 2


def test_a_finished_download_is_not_joined(rf: RequestFactory, user: Any, views: Any) -> None:
    views.start_once(posted(rf, user))
    queues.run_waiting()
    views.start_once(posted(rf, user))
    assert Download.objects.count() == 2


def test_a_fresh_file_is_joined_and_an_older_one_is_not(
    rf: RequestFactory, user: Any, views: Any
) -> None:
    views.start_unless_fresh(posted(rf, user))
    queues.run_waiting()
    views.start_unless_fresh(posted(rf, user))
    download = Download.objects.get()
    assert download.finished_at
    Download.objects.update(finished_at=download.finished_at - timedelta(minutes=6))
    views.start_unless_fresh(posted(rf, user))
    assert Download.objects.count() == 2


def test_the_format_counts_and_the_name_does_not(user: Any, views: Any) -> None:
    def start(filename: str) -> str:
        task = views.export_orders
        return start_download(task, user, filename, filename, args=["open"], join=True)[1]

    assert start("orders.csv") == start("others.csv") != start("orders.xlsx")


def test_a_request_that_joins_does_not_count_against_the_limit(
    rf: RequestFactory, user: Any, views: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    for _ in range(2):
        views.start_once(posted(rf, user))
    assert Download.objects.count() == 1


def test_the_order_of_keyword_arguments_does_not_matter_and_other_orders_do(page: Page) -> None:
    def arguments(*args: Any, **kwargs: Any) -> str:
        return Call("orders.tasks.export", args, kwargs).arguments

    assert arguments(a=1, b=2) == arguments(b=2, a=1)
    assert arguments([1, 2]) != arguments([2, 1])
    assert arguments({"a": 1, "b": 2}) != arguments({"b": 2, "a": 1})
    assert "keyword arguments does not matter" in page.text.replace("\n", " ")
