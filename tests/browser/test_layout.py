"""The layout of the download centre: phones, right to left, forced colours, older browsers."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import FloatRect, Locator, Page, Route, ViewportSize, expect

from async_downloads import cache
from tests import services
from tests.browser.test_download_centre import open_menu
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: Pixels of a target that a finger hits.
FINGER = 44

#: The left edges of the first and the last character of an element.
ENDS = """(element) => {
    const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
    return [0, text.length - 1].map((index) => {
        const range = new Range();
        range.setStart(text, index);
        range.setEnd(text, index + 1);
        return range.getBoundingClientRect().left;
    });
}"""

#: The right side of an element's text.
RIGHT = """(element) => {
    const range = new Range();
    range.selectNodeContents(element);
    return range.getBoundingClientRect().right;
}"""


def style(element: Locator, name: str) -> str:
    """Return a computed value of an element's style."""
    return str(element.evaluate("(element, name) => getComputedStyle(element)[name]", name))


def box_of(element: Locator) -> FloatRect:
    """Return where an element is on the page."""
    expect(element).to_be_visible()
    box = element.bounding_box()
    assert box is not None
    return box


@pytest.fixture
def every_state(user: Any) -> None:
    """Create a download in every state."""
    collection = DownloadCollectionFactory(user=user)
    silent = timezone.now() - timedelta(hours=1)
    for name, values in (
        ("running", {"running": True, "percentage": 40}),
        ("counting", {"running": True, "rows_written": 31_767}),
        ("waiting", {}),
        ("stalled", {"running": True, "percentage": 70, "heard_at": silent}),
        ("complete", {"complete": True}),
        ("failed", {"failed": True, "recorded": True, "errors": "It broke. " * 40}),
    ):
        DownloadFactory(collection=collection, name=name, **values)


@pytest.fixture
def without(page: Page) -> Callable[..., None]:
    """Return a function that lets the page's browser not know some CSS."""

    def replace(*features: str) -> None:
        def serve(route: Route) -> None:
            text = route.fetch().text()
            for feature in features:
                assert feature in text
                text = text.replace(feature, f"unknown-{feature}")
            route.fulfill(body=text, content_type="text/css")

        page.route("**/async_downloads.css", serve)

    return replace


def item(page: Page, name: str) -> Locator:
    """Return the item of a download in the menu."""
    return page.locator("#downloads-dropdown .download-container").filter(
        has=page.locator(".download-name", has_text=name)
    )


@pytest.mark.usefixtures("every_state")
def test_on_a_phone_the_menu_is_a_sheet_for_fingers(page: Page, live_server: Any) -> None:
    page.set_viewport_size(ViewportSize(width=360, height=740))
    page.goto(live_server.url)
    open_menu(page)
    menu = box_of(page.locator("#downloads-dropdown"))
    assert (menu["x"], menu["width"]) == (0, 360)
    assert menu["y"] + menu["height"] == 740
    buttons = page.locator("#downloads-dropdown :is(button, a:not(.download-name)):visible")
    expect(buttons.first).to_be_visible()
    boxes = [button.bounding_box() for button in buttons.all()]
    assert len(boxes) > 6
    assert [box for box in boxes if box and min(box["width"], box["height"]) < FINGER] == []


@pytest.mark.usefixtures("every_state")
def test_right_to_left_everything_is_on_the_other_side(
    page: Page, live_server: Any, user: Any
) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    page.evaluate("document.documentElement.dir = 'rtl'")
    cache.save_download(key, [["R1"]])
    toast = box_of(page.locator(".async-downloads-toast"))
    assert toast["x"] + toast["width"] < 640
    open_menu(page)
    running = item(page, "running")
    tile, name = box_of(running.locator(".download-tile")), box_of(running.locator(".download"))
    assert tile["x"] > name["x"] + name["width"]
    assert box_of(running.get_by_role("button"))["x"] < name["x"]
    button, menu = (
        box_of(page.locator(f"#{name}"))
        for name in ("navbarDropdownAsyncDownloads", "downloads-dropdown")
    )
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= 1280
    assert menu["y"] >= button["y"] + button["height"]


def test_names_and_errors_keep_the_direction_of_their_own_text(
    page: Page, live_server: Any, user: Any, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "he"
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, failed=True, name="Orders (EU).", errors="It broke!")
    page.goto(f"{live_server.url}/async_downloads/list/")
    for part in (".download-name", ".download-error"):
        element = page.locator(part)
        expect(element).to_be_visible()
        first, last = element.evaluate(ENDS)
        assert first < last
        # What does not fit is missing at its end, and it is at the start of the item all the same.
        assert style(element, "direction") == "ltr"
        item = box_of(page.locator(".download"))
        assert 0 <= item["x"] + item["width"] - element.evaluate(RIGHT) < 3
        assert style(element, "textAlign") == "right"


def test_a_toast_keeps_the_direction_of_a_name(
    page: Page, live_server: Any, user: Any, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "he"
    key = cache.init_download(user, "orders.csv", "Orders (EU).")[1]
    page.goto(live_server.url)
    page.evaluate("document.documentElement.dir = 'rtl'")
    cache.save_download(key, [["R1"]])
    first, last = page.locator(".async-downloads-toast bdi").evaluate(ENDS)
    assert first < last


@pytest.mark.usefixtures("every_state")
def test_a_bar_has_a_length_only_if_the_progress_is_known(page: Page, live_server: Any) -> None:
    page.goto(live_server.url)
    open_menu(page)
    for name, value in (("running", "40"), ("stalled", "70"), ("counting", None)):
        assert item(page, name).locator("progress").get_attribute("value") == value
    for name in ("waiting", "complete", "failed"):
        expect(item(page, name)).to_be_visible()
        expect(item(page, name).locator("progress")).to_have_count(0)
    expect(item(page, "counting")).to_contain_text("31,767 rows so far")
    page.emulate_media(reduced_motion="reduce")
    assert style(item(page, "counting").locator("progress"), "animationName") == "none"


@pytest.mark.usefixtures("every_state")
def test_forced_colours_have_bars_tiles_and_buttons(page: Page, live_server: Any) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(live_server.url)
    open_menu(page)
    running, complete = item(page, "running"), item(page, "complete")
    bar, track = running.locator("progress"), running.locator(".progress")
    assert style(track, "outlineStyle") == "solid"
    assert style(bar, "color") != style(track, "backgroundColor")
    # No colour of the package is left.
    assert style(item(page, "stalled").locator("progress"), "color") == style(bar, "color")
    background = style(page.locator("#downloads-dropdown"), "backgroundColor")
    for element in (
        running.locator(".download-tile"),
        complete.locator(".download-get"),
        complete.locator(".download-clear"),
    ):
        assert style(element, "borderTopStyle") == "solid"
        assert style(element, "borderTopColor") != background


@pytest.mark.usefixtures("every_state")
def test_without_light_dark_a_dark_page_has_a_light_menu(
    page: Page, live_server: Any, without: Callable[..., None]
) -> None:
    without("light-dark(")
    page.emulate_media(color_scheme="dark")
    page.goto(live_server.url)
    open_menu(page)
    menu = page.locator("#downloads-dropdown")
    expect(item(page, "running")).to_be_visible()
    assert style(menu, "backgroundColor") == "rgb(255, 255, 255)"
    assert style(menu, "color") == "rgb(31, 35, 40)"
    assert style(menu, "colorScheme") == "light"


@pytest.mark.parametrize("features", [["position-area"], ["position-area", "overlay:"]])
@pytest.mark.usefixtures("every_state")
def test_without_anchor_positioning_the_menu_is_on_screen(
    page: Page, live_server: Any, without: Callable[..., None], features: list[str]
) -> None:
    if not services.available("front-end"):
        pytest.skip(f"Bootstrap is missing in {services.node_modules()}")
    without(*features)
    page.goto(live_server.url + "/in-bootstrap/5/light/")
    open_menu(page)
    menu = box_of(page.locator("#downloads-dropdown"))
    assert (menu["width"], menu["x"] + menu["width"] <= 1280) == (24 * 16, True)


def test_a_toast_has_room_for_its_shadow(page: Page, live_server: Any, user: Any) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    cache.save_download(key, [["R1"], ["R2"]])
    toast = page.locator(".async-downloads-toast")
    expect(toast).to_contain_text("Orders is ready")
    expect(toast).to_contain_text("2 rows")
    region = box_of(page.locator("#async-downloads-toasts"))
    inside = box_of(toast)
    assert inside["x"] - region["x"] >= 32
    assert inside["y"] - region["y"] >= 32
    # What is below the box of the toasts can be clicked.
    assert style(page.locator("#async-downloads-toasts"), "pointerEvents") == "none"
    assert style(toast, "pointerEvents") == "auto"


@pytest.mark.usefixtures("every_state")
def test_magnified_four_times_everything_can_be_reached(page: Page, live_server: Any) -> None:
    page.set_viewport_size(ViewportSize(width=320, height=225))
    page.goto(live_server.url)
    open_menu(page)
    menu = page.locator("#downloads-dropdown")
    assert menu.evaluate("menu => menu.scrollWidth - menu.clientWidth") == 0
    link = menu.get_by_role("link").last
    link.scroll_into_view_if_needed()
    expect(link).to_be_in_viewport(ratio=1)
