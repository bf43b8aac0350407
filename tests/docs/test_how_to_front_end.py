"""docs/how-to/front-end.md."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import ROOT, posted
from tests.factories import DownloadFactory
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/front-end.md"

COVERED = {
    "<ul>\n      <li>": "test_each_base_template_shows_the_centre_in_a_list",
    "navbar-nav ms-auto": "test_each_base_template_shows_the_centre_in_a_list",
    '<ul class="flex': "test_each_base_template_shows_the_centre_in_a_list",
    '@import "tailwindcss"': "test_the_custom_properties_exist",
    "rebeccapurple": "test_the_custom_properties_exist",
    "{% block icon %}": "test_what_is_customised_is_tried_in_a_browser",
    "{% block status %}": "test_what_is_customised_is_tried_in_a_browser",
    '{% extends "base.html" %}': "test_the_page_of_all_is_in_the_layout_of_the_site",
    "Nothing to fetch": "test_a_list_of_your_own",
    "title_count=True": "test_the_count_is_in_the_title",
    "def start_from_htmx": "test_a_view_wakes_the_menu",
    "dispatchEvent": "test_the_event_is_the_one_that_the_page_listens_to",
}

STATIC = ROOT / "async_downloads/static"

Installed = Callable[..., None]


@pytest.fixture
def installed(page: Page, tmp_path: Path, settings: Any) -> Installed:
    """Installs templates of the page, named by a text in each, before those of the tests."""
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]

    def install(*containing: str) -> None:
        for text in containing:
            (block,) = [block for block in page.blocks if text in block.body]
            path = tmp_path / block.file.removeprefix("templates/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body)

    return install


class Tree(HTMLParser):
    """The elements of a page, each with those that it is in."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, markup: str):
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.parents: dict[str, list[str]] = {}
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if name := found.get("id"):
            self.parents[name] = [tag for tag, _ in self.open]
        if tag not in self.VOID:
            self.open.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, (tag, self.open)
        self.open.pop()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "containing", ["<ul>\n      <li>", "navbar-nav ms-auto", '<ul class="flex']
)
def test_each_base_template_shows_the_centre_in_a_list(
    signed_in: Client, installed: Installed, containing: str
) -> None:
    installed(containing, '{% extends "base.html" %}')
    markup = signed_in.get(reverse("async_downloads:download_list")).content.decode()
    tree = Tree(markup)
    assert tree.open == []
    assert tree.parents["async-downloads"][-2:] == ["nav", "ul"] or (
        tree.parents["async-downloads"][-3:] == ["nav", "div", "ul"]
    )
    # The package's own stylesheet comes before those that restyle it, and after Bootstrap's.
    sheets = re.findall(r'rel="stylesheet" href="/static/(.*?)"', markup)
    assert "css/async_downloads.css" in sheets
    assert sheets[-1] == ("css/site.css" if "flex" in containing else "css/async_downloads.css")
    assert 'id="async-downloads"' not in Client().get("/").content.decode()


def test_what_is_said_of_bootstrap_4_is_what_the_browser_tests_use(page: Page) -> None:
    tested = (ROOT / "tests/templates/in_bootstrap.html").read_text()
    sentence = page.text.partition("In Bootstrap 4, write")[2].partition(".")[0]
    for classes in re.findall(r"`([\w -]+)`", sentence):
        assert classes in tested, classes


def test_the_custom_properties_exist(page: Page) -> None:
    stylesheet = (STATIC / "css/async_downloads.css").read_text()
    css = "".join(page.snippets("css"))
    names = set(re.findall(r"(--async-downloads-[\w-]+):", css))
    assert len(names) > 6
    assert [name for name in names if f"{name}:" not in stylesheet] == []
    selector = ".async-downloads-theme"
    assert f"{selector} {{" in css
    # Ours weigh nothing, so that those of a site win.
    assert f":where(#async-downloads, {selector}) {{" in stylesheet
    assert "@layer" not in css + stylesheet
    assert "light-dark(" in stylesheet


def test_what_is_customised_is_tried_in_a_browser() -> None:
    from tests.browser import test_customising

    assert test_customising.PAGE == PAGE
    assert test_customising.TEMPLATES == ("{% block icon %}", "{% block status %}")


@pytest.mark.django_db
def test_the_customised_templates_render(
    signed_in: Client, user: Any, installed: Installed
) -> None:
    installed("{% block icon %}", "{% block status %}")
    DownloadFactory(collection__user=user, running=True, percentage=10)
    assert "<b>My files</b>" in signed_in.get("/").text
    update = reverse("async_downloads:ajax_update")
    markup = signed_in.get(update, headers={"HX-Request": "true"}).text
    assert "Requested 0\xa0minutes ago. In progress" in markup


@pytest.mark.django_db
def test_the_page_of_all_is_in_the_layout_of_the_site(
    signed_in: Client, user: Any, installed: Installed
) -> None:
    installed("<ul>\n      <li>", '{% extends "base.html" %}')
    DownloadFactory(collection__user=user, complete=True, name="All orders")
    markup = signed_in.get(reverse("async_downloads:download_list")).content.decode()
    tree = Tree(markup)
    assert "<title>Downloads</title>" in markup
    assert "main" in tree.parents["async-downloads-all"]
    assert "All orders" in markup


@pytest.mark.django_db
def test_a_list_of_your_own(signed_in: Client, user: Any, installed: Installed) -> None:
    installed("Nothing to fetch")
    update, htmx = reverse("async_downloads:ajax_update"), {"HX-Request": "true"}
    assert "Nothing to fetch." in signed_in.get(update, headers=htmx).text
    complete = DownloadFactory(collection__user=user, complete=True)
    DownloadFactory(collection=complete.collection, running=True)
    markup = signed_in.get(update, headers=htmx).text
    assert f'<a href="{complete.url}">' in markup
    assert "(0 %): In progress" in markup
    assert markup.count('class="download-container" id="download-') == 2


@pytest.mark.django_db
def test_the_count_is_in_the_title(
    page: Page, signed_in: Client, settings: Any, tmp_path: Path
) -> None:
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    (tmp_path / "home.html").write_text(page.snippet("title_count=True"))
    assert " data-title-count>" in signed_in.get("/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_view_wakes_the_menu(rf: RequestFactory, user: Any, quick_start: Any, page: Page) -> None:
    views = quick_start("orders.views", page.placed("def start_from_htmx"))
    response = views.start_from_htmx(posted(rf, user))
    assert len(queues.waiting()) == Download.objects.count() == 1
    assert json.loads(response["HX-Trigger"]) == {"async-downloads:look": {}}


def test_the_event_is_the_one_that_the_page_listens_to(page: Page) -> None:
    (event,) = re.findall(r'new Event\("(.*?)"\)', page.snippet("dispatchEvent"))
    script = (STATIC / "js/async_downloads_centre.js").read_text()
    assert f'listen("{event}", poll)' in script


def test_the_languages_are_those_of_the_catalogs(page: Page) -> None:
    sentence = page.text.partition("The download centre is in English, ")[2].partition(", as")[0]
    names = {
        "German": "de",
        "French": "fr",
        "Hebrew": "he",
        "Spanish": "es",
        "Simplified Chinese": "zh_Hans",
    }
    said = {names[name] for name in re.split(r",? or |, ", sentence)}
    assert said == {path.name for path in (ROOT / "async_downloads/locale").iterdir()}
