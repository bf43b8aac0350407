"""The documented ways of customising, on a page in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Page, expect

from async_downloads import cache
from tests import services
from tests.browser.conftest import PICTURES, take_picture
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.snippets import PAGES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

PAGE = "docs/how-to/front-end.md"

#: A text in each template of the documentation's page.
TEMPLATES = ("{% block icon %}", "{% block status %}")


#: The look of the site around the download centre, for the picture.
SITE = """
body { margin: 0; background: #f7f3fb; font: 1rem/1.5 Georgia, serif; }
nav { padding: 0.5rem 1rem; background: rebeccapurple; color: #fff; }
nav ul { display: flex; justify-content: flex-end; margin: 0; padding: 0; list-style: none; }
body > :not(nav) { margin: 1.5rem; }
.async-downloads-centre { --async-downloads-on-accent: rebeccapurple; }
.async-downloads-count { background: #ffd54a !important; }
.async-downloads-menu { --async-downloads-on-accent: #fff; font-family: Georgia, serif; }
"""


@pytest.fixture
def customised(tmp_path: Path, settings: Any) -> str:
    """Install the templates of the documentation's page, and return its stylesheet."""
    documented = PAGES[PAGE]
    for containing in TEMPLATES:
        (template,) = [block for block in documented.blocks if containing in block.body]
        path = tmp_path / template.file.removeprefix("templates/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(template.body)
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    return documented.snippet("rebeccapurple")


@pytest.mark.pictures
def test_a_customised_centre_looks_like_the_site_and_still_works(
    page: Page, live_server: Any, user: Any, customised: str
) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True, name="Customers", size=1_234_567)
    DownloadFactory(collection=collection, running=True, percentage=60, name="Yearly report")
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.set_viewport_size({"width": 720, "height": 500})
    page.goto(live_server.url)
    sheet = f"sheet => {{ sheet.replaceSync({SITE + customised!r}); return sheet; }}"
    page.evaluate(f"document.adoptedStyleSheets = [({sheet})(new CSSStyleSheet())]")
    page.get_by_role("button", name="Downloads").click()
    menu = page.locator("#downloads-dropdown")
    expect(page.get_by_text("My files")).to_be_visible()
    assert menu.evaluate("menu => menu.offsetWidth") == 26 * 16
    cache.set_percentage(key, 30)
    orders = menu.locator(".download-container", has_text="Orders")
    expect(orders.get_by_role("progressbar")).to_have_js_property("value", 30)
    expect(orders).to_contain_text("Requested 0\xa0minutes ago. In progress")
    take_picture(page, PICTURES / "customised.png")
    page.get_by_role("button", name="Remove Customers").click()
    expect(menu.get_by_text("Customers")).to_have_count(0)


@pytest.fixture
def served(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """Return a folder whose files the site serves as static files."""
    settings.STATICFILES_DIRS = [tmp_path / "static"]
    finders.get_finder.cache_clear()
    yield tmp_path / "static"
    finders.get_finder.cache_clear()


def framework(name: str) -> str:
    """Return the stylesheet of a site, without the utility classes that Tailwind generates."""
    if name == "none":
        return ""
    paths = {"bootstrap-5": "dist/css/bootstrap.min.css", "tailwindcss": "preflight.css"}
    path = services.node_modules() / name / paths[name]
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    if name == "bootstrap-5":
        return path.read_text()
    # Layers as in Tailwind's build, with what can affect the download centre.
    theme = (path.parent / "theme.css").read_text().replace("@theme default", ":root")
    own = PAGES[PAGE].snippet('@import "tailwindcss"').partition(":root")
    return f"{theme}\n@layer base {{ {path.read_text()} }}\n{own[1]}{own[2]}"


@pytest.mark.parametrize(
    ("containing", "name", "path"),
    [
        ("<ul>\n      <li>", "none", "css/site.css"),
        ("navbar-nav ms-auto", "bootstrap-5", "bootstrap/css/bootstrap.min.css"),
        ('<ul class="flex', "tailwindcss", "css/site.css"),
    ],
)
@pytest.mark.parametrize("dark", [False, True])
def test_each_layout_of_the_page_has_a_menu_below_its_button(
    page: Page,
    live_server: Any,
    user: Any,
    settings: Any,
    tmp_path: Path,
    served: Path,
    containing: str,
    name: str,
    path: str,
    dark: bool,
) -> None:
    sheet = served / path
    sheet.parent.mkdir(parents=True)
    sheet.write_text(framework(name))
    markup = PAGES[PAGE].snippet(containing)
    if dark:
        # Each framework has its own way: a class, an attribute, or the whole page.
        markup = markup.replace('data-bs-theme="light"', 'data-bs-theme="dark"')
        markup = markup.replace('<html lang="en">', '<html lang="en" class="dark">')
        if name == "none":
            meta = '<meta name="color-scheme" content="dark">'
            markup = markup.replace("</head>", f"{meta}</head>")
    (tmp_path / "home.html").write_text(markup)
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    DownloadFactory(collection__user=user, running=True, percentage=60, name="Yearly report")
    page.goto(live_server.url)
    button = page.get_by_role("button", name="Downloads")
    button.click()
    menu = page.locator("#downloads-dropdown")
    expect(menu.get_by_role("progressbar")).to_be_visible()
    above, below = button.bounding_box(), menu.bounding_box()
    assert above is not None
    assert below is not None
    assert below["y"] >= above["y"] + above["height"]
    assert below["width"] == 24 * 16
    assert (
        menu.evaluate("menu => getComputedStyle(menu.querySelector('.progress')).height") == "4px"
    )
    text = menu.evaluate(
        "menu => { const canvas = document.createElement('canvas').getContext('2d');"
        " canvas.fillStyle = getComputedStyle(menu).color; canvas.fillRect(0, 0, 1, 1);"
        " return canvas.getImageData(0, 0, 1, 1).data[0]; }"
    )
    assert (text > 128) is dark
