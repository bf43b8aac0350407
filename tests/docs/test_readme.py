"""The README: short, true, and readable on a package index."""

import re
import tomllib
from typing import Any

import pytest
from django.core.management import get_commands
from django.template import Context, Template
from django.urls import URLResolver

from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import ROOT, content, posted, problems, rows_of
from tests.factories import OrderFactory
from tests.snippets import PAGES, QUICK_START

pytestmark = pytest.mark.any_database

PAGE = "README.md"

README = PAGES[PAGE]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Each block is named by a text in it, with the test that runs it. All of the quick start runs
# once more on a new site, in tests/faults/test_quick_start.py.
COVERED = {
    "nox -s demo": "test_the_commands_exist",
    "nox -s tests": "test_the_commands_exist",
    "pip install django-async-downloads\n": "test_the_quick_start_is_followed",
    "INSTALLED_APPS +=": "test_the_settings_satisfy_the_checks",
    "class Customer": "test_the_quick_start_exports_orders",
    "def export_orders": "test_the_quick_start_exports_orders",
    "def start_export": "test_the_quick_start_exports_orders",
    "urlpatterns = [": "test_the_urls_lead_to_the_package_and_to_the_views",
    "{% load static %}": "test_the_page_shows_the_download_centre",
    "manage.py migrate": "test_the_quick_start_is_followed",
    "manage.py qcluster": "test_the_quick_start_is_followed",
    "manage.py runserver": "test_the_quick_start_is_followed",
}


def test_it_is_short() -> None:
    assert len(README.text.splitlines()) < 200


def test_links_and_pictures_work_outside_the_repository() -> None:
    # That they lead to files of the project: tests/docs/test_snippets.py.
    targets = re.findall(r"\]\(([^)]+)\)", README.text)
    assert len(targets) > 5
    assert [target for target in targets if not target.startswith("https://")] == []
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.text)
    assert pictures
    for picture in pictures:
        # "blob" is the address of a page about the picture.
        assert "/raw/main/" in picture
        assert (ROOT / picture.partition("/raw/main/")[2]).stat().st_size > 0


def test_the_table_lists_every_requirement_and_extra() -> None:
    rows = rows_of(README.text, "| | supported | install |")
    extras = re.findall(r"`django-async-downloads\[([\w-]+)\]`", str(rows))
    assert sorted(extras) == sorted(PROJECT["optional-dependencies"])
    supported = {name: text for name, text, _ in rows}
    assert PROJECT["requires-python"] == f">={supported['Python'].split()[0]}"
    assert f"django>={supported['Django'].split()[0]}" in PROJECT["dependencies"]


def test_the_commands_exist() -> None:
    typed = "\n".join(README.snippets("console"))
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE)
    assert {"demo", "tests"} == set(re.findall(r"nox -s (\w+)", typed)) & set(sessions)
    assert set(re.findall(r"manage\.py (\w+)", typed)) <= get_commands().keys()
    assert PROJECT["name"] == "django-async-downloads"


def test_the_quick_start_is_followed() -> None:
    from tests.faults import test_quick_start

    assert test_quick_start.test_the_quick_start_ends_with_a_file
    followed = README.in_chapter(QUICK_START)
    assert {block.chapter for block in README.blocks} - {QUICK_START} == {"Try it"}
    assert [block for block in followed if not (block.in_the_site or block.terminal)] == []


def test_the_settings_satisfy_the_checks(as_documented: Any, settings: Any) -> None:
    documented = as_documented()
    assert {"django_htmx", "django_q", "async_downloads"} <= set(documented["INSTALLED_APPS"])
    names = re.findall(r"^([A-Z_]+) = ", README.snippet("INSTALLED_APPS +="), re.MULTILINE)
    # Of these, --deploy wants more: the cache and the storage of a new site are Django's defaults.
    assert problems(settings, documented, names, ignored=["W004", "W005", "W007"]) == []
    options = documented["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert documented["Q_CLUSTER"]["retry"] > documented["Q_CLUSTER"]["timeout"]


def test_the_urls_lead_to_the_package_and_to_the_views(quick_start: Any) -> None:
    urls = quick_start("mysite.urls", README.placed("urlpatterns = ["))
    (included,) = [each for each in urls.urlpatterns if str(each.pattern) == "async_downloads/"]
    assert isinstance(included, URLResolver)
    assert included.namespace == "async_downloads"
    names = {getattr(each, "name", None) for each in urls.urlpatterns}
    assert {"home", "start_export"} <= names


@pytest.mark.django_db
def test_the_page_shows_the_download_centre(user: Any) -> None:
    # The site of the tests has no view of this name.
    body = README.snippet("{% load static %}").replace("{% url 'start_export' %}", "")
    html = Template(body).render(Context({"user": user, "csrf_token": "a-token"}))
    assert 'id="async-downloads"' in html
    assert "/static/css/async_downloads.css" in html
    assert 'name="csrfmiddlewaretoken" value="a-token"' in html


@pytest.mark.django_db(transaction=True)
def test_the_quick_start_exports_orders(user: Any, rf: Any, quick_start: Any) -> None:
    views = quick_start("orders.views", README.placed("def start_export"))
    order = OrderFactory(status="open")
    OrderFactory(status="shipped")
    assert views.start_export(posted(rf, user)).status_code == 302
    queues.run_waiting()
    rows = content(Download.objects.get()).splitlines()
    assert rows == ["Reference,Customer,Total", f"{order.reference},{order.customer.name},19.90"]
