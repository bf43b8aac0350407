"""The checklist names commands and settings that exist."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import get_commands

from async_downloads import settings as package_settings
from tests.demo import test_production
from tests.docs.helpers import ROOT, problems
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/production-checklist.md"

CHECKLIST = PAGES[PAGE]

COVERED = {
    "manage.py check --deploy": "test_the_demo_passes_the_checks",
    "pip install redis": "test_the_cache_satisfies_the_checks",
    "CACHES = {": "test_the_cache_satisfies_the_checks",
}


def test_the_demo_passes_the_checks() -> None:
    assert test_production.test_nothing_is_wrong_with_them
    assert "demo/settings/production.py" in CHECKLIST.text
    assert (ROOT / "demo/settings/production.py").is_file()


def test_the_cache_satisfies_the_checks(
    as_documented: Callable[..., dict[str, Any]], settings: Any
) -> None:
    documented = as_documented("CACHES = {")
    assert problems(settings, documented, ["CACHES", "ASYNC_DOWNLOADS_CACHE_NAME"]) == []
    # Without the time limits, the check that the page names says so.
    del documented["CACHES"]["default"]["OPTIONS"]
    (problem,) = problems(settings, documented, ["CACHES"])
    assert problem.id == "async_downloads.W006"


def test_the_commands_and_settings_exist() -> None:
    assert set(re.findall(r"manage\.py (\w+)", CHECKLIST.text)) <= get_commands().keys()
    names = set(re.findall(r"ASYNC_DOWNLOADS_(\w+)", CHECKLIST.text))
    assert names <= package_settings.DEFAULTS.keys()
