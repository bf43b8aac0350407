"""docs/how-to/async.md."""

import asyncio
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.test import AsyncRequestFactory
from django.utils.functional import SimpleLazyObject

from async_downloads import cache
from async_downloads.building import sources
from async_downloads.models import Download
from async_downloads.testing.running import RunDownload
from tests import queues
from tests.docs.helpers import content
from tests.event_loops import run_unblocked
from tests.factories import OrderFactory
from tests.shop.models import Order
from tests.snippets import PAGES, Page

PAGE = "docs/how-to/async.md"

COVERED = {
    "async def export_prices": "test_a_coroutine_function_is_a_task",
    "class PriceList": "test_an_async_file_is_copied",
    "async def start_prices": "test_an_async_view_starts_a_download",
    "async def show_home": "test_an_async_view_shows_the_download_centre",
}

EXPECTED = "Reference,Price\nR1,40.00\n"

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def prices(quick_start: Any, page: Page) -> Any:
    OrderFactory(reference="R1", total="20.00", status="open")
    OrderFactory(reference="R2", status="shipped")
    body = page.placed("async def export_prices") + page.snippet("class PriceList")
    return quick_start("orders.prices", body)


def made() -> str:
    return cache.init_download("ada", "prices.csv")[1]


def test_a_coroutine_function_is_a_task(prices: Any, run_download: RunDownload) -> None:
    prices.export_prices(made(), "open")
    download = Download.objects.get()
    assert content(download) == EXPECTED
    assert (download.rows_expected, download.rows_written) == (1, 1)


def test_a_worker_with_an_event_loop_awaits_it(prices: Any) -> None:
    key = made()

    async def work() -> None:
        await prices.export_prices(key, "open")

    asyncio.run(work())
    assert content(Download.objects.get()) == EXPECTED


def test_it_does_not_block_the_event_loop(prices: Any) -> None:
    async def use() -> None:
        _, key = await cache.ainit_download("ada", "prices.csv")
        await prices.export_prices(key, "open")

    run_unblocked(use)
    assert {content(download) for download in Download.objects.all()} == {EXPECTED}


def test_an_async_file_is_copied(prices: Any) -> None:
    prices.fetch_prices(made())
    assert content(Download.objects.get()) == "R1,40\nR2,60\n"


def test_an_async_view_starts_a_download(
    user: Any, prices: Any, quick_start: Any, page: Page
) -> None:
    views = quick_start("orders.views", page.placed("async def start_prices"))
    request = AsyncRequestFactory().post("/start/")
    request.user = user

    async def auser() -> Any:
        return user

    request.auser = auser
    assert async_to_sync(views.start_prices)(request).status_code == 302
    queues.run_waiting()
    download = Download.objects.get()
    assert (download.name, content(download)) == ("Prices of open orders", EXPECTED)


def test_an_async_view_shows_the_download_centre(
    user: Any, prices: Any, quick_start: Any, page: Page
) -> None:
    body = page.placed("async def start_prices") + page.snippet("async def show_home")
    views = quick_start("orders.views", body)

    async def show() -> str:
        request = AsyncRequestFactory().get("/")
        # As the middleware sets both.
        request.user = SimpleLazyObject(lambda: type(user).objects.get(pk=user.pk))

        async def auser() -> Any:
            return await type(user).objects.aget(pk=user.pk)

        request.auser = auser
        response = await views.show_home(request)
        text: str = response.content.decode()
        return text

    assert "async-downloads" in run_unblocked(show)


def test_the_numbers_of_the_page() -> None:
    assert f"{sources.MAX_ITEMS:,} rows" in PAGES[PAGE].text


@pytest.mark.skipif(django.VERSION[:2] > (5, 2), reason="the page names Django 5.2")
def test_the_iterator_of_values_lists_that_the_page_warns_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)

    async def read() -> list[Any]:
        return [row async for row in Order.objects.values_list("pk").aiterator()]

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(read)()
