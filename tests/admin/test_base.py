"""Lists stay quick however many rows there are."""

import re

import pytest
from django.test import Client

from async_downloads.admin import base
from tests.factories import DownloadFactory
from tests.staff import COLLECTIONS, LIST, listed, text

pytestmark = pytest.mark.any_database


def pages(page: str) -> set[str]:
    return set(re.findall(r'href="\?(?:all=&amp;)?p=(\d+)"', page))


def test_rows_are_counted_up_to_a_limit(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_COUNTED", 110)
    DownloadFactory.create_batch(110)
    whole = text(admin, LIST)
    assert re.search(r"110 downloads\s", whole)
    assert "Only the first" not in whole
    DownloadFactory(name="one more")
    more = text(admin, LIST)
    assert "Only the first 110 are counted and shown" in more
    assert pages(more) == {"2"}
    assert len(listed(admin, p="2")) == 10
    assert admin.get(LIST, {"p": "3"}).status_code == 302
    # The newest are counted, and a search finds any.
    assert "one more" in listed(admin)
    assert listed(admin, q="one more") == {"one more"}


def test_a_page_keeps_the_order_of_the_list(admin: Client) -> None:
    for size in (5, 1, 9, 3):
        DownloadFactory(name=f"of {size}", size=size)
    page = text(admin, LIST, o="-4")
    assert re.findall(r">(of \d)</a>", page) == ["of 9", "of 5", "of 3", "of 1"]


def test_all_rows_can_be_shown_if_they_are_few(admin: Client) -> None:
    DownloadFactory.create_batch(120)
    assert len(listed(admin)) == 100
    assert len(listed(admin, all="")) == 120


@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
def test_filters_offer_no_counts(admin: Client, url: str) -> None:
    DownloadFactory()
    assert "Show counts" not in text(admin, url, _facets="True")
