"""Remove and Undo, times in words, and long reasons, in a real browser."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.test_download_centre import open_menu
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.faults.processes import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/async_downloads/list/"

#: Longer than the moment in which Undo brings something back.
MOMENT = 6_000


@pytest.fixture
def clock(page: Page) -> Any:
    """Return the clock of the page, which only the test moves on."""
    page.clock.install()
    return page.clock


@pytest.fixture
def orders(user: Any) -> Download:
    """Create a complete download."""
    return DownloadFactory(collection__user=user, complete=True, name="Orders")


@pytest.fixture(params=["menu", "page"])
def listed(request: pytest.FixtureRequest, clock: Any, page: Page, live_server: Any) -> Any:
    """Return a function that opens the menu or the page of all, and returns its list."""

    def open_list() -> Any:
        if request.param == "menu":
            page.goto(live_server.url)
            open_menu(page)
            return page.locator("#downloads-dropdown")
        page.goto(live_server.url + LIST)
        return page.locator("#async-downloads-all")

    return open_list


def removals_of(page: Page) -> list[str]:
    """Return the list to which the page's removals will be added."""
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    return sent


def test_undo_brings_back_what_was_removed(
    page: Page, orders: Download, listed: Any, clock: Any
) -> None:
    items, sent = listed(), removals_of(page)
    items.get_by_role("button", name="Remove Orders").click()
    expect(items.get_by_text("Orders removed")).to_be_visible()
    expect(items.get_by_role("link", name="Download Orders")).to_be_hidden()
    undo = items.get_by_role("button", name="Undo: Orders removed")
    expect(undo).to_be_focused()
    page.keyboard.press("Enter")
    expect(items.get_by_role("link", name="Download Orders")).to_be_visible()
    expect(items.get_by_role("button", name="Remove Orders")).to_be_focused()
    clock.fast_forward(MOMENT)
    expect(items.get_by_role("link", name="Download Orders")).to_be_visible()
    assert sent == []
    assert Download.objects.filter(pk=orders.pk).exists()


def test_without_undo_it_is_removed_a_moment_later(
    page: Page, orders: Download, listed: Any, clock: Any
) -> None:
    items = listed()
    items.get_by_role("button", name="Remove Orders").click()
    assert Download.objects.filter(pk=orders.pk).exists()
    with page.expect_response(lambda response: response.request.method == "POST"):
        clock.fast_forward(MOMENT)
    expect(items.get_by_text("Nothing here yet")).to_be_visible()
    assert not Download.objects.filter(pk=orders.pk).exists()


def test_no_swap_brings_it_back(
    page: Page, live_server: Any, user: Any, orders: Download, clock: Any
) -> None:
    _, key = cache.init_download(user, "customers.csv", "Customers")
    page.goto(live_server.url)
    open_menu(page)
    page.get_by_role("button", name="Remove Orders").click()
    for percentage in (30, 60):
        cache.set_percentage(key, percentage)
        page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
        expect(page.get_by_text(f"{percentage}%", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="Download Orders")).to_be_hidden()
        expect(page.get_by_role("button", name="Undo: Orders removed")).to_be_focused()


def test_a_person_who_leaves_the_page_has_removed_it(
    page: Page, live_server: Any, orders: Download, listed: Any
) -> None:
    listed().get_by_role("button", name="Remove Orders").click()
    page.goto(live_server.url + "/admin/login/")
    eventually(lambda: not Download.objects.exists(), why="it is removed")


def test_clear_finished_has_an_undo_and_keeps_what_finishes_meanwhile(
    page: Page, user: Any, orders: Download, listed: Any, clock: Any
) -> None:
    DownloadFactory(collection=orders.collection, failed=True, name="Stock audit")
    _, key = cache.init_download(user, "customers.csv", "Customers")
    items = listed()
    finished = [items.locator(f"[data-state={state}]") for state in ("complete", "failed")]
    items.get_by_role("button", name="Clear finished").click()
    for item in finished:
        expect(item).to_be_hidden()
    # On the page of all, a section that is empty meanwhile is hidden.
    expect(items.get_by_role("heading", name="Ready")).to_be_hidden()
    expect(items.get_by_role("heading", name="Failed")).to_be_hidden()
    items.get_by_role("button", name="Undo: finished downloads removed").click()
    for item in finished:
        expect(item).to_be_visible()
    expect(items.get_by_role("button", name="Clear finished")).to_be_focused()
    items.get_by_role("button", name="Clear finished").click()
    cache.save_download(key, [["C1"]])
    with page.expect_response(lambda response: response.request.method == "POST"):
        clock.fast_forward(MOMENT)
    expect(items.get_by_role("link", name="Download Customers")).to_be_visible()
    assert str(Download.objects.get().pk) == key


def test_a_removal_that_the_server_refuses_is_taken_back(
    page: Page, orders: Download, listed: Any, clock: Any, errors: list[str]
) -> None:
    items = listed()
    page.route("**/ajax_clear_download/", lambda route: route.fulfill(status=503))
    items.get_by_role("button", name="Remove Orders").click()
    clock.fast_forward(MOMENT)
    expect(items.get_by_role("link", name="Download Orders")).to_be_visible()
    errors.clear()


def test_what_is_in_progress_is_cancelled_at_once(page: Page, live_server: Any, user: Any) -> None:
    _, key = cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url)
    open_menu(page)
    button = page.get_by_role("button", name="Cancel Orders")
    expect(button).to_have_text("Cancel")
    button.click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert not Download.objects.filter(pk=key).exists()


def test_without_a_script_it_is_removed_at_once(
    browser: Browser, live_server: Any, signed_in: Client, orders: Download
) -> None:
    context = browser.new_context(java_script_enabled=False)
    cookie = signed_in.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page = context.new_page()
    page.goto(live_server.url + LIST)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.get_by_role("button", name="Remove Orders").click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert page.url == live_server.url + LIST
    context.close()


def test_times_are_in_words_and_stay_so(
    page: Page, orders: Download, listed: Any, clock: Any
) -> None:
    items = listed()
    time = items.locator("time").first
    expect(time).to_have_text("now")
    moment = time.get_attribute("title")
    clock.fast_forward("02:00")
    expect(time).to_have_text("2 min. ago")
    assert moment == time.get_attribute("title")
    assert str(orders.finished_at.year) in (moment or "")


def test_times_in_hebrew_have_no_number_beside_a_word_for_it(
    page: Page, live_server: Any, orders: Download, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "he"
    Download.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    page.goto(live_server.url + LIST)
    expect(page.locator("time").first).to_have_text("לפני שעתיים")


def test_clear_finished_is_there_only_if_something_has_finished(
    page: Page, user: Any, listed: Any, clock: Any
) -> None:
    _, key = cache.init_download(user, "customers.csv", "Customers")
    items = listed()
    expect(items.get_by_role("button", name="Cancel Customers")).to_be_visible()
    button = items.get_by_role("button", name="Clear finished")
    expect(button).to_have_count(0)
    cache.save_download(key, [["C1"]])
    page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
    expect(button).to_be_visible()


def test_in_a_language_that_no_browser_knows_the_times_are_dates(
    page: Page, live_server: Any, orders: Download
) -> None:
    def serve(route: Route) -> None:
        route.fulfill(body=route.fetch().text().replace('lang="en"', 'lang="?"'))

    page.route(f"**{LIST}", serve)
    page.goto(live_server.url + LIST)
    expect(page.locator("time").first).to_contain_text(str(orders.finished_at.year))


def test_a_long_reason_is_clamped_until_more(page: Page, live_server: Any, user: Any) -> None:
    errors = "The warehouse stopped answering after 30 of 60 products. " * 6
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, failed=True, name="Stock audit", errors=errors)
    DownloadFactory(collection=collection, failed=True, name="Returns", errors="It broke.")
    page.goto(live_server.url)
    open_menu(page)
    reason = page.locator(".download-error", has_text="warehouse")
    line = reason.evaluate("element => parseFloat(getComputedStyle(element).lineHeight)")
    height = "element => element.getBoundingClientRect().height"
    assert reason.evaluate(height) <= 3.5 * line
    expect(page.get_by_text("More", exact=True)).to_have_count(1)
    page.locator("summary").press("Enter")
    expect(page.get_by_text("Less", exact=True)).to_be_visible()
    assert reason.evaluate(height) > 5 * line
    page.locator("summary").press("Enter")
    assert reason.evaluate(height) <= 3.5 * line


def test_a_file_that_was_fetched_has_a_quieter_button(
    page: Page, live_server: Any, orders: Download
) -> None:
    page.goto(live_server.url)
    open_menu(page)
    get = page.get_by_role("link", name="Download Orders")
    colour = "element => getComputedStyle(element).backgroundColor"
    before = get.evaluate(colour)
    with page.expect_download():
        get.click()
    expect(page.get_by_text("downloaded", exact=True)).to_be_visible()
    page.mouse.move(0, 0)
    assert get.evaluate(colour) != before
    page.goto(live_server.url + reverse("async_downloads:download_list"))
    expect(page.get_by_text("downloaded once", exact=True)).to_be_visible()
