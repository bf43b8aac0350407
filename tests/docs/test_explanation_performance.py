"""The page on performance has ratios that follow from its figures, and the polling intervals."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from async_downloads.models import Download
from tests.attempts import long_ago
from tests.docs.helpers import rows_of
from tests.factories import DownloadFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/explanation/performance.md"

TEXT = PAGES[PAGE].text.replace("\n", " ")

FIGURES = rows_of(PAGES[PAGE].text, "| case | floor | 0.6.0 | 1.0 | 1.0 ÷ floor | 1.0 ÷ 0.6.0 |")


def seconds(cell: str) -> float | None:
    if not cell:
        return None
    number, unit = cell.split()
    return float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit]


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row[0])
def test_a_ratio_follows_from_its_figures(row: list[str]) -> None:
    floor, old, new = map(seconds, row[1:4])
    for below, ratio in ((floor, row[4]), (old, row[5])):
        assert (below is None) == (not ratio)
        if below and new:
            # What was divided had more digits than what is shown.
            assert float(ratio) == pytest.approx(new / below, rel=0.08)


def polling_interval(client: Client) -> int | None:
    headers = {"HX-Request": "true"}
    page = client.get(reverse("async_downloads:ajax_update"), headers=headers).content.decode()
    match = re.search(r' data-poll="(\d+)"', page)
    return int(match[1]) if match else None


@pytest.mark.django_db
def test_the_page_polls_as_often_as_described(signed_in: Client, user: Any) -> None:
    assert polling_interval(signed_in) is None
    download = DownloadFactory(collection__user=user, running=True)
    rows = Download.objects.filter(pk=download.pk)
    assert "polls every second while something is in progress" in TEXT
    assert polling_interval(signed_in) == 1
    found = re.search(r"every (\d+) seconds after a minute, every (\d+) after ten minutes", TEXT)
    assert found
    for minutes, interval in ((2, found[1]), (11, found[2])):
        rows.update(timestamp=timezone.now() - timedelta(minutes=minutes))
        assert polling_interval(signed_in) == int(interval)
    rows.update(heard_at=long_ago())
    stalled = re.search(r"stalled downloads is polled every (\d+) seconds", TEXT)
    assert stalled
    assert polling_interval(signed_in) == int(stalled[1])
