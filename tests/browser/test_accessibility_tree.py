"""What a screen reader finds in the menu, on the page of all and in a toast, in each state.

With TEST_SCREENSHOTS=folder, the trees are saved beside the pictures, for people to read.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from async_downloads import cache
from tests.browser.conftest import BUTTON, LOOK, MENU, TOASTS
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: The folder for the trees; none are saved without it.
FOLDER: Final = os.environ.get("TEST_SCREENSHOTS")

LIST: Final = "/async_downloads/list/"

#: What a download has in each state, and what its tree says.
STATES: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "empty": ({}, ["strong: Nothing here yet"]),
    "waiting": ({"name": "Orders"}, ["Waiting", 'button "Cancel Orders"']),
    "running": (
        {"name": "Orders", "running": True, "percentage": 40},
        ["40%", 'progressbar "Orders"', 'button "Cancel Orders"'],
    ),
    "ready": (
        {"name": "Orders", "complete": True},
        ['link "Orders"', 'link "Download Orders"', 'button "Remove Orders"'],
    ),
    "failed": (
        {"name": "Orders", "failed": True, "errors": "There are no orders."},
        ["There are no orders.", 'button "Remove Orders"'],
    ),
    "stalled": (
        {"name": "Orders", "running": True, "heard_at": timezone.now() - timedelta(hours=1)},
        ["Stalled", 'button "Cancel Orders"'],
    ),
}


def tree_of(element: Locator, *words: str) -> str:
    """Return the accessibility tree of an element, and save it if trees are wanted."""
    tree = element.aria_snapshot()
    if FOLDER:
        Path(FOLDER).mkdir(parents=True, exist_ok=True)
        Path(FOLDER, f"tree-{'-'.join(words)}.txt").write_text(f"{tree}\n")
    return tree


@pytest.mark.parametrize("state", STATES)
def test_the_menu_and_the_page_say_what_a_download_is_and_what_to_do(
    page: Page, live_server: Any, user: Any, state: str
) -> None:
    attributes, expected = STATES[state]
    collection = DownloadCollectionFactory(user=user)
    if attributes:
        DownloadFactory(collection=collection, **attributes)
    page.goto(live_server.url)
    page.locator(BUTTON).click()
    menu = page.locator(MENU)
    expect(menu.get_by_role("heading", name="Downloads")).to_be_visible()
    trees = [tree_of(menu, "menu", state)]
    page.goto(live_server.url + LIST)
    trees.append(tree_of(page.locator("body"), "page", state))
    for tree in trees:
        assert [text for text in expected if text not in tree] == []


@pytest.mark.parametrize("end", ["ready", "failed"])
def test_a_toast_says_what_has_ended(page: Page, live_server: Any, user: Any, end: str) -> None:
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url)
    page.wait_for_function("() => window.asyncDownloadsCentre")
    if end == "ready":
        cache.save_download(key, [["R1"]])
    else:
        cache.set_error(key, "There are no orders.")
    page.evaluate(LOOK)
    toasts = page.locator(TOASTS)
    expect(toasts.get_by_role("button", name="Dismiss")).to_be_visible()
    tree = tree_of(toasts, "toast", end)
    assert tree.startswith("- status:")
    assert ("Orders is ready" if end == "ready" else "There are no orders.") in tree


def test_the_menu_says_that_the_session_has_ended_and_leads_to_the_sign_in_page(
    page: Page, live_server: Any
) -> None:
    page.goto(live_server.url)
    page.wait_for_function("() => window.asyncDownloadsCentre")
    page.context.clear_cookies()
    page.locator(BUTTON).click()
    menu = page.locator(MENU)
    expect(menu.get_by_role("link", name="Sign in")).to_be_visible()
    assert "You are signed out." in tree_of(menu, "menu", "signed-out")


def test_the_menu_says_that_the_connection_is_lost(
    page: Page, live_server: Any, user: Any, errors: list[str]
) -> None:
    cache.init_download(user, "orders.csv", "Orders")
    page.goto(live_server.url)
    page.locator(BUTTON).click()
    menu = page.locator(MENU)
    expect(menu.get_by_role("button", name="Cancel Orders")).to_be_visible()
    page.context.set_offline(True)
    expect(menu.get_by_text("The connection is lost")).to_be_visible()
    assert "The connection is lost" in tree_of(menu, "menu", "offline")
    # The browser itself logs an error for each failed request.
    errors.clear()
