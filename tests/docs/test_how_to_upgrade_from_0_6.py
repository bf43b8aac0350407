"""The upgrade from 0.6; tests/faults/test_moving_over.py follows it on a real site."""

import re

import pytest
from django.core.management import get_commands, load_command_class

from async_downloads import settings as package_settings
from tests.docs.helpers import ROOT
from tests.faults import test_moving_over
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/upgrade-from-0.6.md"

UPGRADE = PAGES[PAGE]

COVERED = {
    "adopt_downloads --dry-run": "test_the_commands_and_settings_exist",
    "async_downloads zero": "test_the_commands_and_settings_exist",
}


def test_the_commands_and_settings_exist() -> None:
    assert test_moving_over
    assert set(re.findall(r"manage\.py (\w+)", UPGRADE.text)) <= get_commands().keys()
    names = set(re.findall(r"ASYNC_DOWNLOADS_(\w+)", UPGRADE.text))
    assert names
    assert names <= package_settings.DEFAULTS.keys()
    options = set(re.findall(r"(?<=[` ])--(?:dry-run|owner|collection)", UPGRADE.text))
    assert len(options) == 3
    parser = load_command_class("async_downloads", "adopt_downloads").create_parser("manage.py", "")
    assert options <= parser._option_string_actions.keys()


def test_the_linked_test_exists() -> None:
    paths = re.findall(r"`(tests/\S+)`", UPGRADE.text)
    assert paths
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    version = re.findall(r"django-async-downloads==([\d.]+)", UPGRADE.text)
    assert version == ["0.6.0"]
