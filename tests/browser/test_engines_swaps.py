"""In each engine, a person notices nothing of the swaps of the open menu."""

from typing import Any

import pytest

from async_downloads import cache, intervals, settings
from tests.browser.conftest import BUTTON, HIDES, LOOK, MENU, SHOWS, Visit
from tests.browser.engines import Engine
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

#: Of the mouse, and as many of the keyboard.
SWAPS = 15

#: Where a person is in the menu: what has the focus, where on the screen that is, and which text
#: is selected. The element itself must stay, as screen readers lose their place with it.
PLACE = """() => {
    const element = document.activeElement;
    window.focused ??= element;
    return {
        focus: element.id || element.className,
        stays: element === window.focused,
        top: Math.round(element.getBoundingClientRect().top),
        selected: getSelection().toString(),
    };
}"""

#: The number of lists that have arrived.
ANSWERS = """() => performance.getEntriesByType("resource")
    .filter(({name, responseEnd}) => name.includes("/ajax_update/") && responseEnd).length"""

SCROLL = """(menu) => {
    const element = document.querySelector(menu);
    element.scrollTop = 150;
    return element.scrollTop;
}"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Push each change at once."""
    monkeypatch.setattr(intervals, "SOCKET_HINTED", 0.02)
    monkeypatch.setattr(intervals, "SOCKET_MINIMUM", 0.02)


@pytest.fixture
def key(user: Any) -> str:
    """Return the key of a running download, above more finished ones than fit into the menu."""
    collection = DownloadCollectionFactory(user=user)
    for number in range(14):
        DownloadFactory(collection=collection, complete=True, name=f"Customers {number}")
        if number == 10:
            reason = "The warehouse stopped answering after 30 of 60 products."
            DownloadFactory(collection=collection, failed=True, name="Stock audit", errors=reason)
    key: str = cache.init_download(user, "orders.csv", "Orders")[1]
    return key


def swap(engine: Engine, key: str, percentages: range) -> None:
    """Change a download, and wait each time until the menu shows that."""
    for percentage in percentages:
        cache.set_percentage(key, percentage)
        if not settings.WS_MODE:
            engine.evaluate(LOOK)
        engine.wait_for(SHOWS, f"{MENU} progress[value='{percentage}']")


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.usefixtures("transport")
def test_scroll_focus_and_selected_text_stay(
    engine: Engine, visit: Visit, key: str, version: int
) -> None:
    visit(version=version)
    # With the mouse: scrolled, and a text selected.
    engine.click(BUTTON)
    swap(engine, key, range(1, 2))
    assert engine.evaluate(SCROLL, MENU) == 150
    left, top, right = engine.evaluate(
        """(menu) => {
            const box = document.querySelector(`${menu} .download-error`).getBoundingClientRect();
            return [box.left + 2, box.top + 8, box.left + 120].map(Math.round);
        }""",
        MENU,
    )
    engine.move_to(left, top)
    engine.hold()
    engine.move_to(right, top)
    engine.release()
    before = engine.evaluate(PLACE)
    assert before["focus"].startswith("download-")
    assert before["selected"].startswith("The")
    swap(engine, key, range(2, 2 + SWAPS))
    assert engine.evaluate(PLACE) == before
    # With the keyboard: an item far down has the focus.
    engine.click(BUTTON)
    engine.wait_for(HIDES, MENU)
    engine.press("Enter")
    engine.wait_for(SHOWS, f"{MENU} .download-error")
    engine.press(*["Tab"] * 24)
    engine.evaluate("() => delete window.focused")
    before = engine.evaluate(PLACE)
    assert before["focus"].startswith("download-")
    assert engine.evaluate("(menu) => document.querySelector(menu).scrollTop", MENU) > 0
    swap(engine, key, range(2 + SWAPS, 2 + 2 * SWAPS))
    assert engine.evaluate(PLACE) == before


def test_a_click_hits_what_was_pressed_though_the_list_changes_meanwhile(
    engine: Engine, visit: Visit, key: str, user: Any
) -> None:
    visit()
    engine.click(BUTTON)
    swap(engine, key, range(1, 2))
    button = f"{MENU} .download-clear[aria-label='Remove Stock audit']"
    engine.move(button)
    engine.hold()
    # Another download moves the list down.
    cache.init_download(user, "more.csv", "More orders")
    answers = engine.evaluate(ANSWERS)
    engine.evaluate(LOOK)
    engine.wait_for(f"(before) => ({ANSWERS})() > before", answers)
    engine.painted()
    engine.release()
    engine.wait_for(SHOWS, MENU, "More orders")
    engine.wait_for(SHOWS, f"{MENU} .download-container[data-state=failed] .download-removed")
