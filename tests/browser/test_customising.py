"""What the documentation says of customising, on a page in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from async_downloads import cache
from tests.browser.conftest import PICTURES, take_picture
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.snippets import PAGES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

PAGE = "docs/how-to/front-end.md"

#: A text in each block with a template.
TEMPLATES = ("{% block icon %}", "{% block status %}")


@pytest.fixture
def customised(tmp_path: Path, settings: Any) -> str:
    """Install the templates of the page; returns its style sheet."""
    documented = PAGES[PAGE]
    for containing in TEMPLATES:
        (template,) = [block for block in documented.blocks if containing in block.body]
        path = tmp_path / template.file.removeprefix("templates/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(template.body)
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    return documented.snippet("rebeccapurple")


def test_a_customised_centre_looks_like_the_site_and_still_works(
    page: Page, live_server: Any, user: Any, customised: str
) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name="Customers", size=1_234_567)
    DownloadFactory(collection=collection, running=True, percentage=60, name="Yearly report")
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.set_viewport_size({"width": 600, "height": 380})
    page.goto(live_server.url)
    sheet = f"sheet => {{ sheet.replaceSync({customised!r}); return sheet; }}"
    page.evaluate(f"document.adoptedStyleSheets = [({sheet})(new CSSStyleSheet())]")
    page.get_by_role("button", name="Downloads").click()
    menu = page.locator("#downloads-dropdown")
    expect(page.get_by_text("My files")).to_be_visible()
    assert menu.evaluate("menu => menu.offsetWidth") == 26 * 16
    cache.set_percentage(key, 30)
    orders = menu.locator(".download-container", has_text="Orders")
    expect(orders.get_by_role("progressbar")).to_have_js_property("value", 30)
    expect(orders).to_contain_text("In progress, requested 0\xa0minutes ago")
    take_picture(page, PICTURES / "customised.png")
    page.get_by_role("button", name="Clear Customers").click()
    expect(menu.get_by_text("Customers")).to_have_count(0)
