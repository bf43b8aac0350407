"""The look and the accessibility of the download centre."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Locator, Page, ViewportSize, expect

from async_downloads import cache
from tests import services
from tests.browser.conftest import SHOTS, assert_accessible, take_picture
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

WIDTHS = [360, 768, 1280]
SCHEMES = ["light", "dark"]
PLACES = ["/", "/in-bootstrap/4/light/", "/in-bootstrap/5/{scheme}/"]

#: A script that ends in the frame after the next.
TWO_FRAMES = "new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(end)))"

Look = Callable[..., None]


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest, page: Page) -> str:
    """Return the colour scheme, light or dark, that the page prefers."""
    page.emulate_media(color_scheme=request.param)
    return str(request.param)


@pytest.fixture
def look(page: Page, request: pytest.FixtureRequest) -> Look:
    """Return a function that checks that an element is on screen and accessible."""
    if not services.available("front-end"):
        pytest.skip(f"axe-core is missing in {services.node_modules()}")

    def check(name: str, element: Locator) -> None:
        for width in WIDTHS:
            page.set_viewport_size(ViewportSize(width=width, height=800))
            take_picture(page, SHOTS / f"{name}-{width}.png")
            # By then the page has handled its new size.
            page.evaluate(TWO_FRAMES)
            check_in_view(page, element, width)
        selector = element.evaluate("element => element.id ? '#' + element.id : 'body'")
        assert_accessible(page, selector)

    return check


def check_in_view(page: Page, element: Locator, width: int) -> None:
    box = element.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def downloads(user: Any) -> None:
    """Create a download in every state, with realistic names."""
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, running=True, percentage=40, name="All orders 2026")
    DownloadFactory(collection=collection, name="Waiting for its turn")
    DownloadFactory(collection=collection, complete=True, name="Customers " * 12)
    DownloadFactory(
        collection=collection,
        failed=True,
        name="Stock audit",
        errors="The warehouse stopped answering after 30 of 60 products. " * 3,
    )
    silent = timezone.now() - timedelta(hours=1)
    DownloadFactory(
        collection=collection, running=True, percentage=70, name="Invoices", heard_at=silent
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("downloads")
def test_the_menu_is_on_screen_and_accessible(
    page: Page, live_server: Any, look: Look, scheme: str, place: str
) -> None:
    place = place.format(scheme=scheme)
    page.goto(live_server.url + place)
    page.get_by_role("button", name="Downloads").click()
    menu = page.locator("#downloads-dropdown")
    expect(menu.get_by_role("heading", name="Downloads")).to_be_visible()
    look(f"menu{place.replace('/', '-')}{scheme}", menu)
    look(f"button{place.replace('/', '-')}{scheme}", page.locator("#async-downloads"))


@pytest.mark.usefixtures("scheme")
def test_an_empty_menu_is_accessible(page: Page, live_server: Any, look: Look, scheme: str) -> None:
    page.goto(live_server.url)
    page.get_by_role("button", name="Downloads").click()
    look(f"empty-{scheme}", page.locator("#downloads-dropdown"))


@pytest.mark.usefixtures("downloads")
def test_the_page_of_all_is_accessible(
    page: Page, live_server: Any, look: Look, scheme: str
) -> None:
    page.goto(live_server.url + reverse("async_downloads:download_list"))
    look(f"page-{scheme}", page.locator("body"))


def test_a_toast_is_accessible(
    page: Page, live_server: Any, user: Any, look: Look, scheme: str
) -> None:
    keys = [cache.init_download(user, "orders.csv", f"Orders {number}")[1] for number in (1, 2)]
    page.goto(live_server.url)
    page.wait_for_function("() => Boolean(window.htmx)")
    cache.save_download(keys[0], [["R1"]])
    cache.set_error(keys[1], "No orders")
    toasts = page.locator("#async-downloads-toasts")
    expect(toasts.get_by_role("button", name="Dismiss")).to_have_count(2)
    # A toast stays while it has the focus or the pointer.
    toasts.get_by_role("link", name="Download").focus()
    toasts.get_by_role("button", name="Dismiss").last.hover()
    look(f"toast-{scheme}", toasts)


@pytest.mark.parametrize("place", PLACES)
def test_the_menu_is_aligned_with_its_button(page: Page, live_server: Any, place: str) -> None:
    if place != "/" and not services.available("front-end"):
        pytest.skip(f"Bootstrap is missing in {services.node_modules()}")
    page.goto(live_server.url + place.format(scheme="light"))
    button = page.get_by_role("button", name="Downloads")
    button.click()
    box, menu = button.bounding_box(), page.locator("#downloads-dropdown").bounding_box()
    assert box is not None
    assert menu is not None
    assert menu["y"] >= box["y"] + box["height"]
    if place != "/":
        assert abs((menu["x"] + menu["width"]) - (box["x"] + box["width"])) <= 1
