"""How many downloads there are, and how large they are together."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import store
from async_downloads.models import Download
from async_downloads.store import Total
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db


def test_downloads_are_counted_by_state_and_the_stalled_apart() -> None:
    silent = timezone.now() - timedelta(hours=1)
    for _ in range(3):
        DownloadFactory(complete=True, size=2**40, stored=False)
    DownloadFactory(failed=True)
    DownloadFactory(failed=True, size=7)
    DownloadFactory(running=True)
    DownloadFactory(running=True, heard_at=silent)
    DownloadFactory(heard_at=silent)
    DownloadFactory(complete=True, heard_at=silent)
    with CaptureQueriesContext(connection) as captured:
        totals = store.total_by_condition(Download.objects.all())
    assert len(captured) == 1
    # What needs somebody comes first; what there is none of is left out.
    assert totals == [
        Total("stalled", 2, 0),
        Total("failed", 2, 7),
        Total("running", 1, 0),
        Total("complete", 4, 3 * 2**40 + 4),
    ]


def test_a_part_of_them_is_counted() -> None:
    DownloadFactory(complete=True)
    DownloadFactory()
    rows = Download.objects.unfinished().select_related("collection__user").newest_first()
    assert store.total_by_condition(rows) == [Total("pending", 1, 0)]
    assert store.total_by_condition(rows.none()) == []
