"""The filters and the search of the list of downloads."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads.admin import filters
from async_downloads.models import Download
from tests.factories import DownloadFactory
from tests.staff import LIST, listed, text


@pytest.fixture
def assorted(db: None) -> None:
    now = timezone.now()

    def create(name: str, size: int | None, **age: float) -> None:
        DownloadFactory(
            name=name,
            size=size,
            timestamp=now - timedelta(**age),
            collection__user=None,
            collection__label=f"team {name}",
        )

    create("no file", None, minutes=30)
    create("a megabyte", 1024**2, hours=2)
    create("more", 1024**2 + 1, days=2)
    create("a hundred", 100 * 1024**2, days=6)
    create("large", 100 * 1024**2 + 1, days=8)
    DownloadFactory(name="of a user", collection__user__username="Marie.Curie", size=1)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"size": "none"}, {"no file"}),
        ({"size": "small"}, {"a megabyte", "of a user"}),
        ({"size": "medium"}, {"more", "a hundred"}),
        ({"size": "large"}, {"large"}),
        ({"age": "hour"}, {"no file", "of a user"}),
        ({"age": "day"}, {"no file", "of a user", "a megabyte"}),
        ({"age": "week"}, {"no file", "of a user", "a megabyte", "more", "a hundred"}),
        ({"age": "older"}, {"large"}),
        ({"owner": "curie"}, {"of a user"}),
        ({"owner": " LARGE "}, {"large"}),
        ({"owner": "unknown"}, set()),
        ({"owner": "team", "age": "day", "size": "small"}, {"a megabyte"}),
    ],
)
def test_each_filter_narrows_the_list(
    admin: Client, assorted: None, query: dict[str, str], names: set[str]
) -> None:
    assert listed(admin, **query) == names


@pytest.mark.parametrize("query", [{"size": "odd"}, {"age": "odd"}, {"owner": " "}])
def test_an_unknown_choice_narrows_nothing(
    admin: Client, assorted: None, query: dict[str, str]
) -> None:
    assert len(listed(admin, **query)) == 6


def test_the_form_for_the_owner_keeps_the_other_filters(admin: Client, assorted: None) -> None:
    page = text(admin, LIST, owner="curie", size="small", q="user")
    form = page.partition('<form method="get" class="async-downloads-owner">')[2]
    form = form.partition("</form>")[0]
    assert 'name="owner" value="curie"' in form
    assert '<input type="hidden" name="size" value="small">' in form
    assert '<input type="hidden" name="q" value="user">' in form
    (without,) = re.findall(r'<a href="(.*?)">All owners', form)
    assert "owner" not in without
    assert "size=small" in without


def test_the_filter_works_with_too_many_owners_to_name_in_a_query(
    admin: Client, assorted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "MANY_OWNERS", 2)
    assert listed(admin, owner="team") == {"no file", "a megabyte", "more", "a hundred", "large"}


def test_no_filter_queries_downloads_for_its_choices(admin: Client, assorted: None) -> None:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        text(admin, LIST, state__exact="pending")
    downloads = [query for query in captured if Download._meta.db_table in query["sql"]]
    # The first and the last date, the keys, and the rows of one page.
    assert len(downloads) == 3


@pytest.mark.parametrize("owner", ["\0", "team\0", "x" * 100_000])
def test_an_impossible_name_finds_nothing(admin: Client, assorted: None, owner: str) -> None:
    assert not listed(admin, owner=owner)


def test_a_download_is_found_by_its_key(admin: Client, assorted: None) -> None:
    download = Download.objects.get(name="more")
    assert listed(admin, q=f" {download.pk} ") == {"more"}
    assert listed(admin, q=download.pk.hex) == {"more"}


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("a hundred", True),
        ("hundred a", True),
        ('"a hundred"', True),
        ("'a hundred'", True),
        ('"hundred a"', False),
    ],
)
def test_each_word_of_a_search_must_match(
    admin: Client, assorted: None, query: str, matches: bool
) -> None:
    assert ("a hundred" in listed(admin, q=query)) is matches
