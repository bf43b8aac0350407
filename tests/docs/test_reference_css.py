"""The page on CSS has each custom property, and classes and ids that exist."""

import re

import pytest

from tests.docs.helpers import ROOT, rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/css.md"

TEXT = PAGES[PAGE].text

PACKAGE = ROOT / "async_downloads"

STYLESHEET = (PACKAGE / "static/css/async_downloads.css").read_text()

#: What the pages are made of: markup, and the script that sets some classes.
SOURCES = [
    path.read_text()
    for path in (
        *(PACKAGE / "templates/async_downloads").glob("*.html"),
        PACKAGE / "static/js/async_downloads_centre.js",
        PACKAGE / "static/js/async_downloads_list.js",
    )
]

#: What the interface of 0.6 has, and sites have rules for.
CONTRACT = {
    *("#async-downloads", "#downloads-dropdown", ".in-progress", ".download-container"),
    *(".download-content", ".download", ".download-name", ".download-timestamp"),
    *(".download-clear", ".progress", ".progress-bar"),
}


def documented() -> set[str]:
    rows = [*rows_of(TEXT, "| id | element |"), *rows_of(TEXT, "| class | element |")]
    return {row[0].strip("`") for row in rows}


def test_the_table_has_each_property_with_its_default() -> None:
    rows = rows_of(TEXT, "| property | default | what it is |")
    found = re.findall(r"^\s*(--async-downloads-[\w-]+): (.*);$", STYLESHEET, re.MULTILINE)
    # The later value of a property is the one for browsers with light-dark().
    assert {name.strip("`"): value.strip("`") for name, value, _ in rows} == dict(found)


@pytest.mark.parametrize("name", sorted(documented()))
def test_a_class_or_id_is_in_the_pages(name: str) -> None:
    kind, word = name[0], re.escape(name[1:])
    text = "\n".join(SOURCES)
    attribute = (
        r'id="(?:[^"]*[\s}])?%s(?:{{ centre.suffix }})?"'
        if kind == "#"
        else r'class="[^"]*(?<![\w-])%s(?![\w-])'
    )
    in_script = rf'classList\.toggle\("{word}"'
    assert re.search(attribute % word, text) or re.search(in_script, text)


def test_the_page_has_the_names_of_the_interface_of_0_6() -> None:
    assert documented() >= CONTRACT


def test_a_class_that_the_stylesheet_styles_is_documented() -> None:
    rules = re.sub(r"/\*.*?\*/", " ", STYLESHEET, flags=re.DOTALL)
    selectors = " ".join(re.findall(r"([^{};]*)\{", rules))
    styled = set(
        re.findall(r"(?<![\w-])[.#](?:(?:async-)?downloads?|is|has)(?:-[\w-]+)?", selectors)
    )
    assert len(styled) > 30
    assert styled <= documented()
