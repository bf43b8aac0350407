"""The page on templates has each file, block, variable and tag that a site may use."""

import re
from typing import Any

import pytest
from django.template import Context, Template
from django.template.loader import get_template
from django.test import Client
from django.urls import reverse

from async_downloads.templatetags.async_downloads import register
from tests.docs.helpers import ROOT, rows_of, table
from tests.factories import DownloadFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/templates.md"

TEXT = PAGES[PAGE].text

FOLDER = ROOT / "async_downloads/templates/async_downloads"

#: Templates whose names are not for a site to use.
INTERNAL = {
    "clear_finished.html",
    "download_list_part.html",
    "fragment.html",
    "isolation.html",
    "keep.html",
    "list.html",
    "retry.html",
    "script.html",
}


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def names(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", "".join(row[0] for row in text)))


def test_the_table_has_each_template() -> None:
    rows = rows_of(TEXT, "| template | what it is | blocks |")
    documented = [name.strip("`") for name, _, _ in rows]
    files = {*FOLDER.glob("*.html"), *FOLDER.glob("mail/*")}
    assert set(documented) == {path.relative_to(FOLDER).as_posix() for path in files} - INTERNAL


def test_the_table_has_each_block() -> None:
    for name, _, blocks in rows_of(TEXT, "| template | what it is | blocks |"):
        source = (FOLDER / name.strip("`")).read_text()
        found = re.findall(r"{% block (\w+) %}", source)
        assert found == re.findall(r"`(\w+)`", blocks), name


@pytest.mark.django_db
def test_each_download_has_the_names_of_the_table(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user)
    DownloadFactory(collection__user=user, running=True)
    documented = names(rows_of(section("The list"), "| name | meaning |"))
    assert len(documented) > 10
    response = signed_in.get(reverse("async_downloads:download_list"))
    downloads = response.context["downloads"]
    assert len(downloads) == 2
    for download in downloads:
        assert {name for name in documented if not hasattr(download, name)} == set()


@pytest.mark.django_db
def test_the_list_gets_the_variables_of_the_table(
    signed_in: Client, user: Any, settings: Any
) -> None:
    # Otherwise the items may be kept, and nothing is rendered.
    settings.DEBUG = True
    DownloadFactory(collection__user=user, complete=True)
    documented = names(rows_of(section("The list"), "| variable | meaning |"))
    for headers in ({}, {"HX-Request": "true"}):
        response = signed_in.get(reverse("async_downloads:ajax_update"), headers=headers)
        (context,) = [
            used
            for template, used in pairs(response)
            if template == "async_downloads/downloads.html"
        ]
        assert {name for name in documented if name not in context} == set()


def pairs(response: Any) -> list[tuple[str, Any]]:
    """Return each rendered template with its context."""
    return [
        (template.name, context)
        for template, context in zip(response.templates, response.context, strict=False)
    ]


@pytest.mark.django_db
def test_the_page_of_all_gets_the_variables_of_the_table(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    response = signed_in.get(reverse("async_downloads:download_list"))
    documented = names(rows_of(section("The page of all downloads"), "| variable | meaning |"))
    assert {name for name in documented if name not in response.context} == set()
    assert f'id="listed-download-{download.pk}"' in response.content.decode()


def test_the_table_has_each_tag() -> None:
    tags = set(re.findall(r"{% (\w+)", table(section("Tags"), "| tag | result |")))
    assert tags - {"endremembered"} == register.tags.keys()


@pytest.mark.django_db
def test_the_menu_shows_what_the_table_says(user: Any) -> None:
    source = "{% load async_downloads %}{% download_centre as centre %}"
    context = Context({"user": user})
    Template(source).render(context)
    assert names(rows_of(section("Tags"), "| name | meaning |")) == context["centre"].keys()
    centre = get_template("async_downloads/download_centre.html")
    assert "data-title-count" in centre.render({"user": user, "title_count": True})
    assert "data-title-count" not in centre.render({"user": user})
