"""What the tests of several pages need."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib.messages.storage.cookie import CookieStorage
from django.core.checks import CheckMessage, run_checks
from django.http import HttpRequest
from django.test import RequestFactory

from async_downloads.files import storage
from async_downloads.models import Download
from tests.snippets import ROOT

__all__ = ["ROOT", "content", "executed", "posted", "problems", "rows_of", "table"]


def executed(body: str, **names: Any) -> dict[str, Any]:
    """Execute a snippet, and return the names that it leaves."""
    exec(compile(body, "snippet", "exec"), names)  # noqa: S102 (our own text)
    return names


def posted(rf: RequestFactory, user: Any, data: dict[str, Any] | None = None) -> HttpRequest:
    """Return a POST request of a user who has signed in; messages go to `request._messages`."""
    request: HttpRequest = rf.post("/start/", data)
    request.user = user
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return request


def content(download: Download, encoding: str = "utf-8") -> str:
    """Return the file of a complete download as a text."""
    assert download.complete, download.error_detail
    with storage.storage().open(download.filepath) as file:
        return str(file.read().decode(encoding))


def problems(
    settings: Any, documented: dict[str, Any], names: Iterable[str], ignored: Iterable[str] = ()
) -> list[CheckMessage]:
    """Apply documented settings, and return what the package's checks say, `--deploy` included.

    Args:
        settings: The fixture of pytest-django.
        documented: The settings of a site, from the fixture `as_documented`.
        names: The settings to apply. INSTALLED_APPS stays as the tests need it.
        ignored: Ids of checks without the prefix, such as `W004`.
    """
    for name in set(names) - {"INSTALLED_APPS"}:
        setattr(settings, name, documented[name])
    messages = run_checks(tags=["async_downloads"], include_deployment_checks=True)
    return [message for message in messages if str(message.id)[-4:] not in set(ignored)]


def table(text: str, header: str) -> str:
    """Return the rows of the one table whose header line begins with a text."""
    _, found, rest = text.partition(f"\n{header}")
    assert found, f"no table begins with {header!r}"
    assert f"\n{header}" not in rest, f"two tables begin with {header!r}"
    lines = rest.partition("\n\n")[0].splitlines()
    return "\n".join(lines[2:])


def rows_of(text: str, header: str) -> list[list[str]]:
    """Return the cells of a table, row by row; an escaped bar does not end a cell."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        for line in table(text, header).splitlines()
    ]


def sources(folder: str = "async_downloads") -> Iterable[Path]:
    """Return the Python modules below a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))
