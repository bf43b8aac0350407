"""The list is read in SQL, and each database returns the values that Django reads."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Count, Window
from django.utils import timezone

from async_downloads.models.conditions import is_in_progress
from async_downloads.owners import Owner, resolve
from async_downloads.store import raw_rows
from async_downloads.store.listing import visible_downloads
from tests.attempts import long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db,
    pytest.mark.usefixtures("aware_or_naive"),
]


@pytest.fixture
def owner() -> Owner:
    """Return the owner of downloads in each state, among those of others."""
    collection = DownloadCollectionFactory(seen_at=timezone.now())
    DownloadFactory(running=True)
    DownloadFactory(collection=collection)
    DownloadFactory(collection=collection, running=True, percentage=30, rows_written=7)
    DownloadFactory(collection=collection, running=True, heard_at=long_ago())
    DownloadFactory(collection=collection, complete=True, name="Größe, No. 1")
    DownloadFactory(collection=collection, complete=True, expired=True)
    DownloadFactory(collection=collection, failed=True, expires_at=None)
    DownloadFactory(collection=collection, complete=True, timestamp=long_ago())
    return resolve(collection.user)


@pytest.mark.parametrize("fits", [False, True])
@pytest.mark.parametrize(
    ("offset", "end"),
    [(0, None), (0, 3), (0, 5), (0, 6), (0, 20), (2, 4), (3, None), (9, None), (0, 0)],
)
def test_the_rows_are_those_that_django_reads(
    owner: Owner, offset: int, end: int | None, fits: bool
) -> None:
    counts = {
        "total": Window(Count("pk")),
        "running": Window(Count("pk", filter=is_in_progress())),
    }
    expected: list[Any] = list(visible_downloads(owner).annotate(**counts)[offset:end])
    rows, total, others = raw_rows.read_list(owner, offset, end, fits=fits)
    if expected:
        running = others + sum(row.in_progress for row in rows)
        assert (total, running) == (expected[0].total, expected[0].running) == (6, 2)
    for row, other in zip(rows, expected, strict=True):
        values = dict(vars(other))
        difference = row.clock_difference - values.pop("clock_difference")
        assert abs(difference) < timedelta(minutes=1)
        for name in ("_state", "total", "running"):
            del values[name]
        assert {name: vars(row)[name] for name in values} == values
        assert row.get_deferred_fields() == other.get_deferred_fields()
        assert (row._state.db, row._state.adding) == (other._state.db, False)


@pytest.mark.parametrize(("end", "queries"), [(6, 1), (5, 2), (None, 1)])
def test_only_a_list_that_turns_out_not_to_show_all_is_counted(
    owner: Owner, end: int | None, queries: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(queries) as captured:
        raw_rows.read_list(owner, 0, end, fits=True)
    assert sum("COUNT" in query["sql"] for query in captured) == queries - 1


def test_an_owner_who_is_not_a_user_has_no_list() -> None:
    DownloadFactory(collection=DownloadCollectionFactory(user=None, label="Grace"))
    assert raw_rows.read_list(Owner(None, "Grace"), 0, None) == ([], 0, 0)
