"""The counts of downloads, and the problems that they show."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.models import Download
from async_downloads.store import Backlog, Tolerance, Total, cache_entries
from tests.attempts import claimed, long_ago, stall_all
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def test_without_downloads_all_counts_are_zero() -> None:
    status = store.read_status()
    assert status.states == {
        state: Total(state) for state in ("pending", "running", "complete", "failed")
    }
    assert (status.stalled, status.failed, status.expired) == (0, 0, Total("expired"))
    assert status.oldest_pending is status.oldest_expired is status.last_cleanup is None
    assert status.problems(Tolerance(failed=0)) == {}


def test_counts_and_bytes_of_each_state() -> None:
    for size in (10, 20):
        DownloadFactory(complete=True, size=size)
    DownloadFactory(complete=True, expired=True, size=5)
    DownloadFactory(failed=True)
    DownloadFactory(failed=True, expired=True)
    DownloadFactory(running=True)
    DownloadFactory()
    status = store.read_status()
    assert status.states == {
        "pending": Total("pending", 1, 0),
        "running": Total("running", 1, 0),
        "complete": Total("complete", 3, 35),
        "failed": Total("failed", 2, 0),
    }
    assert status.expired == Total("expired", 2, 5)
    assert status.failed == 1


def test_a_waiting_download_does_not_count_as_stalled() -> None:
    DownloadFactory(running=True, heard_at=long_ago())
    # Its task ended without a file.
    DownloadFactory(started_at=long_ago(), heard_at=long_ago())
    # These wait, run or are finished.
    DownloadFactory(heard_at=long_ago())
    DownloadFactory(running=True)
    DownloadFactory(failed=True, heard_at=long_ago())
    assert store.read_status().stalled == 2


def test_an_export_with_heartbeats_in_the_cache_alone_has_not_stalled() -> None:
    DownloadFactory(running=True, heard_at=long_ago())
    alive = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(alive.download_key, 50)
    assert store.read_status().stalled == 1


def test_only_a_download_that_no_worker_has_started_waits() -> None:
    now = timezone.now()
    waits = DownloadFactory(timestamp=now - HOUR)
    DownloadFactory(timestamp=now - HOUR / 2)
    for other in ({"running": True}, {"percentage": 10}, {"failed": True}, {"started_at": now}):
        DownloadFactory(timestamp=now - 2 * HOUR, **other)
    assert store.read_status().oldest_pending == waits.timestamp


def test_an_overdue_download_has_not_expired() -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    DownloadFactory(running=True, expired=True, heard_at=long_ago())
    status = store.read_status()
    assert (status.expired, status.oldest_expired) == (Total("expired"), None)
    assert (status.stalled, status.oldest_pending is None) == (1, False)


def test_the_oldest_expiry_is_that_of_a_finished_download() -> None:
    DownloadFactory(expires_at=timezone.now() + HOUR)
    DownloadFactory(expires_at=None)
    assert store.read_status().oldest_expired is None
    first = DownloadFactory(complete=True, expires_at=timezone.now() - 2 * HOUR)
    DownloadFactory(failed=True, expires_at=timezone.now() - HOUR)
    assert store.read_status().oldest_expired == first.expires_at


def test_the_status_costs_one_query_and_another_if_something_looks_stalled() -> None:
    for _ in range(20):
        DownloadFactory(complete=True, expired=True)
        DownloadFactory(running=True)
    with CaptureQueriesContext(connection) as queries:
        store.read_status()
    assert len(queries) == 1
    for _ in range(20):
        DownloadFactory(running=True, heard_at=long_ago())
    with CaptureQueriesContext(connection) as queries:
        assert store.read_status().stalled == 20
    assert len(queries) == 2


@pytest.mark.parametrize("value", ["soon", None, -1.0, 1e12, float("nan"), 5])
def test_a_broken_time_of_the_last_clean_up_is_ignored(shared_cache: str, value: Any) -> None:
    cache_entries.record_cleanup("here")
    assert cache_entries.last_cleanup("here") is not None
    caches[shared_cache].set(f"{cache_entries._job_key('here')}:last", value)
    assert cache_entries.last_cleanup("here") is None
    assert cache_entries.last_cleanup("elsewhere") is None


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_time_of_the_last_clean_up_follows_use_tz(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    cache_entries.record_cleanup("here")
    last_cleanup = cache_entries.last_cleanup("here")
    assert last_cleanup is not None
    assert abs(timezone.now() - last_cleanup) < timedelta(minutes=1)


# Totals


def test_downloads_are_counted_by_state_and_the_stalled_apart() -> None:
    for _ in range(3):
        DownloadFactory(complete=True, size=2**40, stored=False)
    DownloadFactory(failed=True)
    DownloadFactory(failed=True, size=7)
    DownloadFactory(running=True)
    DownloadFactory(running=True, heard_at=long_ago())
    DownloadFactory(heard_at=long_ago())
    DownloadFactory(complete=True, heard_at=long_ago())
    with CaptureQueriesContext(connection) as captured:
        totals = store.total_by_condition(Download.objects.all())
    assert len(captured) == 1
    # Those that need staff come first; a condition without downloads is left out.
    assert totals == [
        Total("stalled", 2, 0),
        Total("failed", 2, 7),
        Total("running", 1, 0),
        Total("complete", 4, 3 * 2**40 + 4),
    ]


def test_only_the_given_downloads_are_counted() -> None:
    DownloadFactory(complete=True)
    DownloadFactory()
    rows = Download.objects.unfinished().select_related("collection__user").newest_first()
    assert store.total_by_condition(rows) == [Total("pending", 1, 0)]
    assert store.total_by_condition(rows.none()) == []


# The backlog


def test_the_unfinished_are_counted_with_one_query() -> None:
    assert store.read_backlog() == Backlog(0, 0, 0, 0.0)
    DownloadFactory.create_batch(2, timestamp=timezone.now() - HOUR, heard_at=long_ago())
    # It has reported progress, so it does not wait for a worker.
    DownloadFactory(percentage=10, timestamp=timezone.now() - 2 * HOUR)
    DownloadFactory.create_batch(3, running=True)
    DownloadFactory(complete=True, timestamp=long_ago())
    DownloadFactory(failed=True, timestamp=long_ago())
    with CaptureQueriesContext(connection) as captured:
        backlog = store.read_backlog()
    assert len(captured) == 1
    assert backlog.counts == {"waiting": 3, "running": 3, "stalled": 0}
    assert HOUR <= timedelta(seconds=backlog.seconds_waiting) < 2 * HOUR


def test_what_has_stalled_is_counted_apart() -> None:
    DownloadFactory.create_batch(2, running=True, heard_at=long_ago())
    # Its task has left the file to another one.
    DownloadFactory(started_at=long_ago(), heard_at=long_ago())
    DownloadFactory(running=True)
    assert store.read_backlog().counts == {"waiting": 0, "running": 1, "stalled": 3}


def test_an_attempt_with_heartbeats_in_the_cache_alone_is_running(shared_cache: str) -> None:
    download = DownloadFactory()
    with claimed(download):
        stall_all()
        assert store.read_backlog().counts == {"waiting": 0, "running": 0, "stalled": 1}
        # As a task does inside its own transaction.
        with transaction.atomic():
            cache.set_percentage(download.download_key, 10)
        assert store.read_backlog().counts == {"waiting": 0, "running": 1, "stalled": 0}


# Problems


def problems(**tolerance: Any) -> set[str]:
    return set(store.read_status().problems(Tolerance(**tolerance)))


def test_each_problem_has_a_threshold() -> None:
    now = timezone.now()
    DownloadFactory(timestamp=now - HOUR)
    DownloadFactory(running=True, heard_at=long_ago())
    DownloadFactory(complete=True, expires_at=now - 26 * HOUR)
    DownloadFactory(failed=True)
    assert problems() == {"stalled", "pending", "cleanup"}
    assert problems(failed=0) == {"stalled", "pending", "cleanup", "failed"}
    assert problems(failed=1, stalled=1) == {"pending", "cleanup"}
    assert problems(stalled=1, pending=2 * HOUR) == {"cleanup"}
    assert problems(stalled=1, pending=2 * HOUR, expired=27 * HOUR) == set()


def test_a_healthy_site_has_no_problems() -> None:
    DownloadFactory()
    DownloadFactory(running=True)
    DownloadFactory(complete=True)
    # The clean-up is not late yet.
    DownloadFactory(complete=True, expires_at=timezone.now() - 24 * HOUR)
    DownloadFactory(failed=True)
    assert problems() == set()
    assert Download.objects.count() == 5
