"""Until when files are kept, "Keep for longer", and files that staff hold, in a real browser."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from async_downloads import store
from async_downloads.models import Download
from tests import services
from tests.browser.conftest import SHOTS, assert_accessible, take_picture
from tests.browser.test_download_centre import open_menu
from tests.browser.test_layout import FINGER, box_of
from tests.factories import DownloadFactory
from tests.faults.processes import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/async_downloads/list/"

KEEP = "Keep for longer: Orders"

HELD = "Staff keep this file for now."

#: Longer than the moment in which Undo brings something back.
MOMENT = 6_000


@pytest.fixture
def orders(user: Any, settings: Any) -> Download:
    """Create a download that its owner may keep once more, for four days in all."""
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 4 * 24 * 60 * 60
    made: Download = DownloadFactory(
        collection__user=user,
        complete=True,
        recorded=True,
        name="Orders",
        lifetime=timedelta(days=4),
        finished_at=timezone.now() - timedelta(hours=1),
        expires_at=timezone.now() + timedelta(minutes=30),
    )
    return made


def until(row: Download) -> str:
    row.refresh_from_db()
    return row.until_text


def test_a_person_keeps_a_file_for_longer(page: Page, live_server: Any, orders: Download) -> None:
    page.goto(live_server.url + LIST)
    listed = page.locator("#async-downloads-list")
    # The script leaves the words alone.
    expect(listed.locator(".download-until")).to_have_text(until(orders))
    if services.available("front-end"):
        assert_accessible(page, "#async-downloads-all")
    take_picture(page, SHOTS / "page-keep-1280.png")
    listed.get_by_role("button", name=KEEP).click()
    expect(listed.get_by_role("button", name=KEEP)).to_have_count(0)
    expect(page).to_have_url(live_server.url + LIST)
    expect(listed.locator(".download-until")).to_have_text(until(orders))
    assert orders.finished_at is not None
    assert orders.expires_at == orders.finished_at + timedelta(days=4)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.usefixtures("orders")
def test_links_are_below_the_item_and_do_not_overlap(
    page: Page, live_server: Any, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(live_server.url + LIST)
    listed = page.locator("#async-downloads-list")
    keep, again = (
        box_of(listed.get_by_role("button", name=name)) for name in (KEEP, "Make again: Orders")
    )
    until = box_of(listed.locator(".download-until"))
    assert keep["y"] >= until["y"] + until["height"]
    if width == 390:
        # Each has the size of a finger.
        assert all(min(box["height"], box["width"]) >= FINGER for box in (keep, again))
        assert keep["y"] + keep["height"] <= again["y"]
    else:
        assert keep["y"] == again["y"]
        assert keep["x"] + keep["width"] < again["x"]


def test_without_a_script_as_well(
    browser: Browser, page: Page, live_server: Any, orders: Download
) -> None:
    state = page.context.storage_state()
    context = browser.new_context(java_script_enabled=False, storage_state=state)
    plain = context.new_page()
    plain.goto(live_server.url + LIST)
    plain.get_by_role("button", name=KEEP).click()
    expect(plain.get_by_role("button", name=KEEP)).to_have_count(0)
    expect(plain.locator(".download-until")).to_have_text(until(orders))
    context.close()


def test_the_menu_says_until_when(page: Page, live_server: Any, orders: Download) -> None:
    page.goto(live_server.url)
    open_menu(page)
    expect(page.locator("#downloads-dropdown .download-until")).to_have_text(until(orders))


def test_a_file_that_staff_hold_comes_back_and_says_why(
    page: Page, live_server: Any, orders: Download, errors: list[str]
) -> None:
    page.clock.install()
    page.goto(live_server.url)
    with page.expect_response(re.compile("opened=1")):
        open_menu(page)
    menu = page.locator("#downloads-dropdown")
    remove = menu.get_by_role("button", name="Remove Orders")
    expect(remove).to_be_visible()
    # The page does not know of it yet.
    Download.objects.filter(pk=orders.pk).update(held=True)
    remove.click()
    page.clock.fast_forward(MOMENT)
    expect(menu.get_by_text(HELD)).to_be_visible()
    expect(menu.get_by_role("link", name="Download Orders")).to_be_visible()
    expect(remove).to_have_count(0)
    if services.available("front-end"):
        assert_accessible(page, "#downloads-dropdown")
    # The browser itself logs the refusal.
    assert [error for error in errors if "409" not in error] == []
    errors.clear()


def test_clear_finished_leaves_a_file_that_staff_hold(
    page: Page, live_server: Any, orders: Download
) -> None:
    DownloadFactory(collection=orders.collection, complete=True, name="Customers")
    store.hold(Download.objects.filter(pk=orders.pk))
    page.clock.install()
    page.goto(live_server.url + LIST)
    listed = page.locator("#async-downloads-list")
    expect(listed.get_by_text(HELD)).to_be_visible()
    listed.get_by_role("button", name="Clear finished").click()
    expect(listed.get_by_role("link", name="Download Customers")).to_be_hidden()
    page.clock.fast_forward(MOMENT)
    assert eventually(lambda: Download.objects.count() == 1, why="the other one is removed")
    expect(listed.get_by_text(HELD)).to_be_visible()
    expect(listed.get_by_role("link", name="Download Orders")).to_be_visible()
