"""The tutorial ends with the site of the quick start, and quotes what people read.

tests/faults/test_tutorial.py follows all of it on a new site.
"""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from async_downloads import store
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import queues
from tests.docs.helpers import content, executed
from tests.factories import OrderFactory
from tests.faults import followed, test_tutorial
from tests.snippets import PAGES, QUICK_START, Block, file_after

pytestmark = pytest.mark.any_database

PAGE = "docs/tutorial/first-export.md"

TUTORIAL = PAGES[PAGE]

COVERED = {
    "pip install django-async-downloads\n": "test_the_tutorial_is_followed",
    "INSTALLED_APPS +=": "test_it_ends_with_the_site_of_the_quick_start",
    "class Customer": "test_it_ends_with_the_site_of_the_quick_start",
    "def export_orders": "test_each_version_of_the_task_ends_as_it_says",
    "def start_export": "test_it_ends_with_the_site_of_the_quick_start",
    "urlpatterns = [": "test_it_ends_with_the_site_of_the_quick_start",
    "{% load static %}": "test_it_ends_with_the_site_of_the_quick_start",
    "manage.py makemigrations": "test_the_tutorial_is_followed",
    "manage.py check": "test_the_tutorial_is_followed",
    "manage.py qcluster": "test_the_tutorial_is_followed",
    "manage.py runserver": "test_the_tutorial_is_followed",
    "ada = Customer.objects.get()": "test_the_tutorial_is_followed",
}


def test_the_tutorial_is_followed() -> None:
    assert test_tutorial.test_the_tutorial_watches_cancels_and_fails
    assert [block for block in TUTORIAL.blocks if not (block.in_the_site or block.terminal)] == []
    chapters = list(dict.fromkeys(block.chapter for block in TUTORIAL.blocks))
    assert chapters == [*followed.SETTING_UP, *followed.BREAKING]


def settings_of(folder: Path, blocks: list[Block]) -> dict[str, Any]:
    path = folder / "mysite/settings.py"
    names = executed(path.read_text(), __file__=str(path))
    names = executed(file_after("mysite/settings.py", blocks), **names)
    return {name: value for name, value in names.items() if name.isupper()}


def test_it_ends_with_the_site_of_the_quick_start(tmp_path: Path) -> None:
    # So a page that continues the one site continues the other.
    quick_start = PAGES["README.md"].in_chapter(QUICK_START)
    files = {block.file for block in quick_start} - {""}
    assert files == {block.file for block in TUTORIAL.blocks} - {""}
    for name in files - {"mysite/settings.py"}:
        assert file_after(name, TUTORIAL.blocks) == file_after(name, quick_start), name
    call_command("startproject", "mysite", str(tmp_path))
    blocks = list(TUTORIAL.blocks)
    assert settings_of(tmp_path, blocks) == settings_of(tmp_path, quick_start)


@pytest.mark.django_db(transaction=True)
def test_each_version_of_the_task_ends_as_it_says(
    user: Any, quick_start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for number in (199, 200):
        OrderFactory(reference=f"R{number}", status="open", customer__name="Ada")
    tasks = [block for block in TUTORIAL.blocks if block.file == "orders/tasks.py"]
    ends = []
    for block in tasks:
        task = quick_start("orders.tasks", block.body).export_orders
        _, key = start_download(task, user, "orders.csv", "Open orders", args=["open"])
        queues.run_waiting()
        ends.append(Download.objects.get(pk=key))
    first, broken, explained, last = ends
    assert content(first) == content(last)
    assert content(last) == "Reference,Customer,Total\nR199,Ada,19.90\nR200,Ada,19.90\n"
    assert f"> {broken.error_text}\n" in TUTORIAL.text
    assert f"> {explained.error_text}\n" in TUTORIAL.text
    assert broken.error_detail.strip().splitlines()[-1] in TUTORIAL.text


@pytest.mark.django_db(transaction=True)
def test_a_failed_export_is_built_with_the_corrected_task(
    user: Any, quick_start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    OrderFactory(reference="R200", status="open", customer__name="Ada")
    _, broken, _, corrected = (
        block.body for block in TUTORIAL.blocks if block.file == "orders/tasks.py"
    )
    task = quick_start("orders.tasks", broken).export_orders
    start_download(task, user, "orders.csv", "Open orders", args=["open"])
    queues.run_waiting()
    download = Download.objects.select_related("collection__user").get()
    assert download.failed
    quick_start("orders.tasks", corrected)
    assert store.retry(download)
    queues.run_waiting()
    assert content(Download.objects.get()) == "Reference,Customer,Total\nR200,Ada,19.90\n"
