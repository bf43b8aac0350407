"""docs/how-to/testing.md."""

import re
from typing import Any

import pytest
from django.test import Client

from async_downloads.executors import enqueuer_for
from async_downloads.testing import conformance
from async_downloads.testing.running import FinishedDownload
from tests import jobs
from tests.docs.helpers import ROOT, executed, problems, table
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/testing.md"

COVERED = {
    "django-async-downloads[testing]": "test_the_extra_exists",
    "[pytest]": "test_pytest_finds_the_settings",
    'pytest_plugins = ["async_downloads.testing"]': "test_the_plugin_is_named",
    "def test_an_open_order": "test_the_tests_of_a_task_pass",
    "\npytest\n": "test_pytest_is_run",
    "def test_the_button_starts": "test_the_test_of_a_view_passes",
    'DATABASES["default"]["TEST"]': "test_the_settings_satisfy_the_checks",
    "class TestOurQueue": "test_a_queue_is_put_to_the_suite",
    "pytest tests/test_queue.py": "test_pytest_is_run",
}


def test_the_extra_exists(page: Page) -> None:
    (extra,) = re.findall(r"django-async-downloads\[([\w-]+)\]", page.snippet("pip install"))
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def test_pytest_finds_the_settings(page: Page) -> None:
    # A new site, in tests/faults/test_how_to_pages.py, has a module of this name.
    assert page.snippet("[pytest]").splitlines()[1] == "DJANGO_SETTINGS_MODULE = mysite.settings"


def test_the_plugin_is_named(page: Page) -> None:
    from tests import conftest

    names = executed(page.snippet("pytest_plugins = "))
    assert names["pytest_plugins"] == conftest.pytest_plugins


def test_pytest_is_run(page: Page) -> None:
    files = {block.file for block in page.blocks}
    for body in page.snippets("console"):
        for line in body.splitlines():
            command, *paths = line.split()
            assert command in {"pip", "pytest"}
            assert command == "pip" or set(paths) <= files


def test_the_tests_of_a_task_pass(quick_start: Any, run_download: Any, page: Page) -> None:
    names = executed(page.placed("def test_an_open_order"))
    tests = [function for name, function in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test(run_download)


def test_the_test_of_a_view_passes(
    quick_start: Any, page: Page, settings: Any, transactional_db: None, admin_user: Any
) -> None:
    tutorial = next(block for block in page.continues if block.file == "mysite/urls.py")
    quick_start("mysite.urls", tutorial.body)
    settings.ROOT_URLCONF = "mysite.urls"
    client = Client()
    client.force_login(admin_user)
    names = executed(page.placed("def test_the_button_starts"))
    names["test_the_button_starts_an_export"](None, client, admin_user)


def test_the_settings_satisfy_the_checks(as_documented: Any, settings: Any) -> None:
    documented = as_documented()
    assert documented["DATABASES"]["default"]["TEST"]["NAME"].name == "test.sqlite3"
    # W005: nothing is said of a shared cache, which tests need not have.
    names = {"Q_CLUSTER", "MEDIA_ROOT", "LOGIN_URL"}
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []


def test_a_queue_is_put_to_the_suite(quick_start: Any, page: Page) -> None:
    quick_start("mysite.celery").app = jobs.celery_app
    names = executed(page.placed("class TestOurQueue"))
    enqueuer_for(names["conform"])
    cases = [name for name in dir(names["TestOurQueue"]) if name.startswith("test_")]
    assert len(cases) == 17
    sentence = page.text.partition("suite of seventeen cases, such as")[2].partition(".\n")[0]
    quoted = re.findall(r'"([a-z ]+)"', sentence)
    assert len(quoted) == 3
    for case in quoted:
        assert f"test_{case.replace(' ', '_')}" in cases
    assert conformance.MAX_STALLED_AFTER == 10
    assert "above ten seconds" in page.text


def test_a_finished_download_has_what_the_table_says(page: Page) -> None:
    names = re.findall(r"`(?:finished)?\.(\w+)`", table(page.text, "| what it returns"))
    assert len(names) == 8
    assert [name for name in names if not hasattr(FinishedDownload, name)] == []
