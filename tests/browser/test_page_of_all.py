"""The page of all downloads, in a base template of the site or in the package's own."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from async_downloads import cache
from async_downloads.models import Download
from tests import services
from tests.browser.conftest import SHOTS, assert_accessible, take_picture
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.faults.processes import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/async_downloads/list/"

#: Elements of the page with colours of the package.
COLOURED = (
    *(".async-downloads-list", "a.download-name", ".download-timestamp"),
    *(".progress", ".download-get", ".download-clear", ".async-downloads-clear-finished"),
)

#: Returns the colours of elements, and of their focus outline.
COLOURS = """selectors => selectors.map(selector => {
    const element = document.querySelector(`#async-downloads-all ${selector}`)
        ?? document.querySelector(selector);
    element.focus();
    const {color, backgroundColor, borderTopColor, outlineColor} = getComputedStyle(element);
    return [selector, color, backgroundColor, borderTopColor, outlineColor];
})"""


@pytest.fixture
def own_base(tmp_path: Path, settings: Any) -> None:
    """Make the page extend the base template of the site."""
    folder = tmp_path / "async_downloads"
    folder.mkdir()
    (folder / "base.html").write_text('{% extends "site_base.html" %}')
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]


@pytest.fixture(params=["package", "site"])
def base(request: pytest.FixtureRequest) -> str:
    """Return which base template the page extends."""
    if request.param == "site":
        request.getfixturevalue("own_base")
    return str(request.param)


@pytest.fixture
def downloads(user: Any) -> None:
    """Create more downloads than fit on a page, in every state."""
    collection = DownloadCollectionFactory(user=user)
    for number in range(24):
        DownloadFactory(collection=collection, complete=True, name=f"Customers {number}")
    DownloadFactory(collection=collection, failed=True, name="Stock", errors="It broke.")
    DownloadFactory(collection=collection, running=True, percentage=40, name="All orders 2026")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("downloads")
def test_the_colours_are_the_same_in_both_base_templates(
    page: Page, live_server: Any, request: pytest.FixtureRequest, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(live_server.url + LIST)
    colours = page.evaluate(COLOURS, COLOURED)
    request.getfixturevalue("own_base")
    page.goto(live_server.url + LIST)
    expect(page.locator("#async-downloads")).to_be_visible()
    assert page.evaluate(COLOURS, COLOURED) == colours
    take_picture(page, SHOTS / f"page-in-a-site-{scheme}-1280.png")
    if services.available("front-end"):
        assert_accessible(page, "#async-downloads-all")


def test_the_page_shows_changes_without_a_reload(
    page: Page, live_server: Any, user: Any, base: str
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url + LIST)
    page.evaluate("window.same = true")
    listed = page.locator("#async-downloads-list")
    button = listed.get_by_role("button", name="Cancel Orders")
    button.focus()
    for percentage in (30, 60):
        cache.set_percentage(key, percentage)
        expect(listed).to_contain_text(f"{percentage}%")
        expect(button).to_be_focused()
    cache.save_download(key, [["R1"]])
    link = listed.get_by_role("link", name="Orders", exact=True)
    expect(link).to_be_visible()
    with page.expect_download():
        link.click()
    # The page sends no requests until an event wakes it. On a busy machine, the menu may notice the
    # end, and cause requests of the list, after the list does.
    requests: list[str] = []
    page.on("request", lambda request: "/async_downloads/" in request.url and requests.append("it"))
    for _ in range(10):
        requests.clear()
        page.wait_for_timeout(2500)
        if not requests:
            break
    assert requests == []
    cache.init_download(user, "more.csv", "More orders")
    page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
    expect(listed).to_contain_text("More orders")
    assert page.evaluate("window.same")
    page.get_by_role("button", name="Clear finished").last.click()
    expect(link).to_have_count(0)
    expect(listed).to_contain_text("More orders")
    assert page.evaluate("window.same")
    assert eventually(lambda: Download.objects.count() == 1, why="the finished one is removed")


@pytest.mark.usefixtures("own_base")
def test_a_download_cleared_in_the_menu_leaves_the_page(
    page: Page, live_server: Any, user: Any
) -> None:
    DownloadFactory(collection__user=user, complete=True, name="Orders")
    page.goto(live_server.url + LIST)
    expect(page.locator("#async-downloads-list")).to_contain_text("Orders")
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    page.locator("#downloads-dropdown").get_by_role("button", name="Remove Orders").click()
    expect(page.locator("#async-downloads-list")).to_contain_text("Nothing here yet")


@pytest.mark.usefixtures("downloads")
def test_the_second_page_stays_the_second_page(page: Page, live_server: Any, user: Any) -> None:
    page.goto(f"{live_server.url}{LIST}?page=2")
    names = page.locator("#async-downloads-list .download-name")
    expect(names).to_have_text(["Stock"])
    cache.init_download(user, "more.csv", "More orders")
    page.evaluate("document.body.dispatchEvent(new Event('async-downloads:look'))")
    expect(names).to_have_text(["Customers 0", "Stock"])
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()


def test_the_polling_stops_when_the_session_ends(page: Page, live_server: Any, user: Any) -> None:
    cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url + LIST)
    page.context.clear_cookies()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(2500)
    assert requests == []


def test_a_redirect_to_a_sign_in_page_is_a_link_to_it(
    page: Page, live_server: Any, user: Any
) -> None:
    """As with a sign-in page in front of the whole site, which knows nothing of htmx."""
    cache.init_download(user, "orders.csv", "Orders")
    page.route("**/list/?*version=*", lambda route: route.continue_(url=f"{live_server.url}/out/"))
    page.goto(live_server.url + LIST)
    listed = page.locator("#async-downloads-all")
    expect(listed.get_by_role("link", name="Sign in")).to_be_visible()
    assert listed.inner_text() == "Sign in"


@pytest.mark.usefixtures("own_base")
def test_the_page_of_a_missing_file_shows_no_list(
    page: Page, live_server: Any, user: Any, errors: list[str]
) -> None:
    download = DownloadFactory(collection__user=user, complete=True, name="Orders")
    Path(settings.MEDIA_ROOT, download.filepath).unlink()
    page.goto(live_server.url + download.url)
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    expect(page.locator("#downloads-dropdown")).to_contain_text("Orders")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", name="This file is missing")).to_be_visible()
    # The browser itself logs each response with an error status.
    errors.clear()
