"""Downloads of a team beside a person's own, in a real browser."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Page, expect

from async_downloads import cache
from async_downloads.models import Download
from tests.browser.conftest import (
    BUTTON,
    LOOK,
    MENU,
    SHOTS,
    TOASTS,
    OpenPage,
    assert_accessible,
    take_picture,
)
from tests.browser.test_download_centre import open_menu
from tests.browser.test_undo import MOMENT
from tests.factories import DownloadFactory
from tests.team_members import GROUPS, shared, started, team

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

LIST = "/async_downloads/list/"


@pytest.fixture
def sales(user: Any, other_user: Any, settings: Any) -> Group:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS
    return team("Sales & Marketing", user, other_user)


@pytest.fixture
def downloads(user: Any, sales: Group) -> None:
    DownloadFactory(collection__user=user, complete=True, name="My orders")
    shared(sales, running=True, percentage=40, name="Stock audit")
    shared(sales, failed=True, recorded=True, name="Returns")
    shared(sales, complete=True, name="Open orders")


@pytest.mark.usefixtures("downloads")
@pytest.mark.parametrize("place", ["menu", "page"])
def test_a_member_sees_which_downloads_are_of_the_team_and_can_fetch_them(
    page: Page, live_server: Any, place: str
) -> None:
    if place == "menu":
        page.goto(live_server.url)
        expect(page.locator(BUTTON)).to_have_accessible_name("Downloads: 1 in progress")
        open_menu(page)
    else:
        page.goto(live_server.url + LIST)
    selector = MENU if place == "menu" else "#async-downloads-all"
    items = page.locator(selector)
    expect(items.get_by_text("Team: Sales & Marketing")).to_have_count(3)
    expect(items.get_by_role("link", name="Download Open orders")).to_be_visible()
    for name in ("Remove Open orders", "Cancel Stock audit", "Remove Returns", "Try again"):
        expect(items.get_by_role("button", name=name)).to_have_count(0)
    expect(items.get_by_role("button", name="Remove My orders")).to_be_visible()
    assert_accessible(page, selector)
    take_picture(page, SHOTS / f"team-{place}.png")


@pytest.mark.usefixtures("downloads")
def test_clear_finished_leaves_those_of_the_team_in_the_list(page: Page, live_server: Any) -> None:
    page.clock.install()
    page.goto(live_server.url)
    open_menu(page)
    items = page.locator(MENU)
    items.get_by_role("button", name="Clear finished").click()
    expect(items.get_by_role("link", name="My orders", exact=True)).to_be_hidden()
    expect(items.get_by_role("link", name="Open orders", exact=True)).to_be_visible()
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.clock.fast_forward(MOMENT)
    expect(items.get_by_role("button", name="Clear finished")).to_have_count(0)
    expect(items.get_by_role("link", name="Open orders", exact=True)).to_be_visible()
    assert not Download.objects.filter(name="My orders").exists()


def test_a_toast_reaches_each_member_until_they_leave(
    open_page: OpenPage, live_server: Any, user: Any, other_user: Any, sales: Group
) -> None:
    key = started(sales)
    pages = [open_page(person) for person in (user, other_user)]
    for page, _ in pages:
        page.goto(live_server.url)
        expect(page.locator(BUTTON)).to_have_accessible_name("Downloads: 1 in progress")
    sales.user_set.remove(other_user)
    cache.save_download(key, [["row"]])
    for page, _ in pages:
        page.evaluate(LOOK)
    (member, errors), (former, other_errors) = pages
    expect(member.locator(TOASTS)).to_contain_text("Team: Sales & Marketing")
    expect(former.locator(BUTTON)).to_have_accessible_name("Downloads")
    expect(former.locator(TOASTS)).to_be_hidden()
    assert errors == other_errors == []
