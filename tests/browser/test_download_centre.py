"""The download centre in a real browser."""

import re
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import APIResponse, Page, Route, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ["/", "/with-htmx/", "/with-htmx-4/", "/as-0-6/"]


@pytest.fixture(autouse=True)
def everything_shared(shared_cache: str) -> None:
    """Use a cache that the thread of the server and the process of a worker see too."""


def requests_of(page: Page) -> list[str]:
    """Return a list to which each request of the page for the package's URLs is appended."""
    requests: list[str] = []

    def note(request: Any) -> None:
        if "/async_downloads/" in request.url and "/static/" not in request.url:
            requests.append(request.method)

    page.on("request", note)
    return requests


def open_menu(page: Page) -> None:
    page.get_by_role("button", name="Downloads").click()


def test_an_idle_page_sends_no_requests(page: Page, live_server: Any) -> None:
    requests = requests_of(page)
    page.goto(live_server.url)
    page.wait_for_timeout(2500)
    assert requests == []
    open_menu(page)
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    page.wait_for_load_state("networkidle")
    requests.clear()
    page.wait_for_timeout(2500)
    assert requests == []


@pytest.mark.parametrize("path", PAGES)
def test_the_menu_follows_a_download_to_its_end_and_then_stops_polling(
    page: Page, live_server: Any, user: Any, path: str
) -> None:
    requests = requests_of(page)
    _, key = cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url + path)
    open_menu(page)
    centre = page.locator("#async-downloads")
    expect(centre).to_have_class(re.compile("in-progress"))
    cache.set_percentage(key, 40)
    expect(page.locator(".download-timestamp", has_text="40%")).to_be_visible()
    # The menu stays open while the list in it is swapped.
    expect(page.locator("#downloads-dropdown")).to_be_visible()
    cache.save_download(key, [["reference"], ["R1"]])
    link = page.get_by_role("link", name="Orders", exact=True)
    expect(link).to_be_visible()
    expect(centre).not_to_have_class(re.compile("in-progress"))
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "orders.csv"
    assert download.value.path().read_bytes() == b"reference\nR1\n"
    # The list is requested once more, and shows that the file was fetched.
    expect(page.locator(".download-container[data-fetched]")).to_be_visible()
    requests.clear()
    page.wait_for_timeout(2500)
    assert requests == []


@pytest.mark.parametrize("path", PAGES)
def test_a_cleared_download_leaves_the_list(
    page: Page, live_server: Any, user: Any, path: str
) -> None:
    DownloadFactory(collection__user=user, complete=True, name="Orders")
    page.goto(live_server.url + path)
    open_menu(page)
    page.get_by_role("button", name="Remove Orders").click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert Download.objects.count() == 0


def test_the_button_leads_to_the_page_of_all_without_javascript(
    browser: Any, live_server: Any, page: Page, user: Any
) -> None:
    DownloadFactory(collection__user=user, complete=True, name="Orders")
    context = browser.new_context(
        java_script_enabled=False, storage_state=page.context.storage_state()
    )
    plain = context.new_page()
    plain.goto(live_server.url)
    open_menu(plain)
    with plain.expect_download() as download:
        plain.get_by_role("link", name="Orders", exact=True).click()
    assert download.value.path().read_bytes() == b"a,b\n"
    plain.get_by_role("button", name="Remove Orders").click()
    expect(plain.get_by_text("Nothing here yet")).to_be_visible()
    assert plain.url.startswith(f"{live_server.url}/async_downloads/list/")
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_htmx_is_loaded_once_and_not_before_it_is_needed(
    page: Page, live_server: Any, path: str
) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: "/htmx-" in request.url and loaded.append(request.url))
    page.goto(live_server.url + path)
    page.wait_for_function("() => window.asyncDownloadsCentre")
    assert len(loaded) == int("with-htmx" in path)
    open_menu(page)
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    # A second request of the script loads nothing more.
    with page.expect_response("**/ajax_update/**"):
        page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
    assert len(loaded) == 1


def test_the_menu_closes_by_escape_and_by_a_click_elsewhere(page: Page, live_server: Any) -> None:
    page.goto(live_server.url)
    menu = page.locator("#downloads-dropdown")
    for close in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.mouse.click(5, 600),
    ):
        open_menu(page)
        expect(menu).to_be_visible()
        close()
        expect(menu).to_be_hidden()


def test_a_list_template_of_0_6_still_works(
    page: Page, live_server: Any, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "list_0_6.html"
    DownloadFactory(collection__user=user, complete=True, name="Orders")
    DownloadFactory(collection__user=user, complete=True, name="Invoices")
    page.goto(live_server.url + "/as-0-6/")
    open_menu(page)
    with page.expect_download():
        page.get_by_text("Orders").click()
    page.locator(".download-container", has_text="Orders").locator(".download-clear").click()
    expect(page.get_by_text("Orders")).to_have_count(0)
    expect(page.get_by_text("Invoices")).to_be_visible()
    assert Download.objects.count() == 1
    connection.close()


def test_the_menu_says_that_the_session_has_ended(
    page: Page, live_server: Any, user: Any, client: Any
) -> None:
    DownloadFactory(collection__user=user, name="Orders")
    page.goto(live_server.url)
    open_menu(page)
    page.context.clear_cookies()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    requests = requests_of(page)
    page.wait_for_timeout(2500)
    assert requests == []


def test_a_late_response_does_not_replace_that_of_a_later_request(
    page: Page, live_server: Any, user: Any
) -> None:
    DownloadFactory(collection__user=user, name="Orders")
    late: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        late.append((route, route.fetch()))
        # The session ends after the request for the list.
        page.context.clear_cookies()
        page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")

    page.route("**/ajax_update/?*opened=1*", hold, times=1)
    page.goto(live_server.url)
    open_menu(page)
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    ((route, response),) = late
    assert "1 in progress" in response.text()
    requests = requests_of(page)
    with page.expect_event("requestfinished"):
        route.fulfill(response=response)
    page.wait_for_timeout(2500)
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert requests == []


def test_an_opening_requests_the_list_once(page: Page, live_server: Any, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True, name="Orders")
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(live_server.url)
    # The second one says that a person sees it.
    with page.expect_response(lambda response: "opened=1" in response.url):
        open_menu(page)
    expect(page.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    lists = [response.text() for response in responses if "/ajax_update/" in response.url]
    assert [text.count(f'id="download-{download.pk}"') for text in lists] == [1, 0]
    expect(page.locator("#async-downloads-count")).to_be_hidden()
    download.collection.refresh_from_db()
    assert download.collection.seen_at is not None
