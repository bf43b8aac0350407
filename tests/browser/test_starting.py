"""From the button that starts an export to the file, in a real browser."""

import os
import time
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Request, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.test_download_centre import open_menu, requests_of
from tests.browser.test_menu import wait_for_htmx
from tests.conftest import Report
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: The duration of the export whose requests are counted.
EXPORT_SECONDS: Final = int(os.environ.get("BROWSER_EXPORT_SECONDS", "4"))


def key_of_the_only_download() -> str:
    return Download.objects.get().download_key


@pytest.mark.parametrize("path", ["/with-htmx/", "/with-htmx-4/"])
def test_a_button_with_htmx_wakes_the_menu_without_a_page_load(
    page: Page, live_server: Any, path: str
) -> None:
    page.goto(live_server.url + path)
    wait_for_htmx(page)
    navigations: list[str] = []
    page.on("framenavigated", lambda frame: navigations.append(frame.url))
    page.get_by_role("button", name="Export here").click()
    expect(page.get_by_role("button", name="Downloads: 1 in progress")).to_be_visible()
    cache.save_download(key_of_the_only_download(), [["R1"]])
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
    assert navigations == []


def test_a_plain_form_loads_a_page_that_shows_the_download(page: Page, live_server: Any) -> None:
    page.goto(live_server.url)
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_role("button", name="Downloads: 1 in progress")).to_be_visible()


def press_tab_until(page: Page, name: str) -> None:
    """Press Tab until the focus is on the element of this name."""
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
        )
        if focused == name:
            return
    pytest.fail(f"Tab never comes to {name}")


@pytest.mark.parametrize("opens", ["Enter", "Space"])
def test_the_whole_job_needs_no_mouse(page: Page, live_server: Any, opens: str) -> None:
    page.goto(f"{live_server.url}/with-htmx/")
    wait_for_htmx(page)
    press_tab_until(page, "Export here")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Downloads: 1 in progress")).to_be_visible()
    cache.save_download(key_of_the_only_download(), [["R1"]])
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
    press_tab_until(page, "Downloads: 1 new")
    page.keyboard.press(opens)
    expect(page.locator("#downloads-dropdown .download-get")).to_be_visible()
    # The menu shows what the toast has said, and the toast does not take the focus with it.
    expect(page.locator("#async-downloads-toasts")).to_be_hidden()
    press_tab_until(page, "Download Orders")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.path().read_bytes() == b"R1\n"
    press_tab_until(page, "Remove Orders")
    page.keyboard.press(opens)
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#downloads-dropdown")).to_be_hidden()
    expect(page.get_by_role("button", name="Downloads")).to_be_focused()


def test_a_page_polls_once_a_second_and_gets_no_content_without_a_change(
    page: Page, live_server: Any, user: Any, report: Report
) -> None:
    requests: list[tuple[float, Request]] = []

    def note(request: Request) -> None:
        if "/ajax_update/" in request.url:
            requests.append((time.monotonic(), request))

    page.on("request", note)
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    wait_for_htmx(page)
    steps = 2
    for step in range(steps):
        cache.set_percentage(key, 40 * (step + 1))
        page.wait_for_timeout(EXPORT_SECONDS * 1000 / steps)
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_visible()
    sizes = []
    for _, request in requests:
        response = request.response()
        assert response is not None
        sizes.append((response.status, request.sizes()["responseBodySize"]))
    unchanged = [size for status, size in sizes if status == 204]
    line = f"{EXPORT_SECONDS} s: {len(requests)} requests, {len(unchanged)} of them empty"
    report("One export, by the browser's own count", [line])
    assert len(requests) <= requests[-1][0] - requests[0][0] + 2
    assert len(unchanged) >= len(requests) - steps - 2
    assert set(unchanged) == {0}


def test_a_person_who_has_scrolled_sees_the_same_items_when_the_list_changes(
    page: Page, live_server: Any, user: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for number in range(19):
        DownloadFactory(collection=collection, complete=True, name=f"number {number}")
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    wait_for_htmx(page)
    open_menu(page)
    menu = page.locator("#downloads-dropdown")
    item = menu.locator(".download-container", has_text="number 10")
    expect(item).to_be_attached()
    menu.evaluate("menu => menu.scrollTo(0, 300)")
    before = item.bounding_box()
    cache.set_percentage(key, 40)
    expect(menu.get_by_text("40%").first).to_be_attached()
    # Also when an item above them has got a bar, and is higher.
    assert menu.evaluate("menu => menu.scrollTop") >= 300
    assert item.bounding_box() == pytest.approx(before, abs=1)
    expect(menu).to_be_visible()


def test_a_page_that_becomes_visible_polls_at_once(page: Page, live_server: Any, user: Any) -> None:
    page.clock.install()
    page.goto(live_server.url)
    wait_for_htmx(page)
    requests = requests_of(page)
    cache.init_download(user, "orders.csv", "Orders")
    page.clock.run_for(10_000)
    assert requests == []
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.get_by_role("button", name="Downloads: 1 in progress")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_a_redirect_to_a_sign_in_page_is_not_shown_in_the_menu(
    page: Page, live_server: Any, user: Any, path: str
) -> None:
    cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url + path)
    open_menu(page)
    page.route("**/ajax_update/**", lambda route: route.continue_(url=f"{live_server.url}/out/"))
    menu = page.locator("#downloads-dropdown")
    expect(menu.get_by_role("link", name="Sign in")).to_be_visible()
    assert menu.inner_text() == "Sign in"
    expect(page.get_by_role("button", name="Downloads", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/with-htmx-4/"])
def test_the_menu_says_that_the_server_fails_and_does_not_show_its_page(
    page: Page, live_server: Any, user: Any, errors: list[str], path: str
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url + path)
    open_menu(page)
    wait_for_htmx(page)
    page.route("**/ajax_update/**", lambda route: route.fulfill(status=500, body="<b>It broke</b>"))
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    expect(page.get_by_text("It broke")).to_have_count(0)
    page.unroute("**/ajax_update/**")
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("link", name="Orders", exact=True)).to_be_visible()
    expect(page.get_by_text("The connection is lost")).to_be_hidden()
    # The browser itself logs each response with an error status.
    errors.clear()


def test_inherited_attributes_of_a_site_do_not_affect_the_menu(
    page: Page, live_server: Any, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.accept()))
    page.goto(f"{live_server.url}/strange/")
    open_menu(page)
    cache.save_download(key, [["R1"]])
    expect(page.get_by_role("link", name="Orders", exact=True).first).to_be_visible()
    expect(page.locator("#downloads-dropdown .download-name")).to_have_text("Orders")
    assert page.url.endswith("/strange/")
    assert dialogs == []


def test_the_menu_of_a_boosted_page_works(page: Page, live_server: Any, user: Any) -> None:
    page.goto(f"{live_server.url}/boosted/")
    wait_for_htmx(page)
    cache.save_download(cache.init_download(user, "orders.csv", "Orders")[1], [["R1"]])
    page.evaluate("window.isSamePage = true")
    page.get_by_role("link", name="Orders", exact=True).click()
    page.wait_for_url("**/?again")
    page.get_by_role("button", name="Downloads: 1 new").click()
    expect(page.locator("#async-downloads-count")).to_be_hidden()
    page.keyboard.press("Escape")
    # It was seen, and is not new again.
    expect(page.get_by_role("button", name="Downloads", exact=True)).to_be_visible()
    assert page.evaluate("window.isSamePage")


def test_dismissing_a_toast_by_keyboard_returns_the_focus(
    page: Page, live_server: Any, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    wait_for_htmx(page)
    cache.save_download(key, [["R1"]])
    page.get_by_role("button", name="Dismiss").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#async-downloads-toasts")).to_be_hidden()
    expect(page.get_by_role("button", name="Downloads: 1 new")).to_be_focused()
