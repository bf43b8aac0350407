"""docs/how-to/custom-format.md."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from async_downloads import cache
from async_downloads.formats import Format, Options, registry
from async_downloads.models import Download
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/custom-format.md"

COVERED = {"def write_html": "test_a_format_of_your_own"}

EXPECTED = (
    "<!doctype html><meta charset=utf-8><table>"
    "<tr><th>Reference<th>Total<tr><td>R&amp;D<td>5</table>"
)


@pytest.fixture
def registered(quick_start: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start the app of the page."""
    monkeypatch.setattr(registry, "_formats", registry._formats.copy())
    apps = quick_start("orders.apps", page.placed("def write_html"))
    apps.__file__ = __file__
    apps.OrdersConfig("orders", apps).ready()
    return apps


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("arguments", [{}, {"format": "html"}])
@pytest.mark.usefixtures("registered")
def test_a_format_of_your_own(user: Any, signed_in: Client, arguments: dict[str, str]) -> None:
    _, key = cache.init_download(user, "orders.txt" if arguments else "orders.html")
    cache.save_download(key, [["R&D", 5]], header=["Reference", "Total"], **arguments)
    download = Download.objects.get()
    response = signed_in.get(download.url)
    assert (download.rows_written, response["Content-Type"]) == (1, "text/html")
    assert response["Content-Disposition"].startswith("attachment")
    assert response.getvalue().decode() == EXPECTED


def test_the_options_are_those_of_the_page(page: Page) -> None:
    said = page.text.partition("- `options`:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", said)) - {"None"} == set(Options.__dataclass_fields__)


def test_what_is_refused(page: Page) -> None:
    assert "ends with `.gz` is refused" in page.text
    with pytest.raises(ValueError, match=r"\.gz"):
        registry.register(Format("pages", (".html.gz",), "text/html", lambda *_: 0))
    with pytest.raises(ValueError, match="extensions"):
        Format("pages", ("html",), "text/html", lambda *_: 0)
