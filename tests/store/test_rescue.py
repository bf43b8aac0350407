"""Stalled downloads are built again by themselves, failed ones when their owner wants it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from async_downloads import cache, owners, settings, store
from async_downloads.exceptions import DownloadCancelled, TooManyDownloadsError
from async_downloads.models import Download
from async_downloads.signals import download_failed, download_requeued
from async_downloads.store import cache_entries, queue_position, rescue
from async_downloads.store.jobs import alone
from async_downloads.store.overdue import GIVEN_UP
from tests import jobs, queues
from tests.attempts import claimed, closing_connections, long_ago, stall_all, stalled
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.store.test_transactions import locked_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = store.Rescue()


def waiting(**columns: Any) -> Download:
    """Return a download that has waited for a worker for a bit longer than ``STALLED_AFTER``."""
    heard_at = ago(settings.STALLED_AFTER + 1)
    download: Download = DownloadFactory(**{"recorded": True, "heard_at": heard_at} | columns)
    return download


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def row_of(download: Download) -> Download:
    return Download.objects.get(pk=download.pk)


def queued_keys() -> list[str]:
    return [task["args"][1] for task in queues.waiting()]


class TestAttempts:
    def test_a_stalled_attempt_waits_for_another_one_and_is_queued_once(self) -> None:
        download = stalled(percentage=30, rows_written=3, attempts=2)
        assert store.rescue_alone() == store.Rescue(requeued=1)
        row = row_of(download)
        assert (row.state, row.percentage, row.rows_written) == ("pending", 0, None)
        assert (row.attempts, row.started_at, row.times_queued) == (2, None, 1)
        assert row.claim not in {None, download.claim}
        assert row.in_progress
        assert queued_keys() == [download.download_key]
        assert store.rescue_alone() == NOTHING
        queues.run_waiting()
        assert (row_of(download).state, row_of(download).attempts) == ("complete", 3)

    def test_the_recorded_arguments_are_queued(self) -> None:
        jobs.calls.clear()
        download = stalled(task="tests.jobs.remember", arguments='[[1, "ä"], {"since": "2026"}]')
        store.rescue_alone()
        queues.run_waiting()
        assert jobs.calls == [((download.download_key, 1, "ä"), {"since": "2026"})]

    def test_the_late_attempt_has_lost_its_claim(self) -> None:
        download = DownloadFactory(recorded=True)
        with pytest.raises(DownloadCancelled), claimed(download):
            stall_all()
            store.rescue_alone()
            cache.save_download(download.download_key, [["late"]])
        assert row_of(download).state == "pending"
        queues.run_waiting()
        assert row_of(download).complete

    @pytest.mark.parametrize(
        "columns",
        [
            {"heard_at": None},
            {"task": "", "arguments": ""},
            {"running": False, "complete": True},
            {"running": False, "failed": True},
        ],
        ids=["alive", "without a call", "complete", "failed"],
    )
    def test_nothing_else_is_rescued(self, columns: Any) -> None:
        if columns.get("heard_at", columns) is None:
            columns = {"heard_at": timezone.now()}
        download = stalled(**columns)
        assert store.rescue_alone() == NOTHING
        assert row_of(download).state == download.state
        assert queued_keys() == []

    def test_an_attempt_with_heartbeats_in_the_cache_alone_is_alive(
        self, user: Any, shared_cache: str
    ) -> None:
        download = DownloadFactory(recorded=True, collection__user=user)
        with claimed(download):
            stall_all()
            # As a task does inside its own transaction.
            with transaction.atomic():
                cache.set_percentage(download.download_key, 10)
            assert store.rescue_alone() == NOTHING
            store.read_listing(owners.resolve(user))
            assert row_of(download).state == "running"
            cache.save_download(download.download_key, [["row"]])

    def test_a_heartbeat_after_the_read_keeps_the_claim(self) -> None:
        download = stalled()
        Download.objects.update(heard_at=timezone.now())
        assert rescue._rescue_all([download]) == NOTHING
        assert row_of(download).claim == download.claim

    def test_an_attempt_that_took_over_after_the_read_keeps_its_claim(self) -> None:
        download = stalled()
        with claimed(download):
            stall_all()
            assert rescue._rescue_all([download]) == NOTHING
            assert row_of(download).state == "running"

    def test_a_download_that_was_cleared_is_not_rescued(self, shared_cache: str) -> None:
        download = stalled()
        cache_entries.mark_cleared([download.download_key])
        assert store.rescue_alone() == NOTHING
        assert row_of(download).state == "running"

    def test_the_last_attempt_ends_in_failed_and_its_owner_may_try_again(self) -> None:
        failed: list[str] = []

        def listen(download_key: str, **_: Any) -> None:
            failed.append(download_key)

        download_failed.connect(listen)
        download = stalled(attempts=3)
        assert store.rescue_alone() == store.Rescue(failed=1)
        download_failed.disconnect(listen)
        row = row_of(download)
        assert (row.state, row.errors, row.attempts) == ("failed", GIVEN_UP, 3)
        assert "Attempts: 3." in row.error_detail
        assert row.retryable
        assert failed == [download.download_key]
        assert queued_keys() == []

    def test_receivers_of_the_signal_get_the_row(self) -> None:
        received: list[tuple[str, str]] = []

        def listen(download: Download, download_key: str, **_: Any) -> None:
            received.append((download.state, download_key))

        download_requeued.connect(listen)
        download = stalled()
        store.rescue_alone()
        download_requeued.disconnect(listen)
        assert received == [("pending", download.download_key)]

    @pytest.mark.usefixtures("shared_cache")
    def test_of_many_rescues_at_once_one_does_it(self) -> None:
        download = stalled()

        def rescue_it(_: int) -> store.Rescue:
            return closing_connections(lambda: rescue._rescue_all([row_of(download)]))

        with ThreadPoolExecutor(max_workers=8) as pool:
            done = list(pool.map(rescue_it, range(24)))
        assert sum(each.requeued for each in done) == 1
        assert queued_keys() == [download.download_key]

    def test_if_the_queue_cannot_be_reached_it_waits_for_a_later_rescue(self) -> None:
        download = stalled(task="tests.jobs.celery_remember_dead")
        assert store.rescue_alone() == store.Rescue(requeued=1)
        row = row_of(download)
        assert (row.state, row.errors) == ("pending", "")
        stall_all()
        Download.objects.update(task="tests.jobs.export")
        assert store.rescue_alone() == store.Rescue(requeued=1)
        queues.run_waiting()
        assert row_of(download).complete


class TestLostMessages:
    def test_it_is_queued_again_and_still_shown_as_waiting(self) -> None:
        download = waiting()
        assert store.rescue_alone() == store.Rescue(requeued=1)
        row = row_of(download)
        assert (row.state, row.times_queued, row.heard_at) == ("pending", 2, download.heard_at)
        assert queued_keys() == [download.download_key]

    @pytest.mark.parametrize("times", range(1, rescue.MAX_TIMES_QUEUED))
    def test_the_pauses_double(self, times: int) -> None:
        pause = settings.STALLED_AFTER * 2 ** (times - 1)
        early = waiting(times_queued=times, heard_at=ago(pause - 60))
        late = waiting(times_queued=times, heard_at=ago(pause + 60))
        assert store.rescue_alone() == store.Rescue(requeued=1)
        assert (row_of(early).times_queued, row_of(late).times_queued) == (times, times + 1)

    def test_the_next_pause_is_longer_than_the_time_without_rescues(self) -> None:
        download = waiting(times_queued=1, heard_at=ago(settings.STALLED_AFTER * 5))
        assert store.rescue_alone() == store.Rescue(requeued=1)
        assert store.rescue_alone() == NOTHING
        # Pauses of 1, 2 and 4 times STALLED_AFTER have passed.
        assert row_of(download).times_queued == 4

    def test_after_the_limit_it_is_left_to_its_owner(self) -> None:
        download = waiting(times_queued=rescue.MAX_TIMES_QUEUED, heard_at=ago(10**6))
        assert store.rescue_alone() == NOTHING
        assert row_of(download).retryable
        assert store.retry(row_of(download))
        assert row_of(download).times_queued == 1

    def test_while_a_worker_is_busy_it_may_just_wait_for_its_turn(self) -> None:
        download = waiting()
        running = DownloadFactory(running=True)
        assert store.rescue_alone() == NOTHING
        # A worker that has died is not busy.
        Download.objects.filter(pk=running.pk).update(heard_at=long_ago())
        assert store.rescue_alone() == store.Rescue(requeued=1)
        assert row_of(download).times_queued == 2

    @pytest.mark.parametrize(("task", "lost"), [("tests.jobs.export", 1), ("tests.jobs.fail", 0)])
    def test_it_is_lost_if_a_later_one_of_its_kind_was_started(self, task: str, lost: int) -> None:
        waiting()
        DownloadFactory(running=True, recorded=True, task=task)
        assert store.rescue_alone() == store.Rescue(requeued=lost)

    @pytest.mark.parametrize("state", ["complete", "failed"])
    def test_between_two_short_tasks_of_a_worker_it_may_just_wait_for_its_turn(
        self, state: str
    ) -> None:
        download, before = waiting(), ago(settings.STALLED_AFTER + 2)
        ended = DownloadFactory(
            **{state: True}, stored=False, timestamp=before, started_at=ago(1), heard_at=ago(0)
        )
        assert store.rescue_alone() == NOTHING
        # One that was requested later and has been built shows that it is not its turn.
        Download.objects.filter(pk=ended.pk).update(timestamp=timezone.now())
        assert store.rescue_alone() == store.Rescue(requeued=1)
        assert row_of(download).times_queued == 2

    def test_workers_that_have_ended_nothing_for_long_are_idle(self) -> None:
        waiting()
        long = ago(settings.STALLED_AFTER + 2)
        times = {"timestamp": long_ago(), "started_at": long_ago()}
        DownloadFactory(complete=True, stored=False, heard_at=long, **times)
        # The sweep has failed it, and not its worker.
        DownloadFactory(failed=True, **times)
        assert store.rescue_alone() == store.Rescue(requeued=1)

    def test_a_task_that_has_run_is_not_lost(self) -> None:
        """It has left the file to another one, or forgotten it."""
        download = DownloadFactory(recorded=True, task="tests.jobs.remember")
        queue_again(download)
        queues.run_waiting()
        stall_all()
        row = row_of(download)
        assert (row.state, row.rescuable) == ("pending", False)
        assert store.rescue_alone() == NOTHING

    def test_without_a_call_it_cannot_be_queued(self) -> None:
        waiting(task="", arguments="")
        assert store.rescue_alone() == NOTHING

    def test_a_message_that_was_not_lost_does_no_harm(self) -> None:
        jobs.calls.clear()
        download = waiting()
        queue_again(download)
        store.rescue_alone()
        assert queued_keys() == [download.download_key] * 2
        queues.run_waiting()
        assert (row_of(download).state, row_of(download).attempts) == ("complete", 1)
        assert len(jobs.calls) == 1

    @pytest.mark.usefixtures("shared_cache")
    def test_of_many_rescues_at_once_one_queues_it(self) -> None:
        download = waiting()

        def rescue_it(_: int) -> store.Rescue:
            return closing_connections(lambda: rescue._rescue_all([download]))

        with ThreadPoolExecutor(max_workers=8) as pool:
            done = list(pool.map(rescue_it, range(24)))
        assert sum(each.requeued for each in done) == 1
        assert queued_keys() == [download.download_key]

    def test_one_that_is_overdue_fails(self) -> None:
        download = waiting(heard_at=long_ago(), expired=True)
        store.clean_up()
        assert row_of(download).failed
        assert store.rescue_alone() == NOTHING


def queue_again(download: Download) -> None:
    """Queue the task of a download, as ``start_download`` does."""
    download_requeued.send(sender=Download, download=download, download_key=download.download_key)


class TestSweep:
    def test_it_reads_a_batch_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rescue, "BATCH_SIZE", 2)
        rows = [stalled() for _ in range(5)]
        stalled(attempts=3)
        assert store.rescue_alone() == store.Rescue(requeued=5, failed=1)
        assert set(queued_keys()) == {row.download_key for row in rows}

    @pytest.mark.usefixtures("shared_cache")
    def test_one_process_does_it_at_a_time(self) -> None:
        stalled()
        with alone("rescue") as first:
            assert first is not None
            assert store.rescue_alone() is None
        assert store.rescue_alone() == store.Rescue(requeued=1)

    @pytest.mark.usefixtures("shared_cache")
    def test_the_clean_up_does_not_block_it(self) -> None:
        stalled()
        with alone("cleanup"):
            assert store.rescue_alone() == store.Rescue(requeued=1)

    def test_a_download_that_is_locked_does_not_end_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        locked, other = stalled(), stalled()
        with locked_elsewhere(pk=locked.pk):
            done = store.rescue_alone()
        # SQLite locks the whole database.
        single = connections["default"].vendor != "sqlite"
        assert done == store.Rescue(requeued=int(single), errors=1 if single else 2)
        assert f"Download {locked.pk} could not be rescued" in caplog.text
        assert (row_of(other).state == "pending") == single
        assert store.rescue_alone() == store.Rescue(requeued=1 if single else 2)

    def test_switched_off_it_does_nothing(self, settings: Any, user: Any) -> None:
        settings.ASYNC_DOWNLOADS_RESCUE = False
        rows = [stalled(collection__user=user), waiting(collection__user=user)]
        assert store.rescue_alone() == NOTHING
        store.read_listing(owners.resolve(user))
        assert [row_of(row).state for row in rows] == ["running", "pending"]
        assert queued_keys() == []

    def test_a_dead_cache_does_not_stop_it(self, dead_cache: str) -> None:
        stalled()
        assert store.rescue_alone() == store.Rescue(requeued=1)


class TestPolls:
    @pytest.mark.parametrize(
        ("name", "headers"),
        [("ajax_update", {"HX-Request": "true"}), ("ajax_update", {}), ("download_list", {})],
        ids=["menu", "JSON", "page of all"],
    )
    def test_a_look_of_the_owner_rescues(
        self, signed_in: Client, user: Any, name: str, headers: dict[str, str]
    ) -> None:
        rows = [stalled(collection__user=user), waiting(collection__user=user)]
        url = reverse(f"async_downloads:{name}")
        assert signed_in.get(url, headers=headers).status_code == 200
        assert sorted(queued_keys()) == sorted(row.download_key for row in rows)
        assert row_of(rows[0]).in_progress
        queues.run_waiting()
        assert {row.state for row in Download.objects.all()} == {"complete"}

    def test_the_next_look_shows_the_new_state(self, user: Any, shared_cache: str) -> None:
        owner = owners.resolve(user)
        stalled(collection__user=user)
        first = store.read_listing(owner)
        assert [row.stalled for row in first.downloads] == [True]
        changes = store.read_changes(owner, first.version)
        assert changes is not None
        assert [(row.state, row.stalled) for row in changes.downloads] == [("pending", False)]

    def test_a_look_of_another_user_rescues_nothing(
        self, client: Client, other_user: Any, user: Any
    ) -> None:
        download = stalled(collection__user=user)
        client.force_login(other_user)
        client.get(reverse("async_downloads:ajax_update"))
        assert row_of(download).state == "running"

    def test_the_last_attempt_stays_stalled_until_the_sweep(self, user: Any) -> None:
        download = stalled(collection__user=user, attempts=3)
        store.read_listing(owners.resolve(user))
        assert row_of(download).state == "running"
        store.rescue_alone()
        assert row_of(download).failed

    def test_inside_a_callers_transaction_nothing_is_rescued(self, user: Any) -> None:
        download = stalled(collection__user=user)
        with transaction.atomic():
            store.read_listing(owners.resolve(user))
        assert row_of(download).state == "running"

    def test_a_database_that_cannot_write_does_not_break_a_look(self, user: Any) -> None:
        stalled(collection__user=user)
        with locked_elsewhere():
            [row] = store.read_listing(owners.resolve(user)).downloads
        assert (row.state, row.stalled) == ("running", True)
        assert queued_keys() == []

    def test_a_look_waits_for_one_locked_row_alone(
        self, user: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            stalled(collection__user=user)
        with locked_elsewhere():
            store.read_listing(owners.resolve(user))
        assert caplog.text.count("could not be rescued") == 1

    def test_a_look_ends_while_the_queue_is_slow(
        self, user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rescue, "LOOK_SECONDS", 0)
        for _ in range(3):
            stalled(collection__user=user)
        for looks in (1, 2, 3):
            store.read_listing(owners.resolve(user))
            assert len(queued_keys()) == looks

    def test_while_a_queue_hangs_one_look_of_a_process_waits_for_it(self, user: Any) -> None:
        hangs, enough = threading.Event(), threading.Event()

        def hang(**_: Any) -> None:
            hangs.set()
            enough.wait(timeout=LONGEST_WAIT)

        def look() -> None:
            try:
                store.read_listing(owners.resolve(user))
            finally:
                connection.close()

        for _ in range(2):
            stalled(collection__user=user)
        download_requeued.connect(hang)
        try:
            with ThreadPoolExecutor(max_workers=1) as pool:
                first = pool.submit(look)
                assert hangs.wait(timeout=LONGEST_WAIT)
                listing = store.read_listing(owners.resolve(user))
                assert sorted(row.state for row in listing.downloads) == ["pending", "running"]
                assert not first.done()
                enough.set()
                first.result(timeout=LONGEST_WAIT)
        finally:
            enough.set()
            download_requeued.disconnect(hang)
        assert len(queued_keys()) == 2

    def test_a_look_at_many_that_wait_for_busy_workers_costs_one_query_more(
        self, user: Any, django_assert_num_queries: Any
    ) -> None:
        DownloadFactory(running=True)
        for _ in range(5):
            waiting(collection__user=user)
        # The third is that for the place in the queue.
        queue_position.forget()
        with django_assert_num_queries(3):
            store.read_listing(owners.resolve(user))
        assert queued_keys() == []

    def test_a_look_at_downloads_in_progress_costs_no_further_query(
        self, user: Any, django_assert_num_queries: Any
    ) -> None:
        DownloadFactory(collection__user=user, recorded=True)
        DownloadFactory(collection__user=user, recorded=True, running=True)
        # The second is that for the place in the queue.
        queue_position.forget()
        with django_assert_num_queries(2):
            store.read_listing(owners.resolve(user))


class TestRetry:
    @pytest.mark.parametrize(
        "state",
        [{"failed": True, "attempts": 3}, {"running": True, "heard_at": None}, {"heard_at": None}],
        ids=["failed", "stalled", "never started"],
    )
    def test_attempts_start_afresh_on_the_same_row(self, state: Any) -> None:
        if "heard_at" in state:
            state = state | {"heard_at": long_ago()}
        download = DownloadFactory(recorded=True, **state)
        assert store.retry(download)
        row = row_of(download)
        assert (row.state, row.attempts, row.errors, row.error_detail) == ("pending", 0, "", "")
        assert (row.finished_at, row.started_at, row.times_queued) == (None, None, 1)
        assert row.claim not in {None, download.claim}
        # A second click while it is queued does nothing.
        assert not store.retry(row)
        assert queued_keys() == [download.download_key]
        queues.run_waiting()
        assert (row_of(download).state, row_of(download).attempts) == ("complete", 1)

    @pytest.mark.parametrize(
        "columns",
        [
            {"recorded": True},
            {"recorded": True, "running": True},
            {"recorded": True, "complete": True},
            {"failed": True},
        ],
        ids=["pending", "running", "complete", "without a call"],
    )
    def test_nothing_else_can_be_tried_again(self, columns: Any) -> None:
        download = DownloadFactory(**columns)
        assert not store.retry(download)
        assert row_of(download).state == download.state
        assert queued_keys() == []

    def test_an_attempt_that_may_be_alive_loses_its_claim(self) -> None:
        download = DownloadFactory(recorded=True)
        with pytest.raises(DownloadCancelled), claimed(download):
            stall_all()
            assert store.retry(download)
            cache.save_download(download.download_key, [["late"]])

    def test_the_limit_of_the_owner_counts_the_others(self, settings: Any, user: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
        download = DownloadFactory(recorded=True, failed=True, collection__user=user)
        other = DownloadFactory(collection__user=user)
        with pytest.raises(TooManyDownloadsError):
            store.retry(download)
        assert row_of(download).failed
        other.delete()
        assert store.retry(download)

    @pytest.mark.parametrize("limit", [None, 1])
    def test_fifty_clicks_are_one_attempt(
        self, settings: Any, shared_cache: str, limit: int | None
    ) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
        download = DownloadFactory(recorded=True, failed=True)

        def click(_: int) -> bool:
            try:
                rows = Download.objects.select_related("collection__user")
                return store.retry(rows.get(pk=download.pk))
            finally:
                connection.close()

        with ThreadPoolExecutor(max_workers=10) as pool:
            assert sum(pool.map(click, range(50))) == 1
        assert queued_keys() == [download.download_key]
