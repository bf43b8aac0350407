"""The page on settings has each of them, with its default and its checks."""

import re
from typing import Any

import pytest
from django.core.checks import run_checks

from async_downloads import settings as package_settings
from tests.docs.helpers import sources
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/settings.md"

TEXT = PAGES[PAGE].text

#: The text of each setting, by its name.
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))

#: A value that cannot work, by the check that finds it, alone.
WRONG: dict[str, tuple[str, Any]] = {
    "E001": ("COLLECTION_KEY_FORMAT", "the same for all"),
    "E002": ("CACHE_NAME", "missing"),
    "E004": ("PATH_PREFIX", "../elsewhere"),
    "E006": ("MAY_FETCH", "shop.missing"),
    "E007": ("STORAGE", "missing"),
    "E008": ("SERVE", "by hand"),
    "E009": ("SERVE", "redirect"),
    "E010": ("CLEANUP_SCHEDULE", "now and then"),
    "E011": ("DOWNLOAD_TEMPLATE", "missing.html"),
    "E013": ("MAY_START", "shop.missing"),
    "E014": ("RESCUE", "now and then"),
    "E016": ("NOTIFY_AFTER", 300),
    "E017": ("SITE_URL", "shop.example.org"),
    "E019": ("AUDIT", "now and then"),
    "E020": ("AUDIT_ADDRESS", "shop.missing"),
    "E021": ("METRICS", "statsd"),
    "E024": ("MEMBERS", "shop.missing"),
    "E025": ("CSS_CLASS", ["wide"]),
}


def documented_checks(name: str) -> set[str]:
    line = re.search(r"^- Checks: (.*)$", SECTIONS[name], re.MULTILINE)
    return set(re.findall(r"\[(\w+)\]", line[1])) if line else set()


def test_each_setting_has_a_section_with_its_default() -> None:
    defaults = {}
    for name, text in SECTIONS.items():
        (setting,) = re.findall(r"^- Setting: `ASYNC_DOWNLOADS_(\w+)`$", text, re.MULTILINE)
        (default,) = re.findall(r"^- Default: `(.*)`$", text, re.MULTILINE)
        assert re.search(r"^- Accepts: \S", text, re.MULTILINE), name
        assert setting == name
        defaults[name] = eval(default)  # noqa: S307 (our own text)
    assert defaults == package_settings.DEFAULTS


def test_the_named_checks_exist() -> None:
    source = "".join(path.read_text() for path in sources("async_downloads/checks"))
    known = set(re.findall(r"async_downloads\.([EW]\d{3})", source))
    for name, text in SECTIONS.items():
        assert documented_checks(name) <= known, name
        assert set(re.findall(r"checks\.md#(\w+)", text)) <= {one.lower() for one in known}, name


@pytest.mark.parametrize(
    "name",
    [
        "TIMEOUT",
        "STALLED_AFTER",
        "MAX_ATTEMPTS",
        "DATABASE_WAIT",
        "MAX_ACTIVE",
        "MAX_ROWS",
        "MAX_BYTES",
        "STUCK_AFTER",
        "IN_MEMORY_MAX_SIZE_BYTES",
    ],
)
def test_a_number_out_of_range_has_the_check_that_the_page_names(settings: Any, name: str) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", -1)
    messages = run_checks(tags=["async_downloads"])
    found = {str(each.id)[-4:] for each in messages if f"ASYNC_DOWNLOADS_{name} " in each.msg}
    assert found == documented_checks(name) == {"E003"}


@pytest.mark.parametrize(
    "name", ["TIMEOUT", "MAX_ACTIVE", "MAX_ROWS", "MAX_BYTES", "NOTIFY_AFTER", "STUCK_AFTER"]
)
def test_none_is_accepted_where_the_page_says_so(settings: Any, name: str) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", None)
    assert "E003" not in {str(each.id)[-4:] for each in run_checks(tags=["async_downloads"])}
    assert "`None`" in SECTIONS[name]


@pytest.mark.parametrize("check", WRONG)
def test_a_wrong_value_has_the_check_that_the_page_names(settings: Any, check: str) -> None:
    name, value = WRONG[check]
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", value)
    assert check in {str(each.id)[-4:] for each in run_checks(tags=["async_downloads"])}
    assert check in documented_checks(name)
