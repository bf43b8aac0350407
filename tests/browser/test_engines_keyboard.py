"""The download centre by keyboard, in each engine."""

from typing import Any

import pytest

from tests.browser.conftest import BUTTON, HIDES, MENU, SHOWS, Visit
from tests.browser.engines import Engine
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

FOCUSED = "(selector) => document.activeElement.matches(selector)"
INSIDE = "(menu) => document.querySelector(menu).contains(document.activeElement)"


@pytest.fixture
def download(user: Any) -> Any:
    """Create a complete download."""
    return DownloadFactory(collection__user=user, complete=True, name="Orders")


@pytest.mark.usefixtures("download")
@pytest.mark.parametrize("width", [360, 1280])
def test_the_tab_key_reaches_the_menu_after_a_click_and_escape_returns_to_the_button(
    engine: Engine, visit: Visit, width: int
) -> None:
    engine.resize(width, 800)
    visit()
    engine.click(BUTTON)
    engine.wait_for(SHOWS, f"{MENU} .download-get")
    engine.press("Tab")
    assert engine.evaluate(INSIDE, MENU)
    engine.press("Escape")
    engine.wait_for(HIDES, MENU)
    assert engine.evaluate(FOCUSED, BUTTON)


def test_a_download_is_fetched_and_removed_by_keyboard(
    engine: Engine, visit: Visit, download: Any
) -> None:
    visit()
    press_tab_until(engine, BUTTON)
    engine.press("Enter")
    engine.wait_for(SHOWS, f"{MENU} .download-get")
    press_tab_until(engine, f"{MENU} .download-get")
    engine.press("Enter")
    assert engine.downloaded(download.filename) == b"a,b\n"
    press_tab_until(engine, f"{MENU} .download-clear")
    engine.press("Enter")
    # The focus moves to what undoes it.
    engine.wait_for(FOCUSED, f"{MENU} .download-removed button")
    engine.press("Enter")
    engine.wait_for(FOCUSED, f"{MENU} .download-clear")
    engine.press("Escape")
    engine.wait_for(HIDES, MENU)
    assert engine.evaluate(FOCUSED, BUTTON)


def press_tab_until(engine: Engine, selector: str) -> None:
    """Press the tab key until an element has the focus."""
    for _ in range(10):
        engine.press("Tab")
        if engine.evaluate(FOCUSED, selector):
            return
    raise AssertionError(f"{engine.name}: ten tabs do not reach {selector}")
