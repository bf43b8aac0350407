"""The page on testing names what there is."""

import re

import pytest
from django.utils.module_loading import import_string

from async_downloads import testing
from tests.docs.test_reference_functions import documented
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/testing.md"

TEXT = PAGES[PAGE].text


def test_each_documented_name_has_a_docstring() -> None:
    found = documented(TEXT)
    assert {path.rpartition(".")[2] for path in found} == {
        *("RunDownload", "FinishedDownload"),
        *("Worker", "ExecutorConformance", "perform", "aperform"),
    }
    for value in found.values():
        assert value.__doc__


def test_the_fixture_is_the_one_of_the_plugin() -> None:
    (name,) = re.findall(r'pytest_plugins = \["([\w.]+)"\]', TEXT)
    assert name == testing.__name__
    (fixture,) = re.findall(r"^## Fixture\n\n`(\w+)`", TEXT, re.MULTILINE)
    assert import_string(f"{name}.{fixture}")
