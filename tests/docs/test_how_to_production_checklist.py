"""The checklist names commands and settings that exist."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands

from async_downloads import settings as package_settings
from tests.demo.commands import SECRET, check
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


def test_the_demo_passes_the_checks(tmp_path: Path) -> None:
    (path,) = re.findall(r"`(demo/[\w/]+\.py)`", CHECKLIST.text)
    assert (ROOT / path).is_file()
    environ = {"DEMO_ALLOWED_HOSTS": "shop.example.org", "DEMO_VAR": str(tmp_path)}
    module = path.removesuffix(".py").replace("/", ".")
    checked = check(DJANGO_SETTINGS_MODULE=module, DEMO_SECRET_KEY=SECRET, **environ)
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


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
