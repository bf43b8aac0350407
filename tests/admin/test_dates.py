"""The dates above the list of downloads."""

import re
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from async_downloads.admin.dates import hierarchy
from async_downloads.models import Download
from tests.factories import DownloadFactory
from tests.staff import LIST, listed, text


def create_downloads(*days: str) -> None:
    for day in days:
        DownloadFactory(name=day, timestamp=datetime.fromisoformat(day).replace(tzinfo=UTC))


def dates(page: str) -> list[str]:
    """Return the titles of the choices, in brackets if they are not links."""
    match = re.search(r'<nav class="toplinks".*?>(.*?)</nav>', page, re.DOTALL)
    lines = [] if match is None else [line.strip() for line in match[1].splitlines()]
    titles = [unescape(re.sub("<.*?>", "", line)) for line in lines if line]
    # Django 6.1 adds a title of the field.
    titles = [title for title in titles if not title.startswith("Filter by")]
    return [title if f">{title}</a>" in unescape(page) else f"[{title}]" for title in titles]


@pytest.mark.parametrize(
    ("days", "query", "shown"),
    [
        (["2024-05-01", "2026-01-31"], {}, ["2024", "2025", "2026"]),
        (["2026-01-05", "2026-03-02"], {}, ["January 2026", "February 2026", "March 2026"]),
        (["2026-03-01", "2026-03-03"], {}, ["March 1", "March 2", "March 3"]),
        (["2026-03-01"], {}, ["March 1"]),
        (
            ["2025-12-30", "2026-03-03"],
            {"timestamp__year": 2025},
            ["‹ All dates", "December 30", "December 31"],
        ),
        (
            ["2025-10-30", "2026-03-03"],
            {"timestamp__year": 2025},
            ["‹ All dates", "October 2025", "November 2025", "December 2025"],
        ),
        (
            ["2025-10-30", "2026-03-03"],
            {"timestamp__year": 2025, "timestamp__month": 10},
            ["‹ 2025", "October 30", "October 31"],
        ),
        (
            ["2025-10-30", "2026-03-03"],
            {"timestamp__year": 2025, "timestamp__month": 10, "timestamp__day": 30},
            ["‹ October 2025", "[October 30]"],
        ),
        ([], {}, []),
    ],
)
def test_dates_from_the_first_to_the_last_are_offered(
    admin: Client, days: list[str], query: dict[str, int], shown: list[str]
) -> None:
    create_downloads(*days)
    page = text(admin, LIST, **query)
    assert dates(page) == shown


def test_a_chosen_date_narrows_the_list(admin: Client) -> None:
    create_downloads("2025-10-30", "2025-10-31", "2025-11-01", "2026-10-30")
    assert listed(admin, timestamp__year=2025) == {"2025-10-30", "2025-10-31", "2025-11-01"}
    october = {"timestamp__year": 2025, "timestamp__month": 10}
    assert listed(admin, **october) == {"2025-10-30", "2025-10-31"}
    assert listed(admin, **october, timestamp__day=31) == {"2025-10-31"}
    page = text(admin, LIST, **october, size="none")
    links = [unescape(link) for link in re.findall(r'<a href="(\?[^"]*timestamp[^"]*)"', page)]
    assert "?size=none&timestamp__day=31&timestamp__month=10&timestamp__year=2025" in links


def test_days_are_those_of_the_time_zone(admin: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    DownloadFactory(timestamp=datetime(2026, 3, 1, 20, tzinfo=UTC))
    assert dates(text(admin, LIST)) == ["March 2"]


def test_an_invalid_date_is_not_an_error(admin: Client) -> None:
    create_downloads("2026-03-01")
    for query in ({"timestamp__year": "x"}, {"timestamp__year": 2026, "timestamp__month": 13}):
        assert admin.get(LIST, query).status_code == 302


def test_a_year_outside_the_calendar_offers_no_dates(db: None) -> None:
    create_downloads("2026-03-01")
    changelist: Any = SimpleNamespace(
        model=Download, date_hierarchy="timestamp", params={"timestamp__month": "9" * 20}
    )
    assert hierarchy(changelist) == {"show": False}
