"""A summary is read in SQL, and each database returns the values that Django reads."""

from datetime import timedelta

import pytest
from django.utils import timezone

from async_downloads.models import DownloadState
from async_downloads.owners import resolve
from async_downloads.store import summary
from async_downloads.store.listing import visible_downloads
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("aware_or_naive")]


def test_the_rows_are_those_that_django_reads() -> None:
    collection = DownloadCollectionFactory()
    DownloadFactory(collection=collection, complete=True)
    DownloadFactory(running=True)
    for number in range(summary.MAX_ROWS + 2):
        DownloadFactory(
            collection=collection,
            running=number % 2 == 0,
            name=f"Orders, No. {number}",
            percentage=number,
            rows_expected=number or None,
        )
    owner = resolve(collection.user)
    expected = list(visible_downloads(owner).unfinished()[: summary.MAX_ROWS])
    _, rows = summary._read_rows(owner)
    assert {row.state for row in rows} == {DownloadState.PENDING, DownloadState.RUNNING}
    for row, other in zip(rows, expected, strict=True):
        values = dict(vars(other))
        assert abs(row.clock_difference - values.pop("clock_difference")).total_seconds() < 60
        for name in ("_state", "seen_at"):
            del values[name]
        assert {name: vars(row)[name] for name in values} == values
        assert (row._state.db, row._state.adding) == (other._state.db, False)


def test_the_counts_are_those_of_the_rows_that_the_owner_sees() -> None:
    collection = DownloadCollectionFactory(seen_at=timezone.now() - timedelta(hours=1))
    DownloadFactory(collection=collection, running=True)
    DownloadFactory(collection=collection, complete=True, expired=True)
    DownloadFactory(complete=True)
    finished = [
        DownloadFactory(collection=collection, complete=True, heard_at=timezone.now()),
        DownloadFactory(collection=collection, failed=True, heard_at=collection.seen_at),
    ]
    newest = max(row.heard_at for row in finished)
    expires_at = min(row.expires_at for row in finished)
    owner = resolve(collection.user)
    counts, _ = summary._read_rows(owner)
    assert counts == (3, 1, 1, 1, newest, expires_at)
    read = summary.read_summary(owner)
    assert (read.running, read.unseen, read.newest) == (1, 1, newest.isoformat())


def test_many_that_have_stalled_are_not_in_progress() -> None:
    collection = DownloadCollectionFactory()
    past = timezone.now() - timedelta(hours=1)
    DownloadFactory(collection=collection, running=True, timestamp=past)
    for _ in range(summary.MAX_ROWS + 3):
        DownloadFactory(collection=collection, running=True, heard_at=past)
    read = summary.read_summary(resolve(collection.user))
    assert (read.running, read.stalled) == (1, True)
