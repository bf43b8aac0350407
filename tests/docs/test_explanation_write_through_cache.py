"""The page on the cache has the keys under which the package really keeps things."""

import re
from typing import Any

import pytest
from django.core.cache import caches

from async_downloads import cache, intervals
from async_downloads.models import Download
from async_downloads.store import cache_entries
from tests.docs.helpers import rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/explanation/write-through-cache.md"

KEYS = {what: key for what, key, _ in rows_of(PAGES[PAGE].text, "| what | key | what it is for |")}


@pytest.mark.django_db(transaction=True)
def test_entries_lie_under_the_keys_of_the_table(settings: Any, user: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    collection_key, download_key = cache.init_download(user, "orders.csv")
    kept = caches["file"]
    assert kept.get(download_key)["percentage"] == 0
    assert KEYS["the live percentage, with its time"] == "in the same entry"
    assert kept.get(f"{collection_key}:version")
    assert KEYS["the version token"] == "the collection key and `:version`"
    assert re.fullmatch(r"collection:version:\d+", cache_entries._checked_key("collection", "1.2"))
    ends = f"ends after {intervals.RECHECK} seconds, or after {intervals.RECHECK_WAITING} while"
    assert ends in PAGES[PAGE].text.replace("\n", " ")
    number = f"a number below {cache_entries.CHECKS}, by the version of a page"
    assert KEYS["a check"] == f"the collection key, `:version:` and {number}"
    prefix = cache_entries._job_key("cleanup").rpartition(":")[0]
    assert KEYS["the periodic jobs"] == f"`{prefix}:` and a digest"
    # A writer may be in a transaction that still sees the row.
    Download.objects.all().delete()
    assert kept.get(download_key) is None
    assert kept.get(f"{download_key}:cleared")
    assert KEYS["a mark"] == "the download key and `:cleared`"
