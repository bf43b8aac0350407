"""What any page names exists: settings, checks, commands, permissions and dotted paths."""

import re
from importlib import import_module

import pytest
from django.core.management import get_commands
from django.utils.module_loading import import_string

from async_downloads import settings
from async_downloads.metrics.instruments import COUNTERS, HISTOGRAMS, OLDEST_WAITING, UNFINISHED
from async_downloads.models import Download, DownloadCollection
from tests.snippets import PAGES, ROOT, Page

pytestmark = pytest.mark.any_database

#: Commands of other packages.
OTHER_COMMANDS = {"rqworker"}

#: What looks like a dotted path: labels of the models, and names of OpenTelemetry.
NOT_PATHS = {
    *("async_downloads.download", "async_downloads.downloadcollection"),
    *(each.dotted for each in (*COUNTERS.values(), *HISTOGRAMS.values())),
    *(OLDEST_WAITING.dotted, UNFINISHED.dotted),
}

every_page = pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.path)


@every_page
def test_the_named_settings_exist(page: Page) -> None:
    named = set(re.findall(r"ASYNC_DOWNLOADS_([A-Z_]*[A-Z])\b", page.text))
    assert named - settings.DEFAULTS.keys() == set()


@every_page
def test_the_named_checks_exist(page: Page) -> None:
    known = set(PAGES["docs/reference/checks.md"].headings)
    assert set(re.findall(r"\b[EW]0\d\d\b", page.text)) - known == set()


@every_page
def test_the_named_commands_exist(page: Page) -> None:
    known = {*get_commands(), *OTHER_COMMANDS}
    known |= set(re.findall(r"management/commands/(\w+)\.py", page.text))
    assert set(re.findall(r"manage\.py (\w+)", page.text)) - known == set()


@every_page
def test_the_named_permissions_exist(page: Page) -> None:
    known = {
        *(
            f"{action}_{model._meta.model_name}"
            for model in (Download, DownloadCollection)
            for action in ("add", "change", "delete", "view")
        ),
        *(code for code, _ in Download._meta.permissions),
    }
    named = set(re.findall(r"\b(?:view|change|delete|add|fetch)_download\w*\b", page.text))
    assert named - known == set()


@every_page
def test_the_named_paths_of_the_package_can_be_imported(page: Page) -> None:
    for path in set(re.findall(r"`(async_downloads(?:\.\w+)+)`", page.text)) - NOT_PATHS:
        if re.search(r"\.[EW]\d{3}$", path):
            continue
        try:
            import_module(path)
        except ImportError:
            import_string(path)


@every_page
def test_the_named_tests_exist(page: Page) -> None:
    named = set(re.findall(r"`(tests/\w+/[\w/]*(?:\.py)?)`", page.text))
    assert {path for path in named if not (ROOT / path).exists()} == set()
