"""docs/how-to/single-page-app.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from async_downloads import cache
from async_downloads.api import DownloadData
from async_downloads.models import Download
from tests import queues
from tests.browser.conftest import launched, new_context, new_page
from tests.docs.helpers import ROOT
from tests.factories import DownloadFactory, OrderFactory
from tests.snippets import PAGES, Page

PAGE = "docs/how-to/single-page-app.md"

COVERED = {
    "def start_by_json": "test_the_start_is_refused_as_json",
    "from orders.views import app": "test_the_page_does_the_whole_job",
    "data-list-url": "test_the_page_does_the_whole_job",
    "export class Watcher": "test_the_module_is_that_of_the_demo",
    "import { Watcher, send }": "test_the_page_does_the_whole_job",
}

TEXT = PAGES[PAGE].text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(quick_start: Any, page: Page, settings: Any, tmp_path: Path) -> Any:
    """The site of a reader who has followed the page."""
    quick_start("orders.views", page.placed("def start_by_json"))
    quick_start("mysite.urls", page.placed("from orders.views import app"))
    settings.ROOT_URLCONF = "mysite.urls"
    (tmp_path / "app.html").write_text(page.snippet("data-list-url"))
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    return settings


@pytest.fixture
def tab(site: Any, page: Page, live_server: Any, signed_in: Client) -> Iterator[Tab]:
    """The page in a browser of its own, with the two modules at the URLs of static files."""
    errors: list[str] = []
    with launched() as browser, new_context(browser) as context:
        tab = new_page(context, live_server.url, signed_in, errors)
        for name, text in {"app": "import { Watcher", "downloads": "export class"}.items():
            body = page.snippet(text)
            tab.route(
                f"**/{name}.js",
                lambda route, _, body=body: route.fulfill(
                    body=body, content_type="text/javascript"
                ),
            )
        tab.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        tab.goto(f"{live_server.url}/app/")
        yield tab
    assert errors == []


def test_the_module_is_that_of_the_demo(page: Page) -> None:
    """The browser tests use it there."""
    assert (
        page.snippet("export class Watcher")
        == (ROOT / "demo/shop/static/shop/spa/downloads.js").read_text()
    )


@pytest.mark.long
def test_the_page_does_the_whole_job(tab: Tab) -> None:
    OrderFactory(reference="R1", status="open", customer__name="Ada")
    start = tab.get_by_role("button", name="Export the open orders")
    item = tab.get_by_role("listitem")
    start.click()
    expect(item).to_contain_text("Waiting")
    cache.set_error(Download.objects.get().download_key, "No orders")
    expect(item).to_contain_text("Failed")
    expect(item).to_contain_text("No orders")
    item.get_by_role("button", name="Try again").click()
    expect(item).to_contain_text("Waiting")
    queues.run_waiting()
    with tab.expect_download() as fetched:
        item.get_by_role("link", name="Open orders").click()
    assert Path(fetched.value.path()).read_text() == "Reference,Customer,Total\nR1,Ada,19.90\n"
    clear = item.get_by_role("button", name="Clear")
    Download.objects.update(held=True)
    tab.reload()
    expect(item).to_contain_text("Complete")
    expect(clear).to_have_count(0)
    Download.objects.update(held=False)
    tab.reload()
    clear.click()
    expect(item).to_have_count(0)
    start.click()
    item.get_by_role("button", name="Cancel").click()
    expect(item).to_have_count(0)
    assert not Download.objects.exists()


@pytest.mark.long
def test_what_the_server_would_refuse_has_no_button(tab: Tab, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True, held=True, name="Audit")
    tab.reload()
    item = tab.get_by_role("listitem")
    expect(item.get_by_role("link", name="Audit")).to_be_visible()
    expect(item.get_by_role("button", name="Clear")).to_have_count(0)


def test_the_start_is_refused_as_json(site: Any, client: Client, user: Any) -> None:
    site.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    answers = [client.post("/app/start/")]
    client.force_login(user)
    answers += [client.post("/app/start/") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 202, 409]
    assert answers[2].json()["detail"].startswith("You have 1 download in progress.")
    detail = client.get(answers[1]["Location"]).json()
    assert detail["download_key"] == answers[1].json()["download_key"]


def test_the_keys_that_the_page_names_exist() -> None:
    named = set(re.findall(r"\bdownload\.(\w+)", TEXT)) - {"mjs"}
    texts = {"status_text", "error_text", "ahead_text", "time_left", "in_progress", "stalled"}
    assert named | texts <= DownloadData.__annotations__.keys()
