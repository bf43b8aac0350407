"""How things stand."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.models import Download
from async_downloads.store import Amount, Tolerance, cache_entries
from tests.attempts import long_ago
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def test_nothing_is_there() -> None:
    status = store.read_status()
    assert status.states == dict.fromkeys(("pending", "running", "complete", "failed"), Amount())
    assert (status.stalled, status.failed, status.expired) == (0, 0, Amount())
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
        "pending": Amount(1, 0),
        "running": Amount(1, 0),
        "complete": Amount(3, 35),
        "failed": Amount(2, 0),
    }
    assert status.expired == Amount(2, 5)
    assert status.failed == 1


def test_what_has_stalled_is_what_a_worker_took_up_and_fell_silent_on() -> None:
    DownloadFactory(running=True, heard_at=long_ago())
    # Its task ended without a file.
    DownloadFactory(started_at=long_ago(), heard_at=long_ago())
    # Of these nothing is expected, or nothing yet.
    DownloadFactory(heard_at=long_ago())
    DownloadFactory(running=True)
    DownloadFactory(failed=True, heard_at=long_ago())
    assert store.read_status().stalled == 2


def test_an_export_that_is_heard_through_the_cache_alone_has_not_stalled() -> None:
    DownloadFactory(running=True, heard_at=long_ago())
    alive = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(alive.download_key, 50)
    assert store.read_status().stalled == 1


def test_the_longest_wait_is_that_of_one_that_nobody_has_taken_up() -> None:
    now = timezone.now()
    waits = DownloadFactory(timestamp=now - HOUR)
    DownloadFactory(timestamp=now - HOUR / 2)
    for other in ({"running": True}, {"percentage": 10}, {"failed": True}, {"started_at": now}):
        DownloadFactory(timestamp=now - 2 * HOUR, **other)
    assert store.read_status().oldest_pending == waits.timestamp


def test_what_is_overdue_has_not_expired() -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    DownloadFactory(running=True, expired=True, heard_at=long_ago())
    status = store.read_status()
    assert (status.expired, status.oldest_expired) == (Amount(0, 0), None)
    assert (status.stalled, status.oldest_pending is None) == (1, False)


def test_the_oldest_of_what_has_expired() -> None:
    DownloadFactory(expires_at=timezone.now() + HOUR)
    DownloadFactory(expires_at=None)
    assert store.read_status().oldest_expired is None
    first = DownloadFactory(complete=True, expires_at=timezone.now() - 2 * HOUR)
    DownloadFactory(failed=True, expires_at=timezone.now() - HOUR)
    assert store.read_status().oldest_expired == first.expires_at


def test_it_costs_one_query_and_another_if_something_looks_stalled() -> None:
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


@pytest.mark.parametrize("said", ["soon", None, -1.0, 1e12, float("nan"), 5])
def test_what_is_no_time_of_a_cleanup_is_no_time(shared_cache: str, said: Any) -> None:
    cache_entries.record_cleanup("here")
    assert cache_entries.last_cleanup("here") is not None
    caches[shared_cache].set(f"{cache_entries._cleanup_key('here')}:last", said)
    assert cache_entries.last_cleanup("here") is None
    assert cache_entries.last_cleanup("elsewhere") is None


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_time_of_a_cleanup_can_be_compared_with_now(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    cache_entries.record_cleanup("here")
    found = cache_entries.last_cleanup("here")
    assert found is not None
    assert abs(timezone.now() - found) < timedelta(minutes=1)


# What is wrong


def wrong(**tolerance: Any) -> set[str]:
    return set(store.read_status().problems(Tolerance(**tolerance)))


def test_each_problem_has_a_threshold() -> None:
    now = timezone.now()
    DownloadFactory(timestamp=now - HOUR)
    DownloadFactory(running=True, heard_at=long_ago())
    DownloadFactory(complete=True, expires_at=now - 26 * HOUR)
    DownloadFactory(failed=True)
    assert wrong() == {"stalled", "pending", "cleanup"}
    assert wrong(failed=0) == {"stalled", "pending", "cleanup", "failed"}
    assert wrong(failed=1, stalled=1) == {"pending", "cleanup"}
    assert wrong(stalled=1, pending=2 * HOUR) == {"cleanup"}
    assert wrong(stalled=1, pending=2 * HOUR, expired=27 * HOUR) == set()


def test_what_goes_right_is_no_problem() -> None:
    DownloadFactory()
    DownloadFactory(running=True)
    DownloadFactory(complete=True)
    # The clean-up will come.
    DownloadFactory(complete=True, expires_at=timezone.now() - 24 * HOUR)
    DownloadFactory(failed=True)
    assert wrong() == set()
    assert Download.objects.count() == 5
