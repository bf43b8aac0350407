"""The definition of a format."""

import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from async_downloads.formats import Format, Options


def nothing(rows: Any, stream: Any, options: Options) -> int:
    return 0


@pytest.mark.parametrize("extensions", [(), ("html",), (".HTML",), (".html", "")])
def test_invalid_extensions_are_refused(extensions: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"extensions=.* of format 'html'"):
        Format("html", extensions, "text/html", nothing)


def test_a_format_must_have_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        Format("", (".html",), "text/html", nothing)


@pytest.mark.parametrize(
    ("install", "named"), [("", "no_such_module"), ("site[extra]", "site[extra]")]
)
def test_a_missing_package_is_named_with_its_installation(install: str, named: str) -> None:
    found = Format("html", (".html",), "text/html", nothing, "no_such_module", install)
    with pytest.raises(ImproperlyConfigured) as raised:
        found.require()
    assert str(raised.value) == (
        "The format 'html' needs no_such_module, which is not installed. "
        f'Install it with: pip install "{named}".'
    )


def test_the_check_for_a_package_does_not_import_it() -> None:
    module = "this"
    assert module not in sys.modules
    Format("html", (".html",), "text/html", nothing, requires=module).require()
    assert module not in sys.modules
