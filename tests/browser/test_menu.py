"""The badge, the toasts and the focus of the menu in a real browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.conftest import LOOK
from tests.browser.test_download_centre import open_menu, requests_of
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.faults.processes import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]


def wait_for_htmx(page: Page) -> None:
    page.wait_for_function("() => window.asyncDownloadsCentre")


def test_the_button_counts_downloads_in_progress_and_then_new_ones(
    page: Page, live_server: Any, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    count = page.locator("#async-downloads-count")
    expect(count).to_have_text("1")
    expect(page.get_by_role("button", name="Downloads: 1 in progress")).to_be_visible()
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
    page.get_by_role("button", name="Downloads: 1 new").click()
    expect(count).to_be_hidden()
    # A download that was seen is not new on the next page.
    page.goto(live_server.url)
    wait_for_htmx(page)
    expect(count).to_be_hidden()
    cache.save_download(cache.init_download(user, "orders.csv", "Orders")[1], [["R1"]])
    page.goto(live_server.url)
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()


@pytest.mark.parametrize("end", ["complete", "failed"])
def test_a_toast_shows_a_download_that_ends_while_the_menu_is_closed(
    page: Page, live_server: Any, user: Any, end: str
) -> None:
    key = cache.init_download(user, "orders.csv", "<b>Orders</b>")[1]
    page.goto(live_server.url)
    wait_for_htmx(page)
    if end == "complete":
        cache.save_download(key, [["R1"]])
        toast = page.get_by_role("status").filter(has_text="<b>Orders</b> is ready")
        expect(toast).to_be_visible()
        with page.expect_download() as download:
            toast.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "orders.csv"
    else:
        cache.set_error(key, "No orders")
        toast = page.get_by_role("status").filter(has_text="<b>Orders</b> has failed")
        expect(toast).to_be_visible()
        expect(toast.get_by_role("link")).to_have_count(0)
        toast.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#async-downloads-toasts")).to_be_hidden()


def test_two_polls_at_once_bring_one_toast(page: Page, live_server: Any, user: Any) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    wait_for_htmx(page)
    cache.save_download(key, [["R1"]])
    page.evaluate(f"() => {{ ({LOOK})(); ({LOOK})(); }}")
    toasts = page.locator(".async-downloads-toast")
    expect(toasts).not_to_have_count(0)
    page.wait_for_load_state("networkidle")
    expect(toasts).to_have_count(1)


def test_the_newest_three_toasts_are_visible_and_stay_while_one_is_used(
    page: Page, live_server: Any, user: Any
) -> None:
    page.clock.install()
    keys = [cache.init_download(user, "orders.csv", f"Orders {number}")[1] for number in range(4)]
    page.goto(live_server.url)
    wait_for_htmx(page)
    toasts = page.locator(".async-downloads-toast")
    for count in (2, 4):
        for key in keys[count - 2 : count]:
            cache.save_download(key, [["R1"]])
        page.evaluate(LOOK)
        expect(toasts).to_have_count(count)
    expect(toasts.filter(visible=True)).to_have_count(3)
    toasts.last.hover()
    for _ in range(2):
        page.clock.fast_forward(11_000)
    expect(toasts).to_have_count(1)
    page.mouse.move(0, 0)
    page.clock.fast_forward(11_000)
    expect(page.locator("#async-downloads-toasts")).to_be_hidden()


def test_a_list_is_shown_and_its_forms_work_without_the_script_of_lists(
    page: Page, live_server: Any, user: Any, errors: list[str]
) -> None:
    DownloadFactory(collection__user=user, complete=True, name="Orders")
    page.route("**/async_downloads_list.js", lambda route: route.abort())
    page.goto(live_server.url)
    open_menu(page)
    page.get_by_role("button", name="Remove Orders").click()
    assert eventually(lambda: not Download.objects.exists(), why="it is removed")
    # The browser itself logs each request that fails.
    errors.clear()


def test_an_open_menu_needs_no_toast(page: Page, live_server: Any, user: Any) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    open_menu(page)
    cache.set_percentage(key, 40)
    expect(page.locator(".download-timestamp", has_text="40%")).to_be_visible()
    expect(page.locator(".async-downloads-announcer")).to_be_empty()
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    expect(page.locator("#async-downloads-toasts")).to_be_hidden()
    # A screen reader announces the end, and has announced no percentages.
    expect(page.locator(".async-downloads-announcer")).to_have_text("Orders is ready")


def test_the_event_wakes_an_idle_menu(page: Page, live_server: Any, user: Any) -> None:
    requests = requests_of(page)
    page.goto(live_server.url)
    wait_for_htmx(page)
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
    expect(page.locator("#async-downloads")).to_have_class(re.compile("in-progress"))
    cache.save_download(key, [["R1"]])
    expect(page.locator("#async-downloads")).not_to_have_class(re.compile("in-progress"))
    requests.clear()
    page.wait_for_timeout(1500)
    assert requests == []


def test_the_focus_stays_in_the_menu_when_the_focused_button_disappears(
    page: Page, live_server: Any, user: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for name in ("third", "second", "first"):
        DownloadFactory(collection=collection, complete=True, name=name)
    page.goto(live_server.url)
    open_menu(page)
    wait_for_htmx(page)
    for name in ("first", "second", "third"):
        page.get_by_role("button", name=f"Remove {name}").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=f"Remove {name}")).to_have_count(0)
        inside = "document.querySelector('#downloads-dropdown').contains(document.activeElement)"
        page.wait_for_function(f"() => {inside}")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()


def test_the_focus_stays_where_it_is_while_the_list_changes(
    page: Page, live_server: Any, user: Any
) -> None:
    _, key = cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url)
    open_menu(page)
    page.get_by_role("button", name="Cancel Orders").focus()
    for percentage in (30, 60):
        cache.set_percentage(key, percentage)
        expect(page.get_by_text(f"{percentage}%", exact=False).first).to_be_visible()
        expect(page.get_by_role("button", name="Cancel Orders")).to_be_focused()


def test_clear_finished_keeps_downloads_in_progress(
    page: Page, live_server: Any, user: Any
) -> None:
    collection = DownloadFactory(collection__user=user, complete=True, name="done").collection
    DownloadFactory(collection=collection, running=True, name="under way")
    page.goto(live_server.url)
    open_menu(page)
    wait_for_htmx(page)
    page.get_by_role("button", name="Clear finished").click()
    expect(page.get_by_role("link", name="done")).to_have_count(0)
    expect(page.get_by_text("under way")).to_be_visible()
    assert eventually(lambda: Download.objects.count() == 1, why="the finished one is removed")


def test_the_menu_says_that_the_connection_is_lost_until_it_is_back(
    page: Page, live_server: Any, user: Any, errors: list[str]
) -> None:
    _, key = cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url)
    open_menu(page)
    wait_for_htmx(page)
    page.context.set_offline(True)
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("The connection is lost")).to_be_hidden()
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    # The browser itself logs an error for each failed request.
    errors.clear()


def test_the_page_of_all_works_without_javascript(
    browser: Any, live_server: Any, page: Page, user: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for number in range(27):
        DownloadFactory(collection=collection, complete=True, name=f"number {number:02}")
    context = browser.new_context(
        java_script_enabled=False, storage_state=page.context.storage_state()
    )
    plain = context.new_page()
    plain.goto(live_server.url)
    # The button leads to the page of all.
    open_menu(plain)
    plain.get_by_role("link", name="Next").click()
    plain.get_by_role("button", name="Remove number 00").click()
    expect(plain.get_by_role("link", name="number 01", exact=True)).to_be_visible()
    assert plain.url.endswith("?page=2")
    plain.get_by_role("button", name="Clear finished").click()
    expect(plain.get_by_text("Nothing here yet")).to_be_visible()
    # Rows that the request had no time to delete are marked as expired.
    assert not Download.objects.active().exists()
    context.close()


def test_the_title_shows_the_count_if_the_site_turns_it_on(
    page: Page, live_server: Any, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv")[1]
    page.goto(live_server.url)
    page.evaluate("document.getElementById('async-downloads').dataset.titleCount = ''")
    title = page.title()
    cache.set_percentage(key, 50)
    page.wait_for_function("title => document.title === `(1) ${title}`", arg=title)
