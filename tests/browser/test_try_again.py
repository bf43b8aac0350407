"""A download fails, a person tries again, and it is complete: in each place of the page."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect

from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import queues, recorded_calls, services
from tests.attempts import long_ago
from tests.browser.conftest import SHOTS, assert_accessible, take_picture
from tests.browser.test_download_centre import open_menu
from tests.browser.test_menu import wait_for_htmx
from tests.browser.test_websocket import Seen, link, pushing, visit
from tests.factories import DownloadFactory
from tests.faults.processes import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/async_downloads/list/"

TRY_AGAIN = "Try again: Orders"


def run_queued() -> None:
    """Run the task that a button has queued: a poll may show its row before it is in the queue."""
    eventually(queues.waiting, why="the task is queued")
    queues.run_waiting()


@pytest.fixture(autouse=True)
def nothing_has_failed() -> Iterator[None]:
    recorded_calls.failed.clear()
    yield
    recorded_calls.failed.clear()


@pytest.fixture
def failed(user: Any) -> Download:
    """Return a download whose first attempt has failed."""
    _, key = start_download(recorded_calls.fail_once, user, "orders.csv", "Orders")
    queues.run_waiting()
    download = Download.objects.get(pk=key)
    assert download.failed
    return download


def focused(page: Page) -> str:
    """Return the id of the element that has the focus."""
    return str(page.evaluate("document.activeElement.id"))


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_by_keyboard_in_the_menu(
    page: Page, live_server: Any, failed: Download, path: str, key: str
) -> None:
    page.goto(live_server.url + path)
    wait_for_htmx(page)
    open_menu(page)
    menu = page.locator("#downloads-dropdown")
    expect(menu).to_contain_text(recorded_calls.REASON)
    page.get_by_role("button", name=TRY_AGAIN).focus()
    page.keyboard.press(key)
    expect(menu).to_contain_text("Waiting")
    expect(menu.get_by_role("button", name=TRY_AGAIN)).to_have_count(0)
    item = f"download-{failed.pk}"
    page.wait_for_function("id => document.activeElement.id === id", arg=item)
    # A second press on what has the focus now does nothing.
    page.keyboard.press(key)
    run_queued()
    expect(menu.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    assert focused(page) == item
    page.keyboard.press("Tab")
    assert focused(page) == f"download-get-{failed.pk}"
    assert Download.objects.get().attempts == 1


def test_two_clicks_are_one_attempt(page: Page, live_server: Any, failed: Download) -> None:
    page.goto(live_server.url)
    wait_for_htmx(page)
    open_menu(page)
    page.get_by_role("button", name=TRY_AGAIN).dblclick()
    expect(page.locator("#downloads-dropdown")).to_contain_text("Waiting")
    eventually(queues.waiting, why="the task is queued")
    assert len(queues.waiting()) == 1


def test_on_the_page_of_all(page: Page, live_server: Any, failed: Download) -> None:
    page.goto(live_server.url + LIST)
    wait_for_htmx(page)
    listed = page.locator("#async-downloads-list")
    listed.get_by_role("button", name=TRY_AGAIN).click()
    expect(listed).to_contain_text("Waiting")
    run_queued()
    expect(listed.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    listed.get_by_role("button", name="Make again: Orders").click()
    expect(listed.locator(".download-container")).to_have_count(2)
    recorded_calls.failed.update(map(str, Download.objects.values_list("pk", flat=True)))
    run_queued()
    expect(listed.get_by_role("link", name="Orders", exact=True)).to_have_count(2)


def test_without_javascript(
    browser: Browser, live_server: Any, page: Page, failed: Download
) -> None:
    context = browser.new_context(
        java_script_enabled=False, storage_state=page.context.storage_state()
    )
    plain = context.new_page()
    plain.goto(live_server.url)
    open_menu(plain)
    plain.get_by_role("button", name=TRY_AGAIN).click()
    # The button has led to the page of all.
    expect(plain.locator("#async-downloads-all")).to_contain_text("Waiting")
    assert plain.url.startswith(live_server.url + LIST)
    Download.objects.update(state="failed")
    plain.goto(f"{live_server.url}{LIST}?page=1")
    plain.get_by_role("button", name=TRY_AGAIN).click()
    assert plain.url.endswith("?page=1")
    run_queued()
    plain.reload()
    expect(plain.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    context.close()


def test_over_a_websocket(context: BrowserContext) -> None:
    with pushing() as site:
        site.site.run("""
        from django.contrib.auth import get_user_model
        from async_downloads import cache
        from async_downloads.shortcuts import start_download
        user = get_user_model().objects.create(username="ada")
        key = start_download("tests.faults.site.tasks.plain", user, "orders.csv", "Orders")[1]
        cache.set_error(key, "No orders")
        """)
        seen = Seen()
        page = visit(context, site.server.address, "ada", seen)
        open_menu(page)
        page.get_by_role("button", name=TRY_AGAIN).focus()
        page.keyboard.press("Enter")
        menu = page.locator("#downloads-dropdown")
        expect(menu).to_contain_text("Waiting")
        item = menu.locator(".download-container").get_attribute("id")
        with site.site.cluster():
            expect(link(page)).to_be_visible()
        assert focused(page) == item
        assert not [url for url in seen.polls if "summary" in url]
        assert seen.errors == []


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_toast_says_why_it_is_refused(
    page: Page, live_server: Any, failed: Download, settings: Any, path: str
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    DownloadFactory(collection=failed.collection, running=True, name="Invoices")
    page.goto(live_server.url + path)
    wait_for_htmx(page)
    open_menu(page)
    page.get_by_role("button", name=TRY_AGAIN).click()
    toast = page.locator("#async-downloads-toasts")
    expect(toast).to_contain_text("You have 1 download in progress.")
    expect(page.get_by_role("button", name=TRY_AGAIN)).to_be_visible()
    expect(page.locator("#async-downloads")).not_to_have_class("is-lost")
    if services.available("front-end"):
        assert_accessible(page, "#async-downloads-toasts")
    take_picture(page, SHOTS / "try-again-refused.png")
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_be_hidden()


@pytest.mark.parametrize("path", ["/with-htmx/", "/with-htmx-4/"])
def test_a_response_may_open_the_menu(
    page: Page, live_server: Any, failed: Download, path: str
) -> None:
    """As ``wake_menu(response, show=True)`` does for a download that is there already."""
    events = {"async-downloads:look": {}, "async-downloads:show": {}}
    page.route(
        "**/start/",
        lambda route: route.fulfill(
            body="It is there.", headers={"HX-Trigger": json.dumps(events)}
        ),
    )
    page.goto(live_server.url + path)
    wait_for_htmx(page)
    for _ in range(2):
        page.get_by_role("button", name="Export here").press("Enter")
        expect(page.locator("#downloads-dropdown")).to_be_visible()
        expect(page.locator("#downloads-dropdown")).to_contain_text("Orders")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_buttons_are_accessible(
    page: Page, live_server: Any, user: Any, failed: Download, settings: Any, scheme: Any
) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = False
    values = {"collection": failed.collection, **recorded_calls.recorded()}
    DownloadFactory(name="Customers", complete=True, **values)
    DownloadFactory(name="Invoices", running=True, percentage=70, heard_at=long_ago(), **values)
    DownloadFactory(
        name="Stock audit",
        failed=True,
        errors="Something went wrong while creating the file. Please request it again.",
        **values,
    )
    page.emulate_media(color_scheme=scheme)
    page.goto(live_server.url)
    wait_for_htmx(page)
    open_menu(page)
    page.get_by_role("button", name="Try again: Stock audit").focus()
    take_picture(page, SHOTS / f"try-again-menu-{scheme}.png")
    if services.available("front-end"):
        assert_accessible(page, "#downloads-dropdown")
    page.goto(live_server.url + reverse("async_downloads:download_list"))
    wait_for_htmx(page)
    take_picture(page, SHOTS / f"try-again-page-{scheme}.png")
    if services.available("front-end"):
        assert_accessible(page, "#async-downloads-all")
