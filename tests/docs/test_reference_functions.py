"""The page on functions has each documented name."""

import re
from importlib import import_module
from typing import Any

import pytest
from django.utils.module_loading import import_string

from tests.docs.helpers import rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/functions.md"

TEXT = PAGES[PAGE].text

#: Modules whose public names are all on the page.
WHOLE = ("audit", "cache", "shortcuts", "exports", "formats", "tasks", "exceptions")


def documented(text: str) -> dict[str, Any]:
    """Return what the directives of Sphinx document, by the dotted path."""
    module, found = "", {}
    for kind, name in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", text, re.MULTILINE):
        if kind == "currentmodule":
            module = name
        else:
            path = name if "." in name else f"{module}.{name}"
            found[path] = import_string(path)
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_the_page_has_each_public_name(name: str) -> None:
    module = f"async_downloads.{name}"
    own = {
        path.removeprefix(f"{module}.")
        for path in documented(TEXT)
        if path.rpartition(".")[0] == module
    }
    assert own == set(import_module(module).__all__)


def test_each_name_has_a_docstring() -> None:
    for path, value in documented(TEXT).items():
        assert (value.__doc__ or "").strip(), path


def test_the_named_routes_exist() -> None:
    for name, _ in rows_of(TEXT, "| name | what it is |"):
        try:
            assert import_module(name.strip("`"))
        except ImportError:
            assert import_string(name.strip("`"))
