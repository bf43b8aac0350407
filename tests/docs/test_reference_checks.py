"""The page on checks has each of them, with what triggers it and what to do."""

import inspect
import re

import pytest
from django.core.checks.registry import registry

from tests.docs.helpers import sources
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/checks.md"

TEXT = PAGES[PAGE].text

SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))

ID = re.compile(r"async_downloads\.([EW]\d{3})")


def deployed() -> set[str]:
    """Return the ids of the checks that only ``--deploy`` runs, by their source."""
    checks = [
        check
        for check in registry.deployment_checks
        if check.__module__.startswith("async_downloads.checks")
    ]
    assert checks
    return set(ID.findall("".join(map(inspect.getsource, checks))))


def test_each_check_has_a_section() -> None:
    source = "".join(path.read_text() for path in sources("async_downloads/checks"))
    assert set(SECTIONS) == set(ID.findall(source))
    assert sorted(SECTIONS) == sorted(re.findall(r"^### (.*)$", TEXT, re.MULTILINE))


@pytest.mark.parametrize("check", SECTIONS)
def test_each_section_says_what_triggers_it_and_what_to_do(check: str) -> None:
    paragraphs = SECTIONS[check].strip().split("\n\n")
    assert len(paragraphs) == 2, "the first paragraph is the cause, the second is the remedy"


def test_the_checks_are_below_their_headings() -> None:
    parts = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    ids = {
        title: set(re.findall(r"^### (\w+)$", part, re.MULTILINE)) for title, part in parts.items()
    }
    assert all(check.startswith("E") for check in ids["Errors"])
    assert ids["Warnings with --deploy"] == deployed()
    assert set(SECTIONS) == set.union(*ids.values())


def test_the_named_settings_exist() -> None:
    from async_downloads import settings

    django = {"STORAGES", "CACHES", "CHANNEL_LAYERS", "DATABASES", "TEMPLATES", "OPTIONS"}
    django |= {"ASGI_APPLICATION", "MEDIA_ROOT", "MEDIA_URL", "SILENCED_SYSTEM_CHECKS"}
    django |= {"EMAIL_FIELD", "EMAIL_TIMEOUT", "MAILERS", "SITE_ID"}
    # Of the environment.
    django.add("PROMETHEUS_MULTIPROC_DIR")
    names = set(re.findall(r"`([A-Z][A-Z_]+)`", TEXT)) - django
    assert names - {"Q_CLUSTER", "APP_DIRS", "ASYNC_DOWNLOADS_"} <= settings.DEFAULTS.keys()
