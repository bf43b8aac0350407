"""Made, claimed, written, finished or failed."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, owners, store
from async_downloads.exceptions import DownloadBusy
from async_downloads.files import storage
from async_downloads.files.names import path_for
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.store import cache_entries, lifecycle
from tests.attempts import claimed, long_ago, stall_all
from tests.factories import DownloadFactory, UserFactory
from tests.pace import LONGEST_WAIT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


def closing(work: Callable[[], object]) -> object:
    """Do something in a thread of its own, and close its connections."""
    try:
        return work()
    finally:
        connections.close_all()


class TestCreate:
    def test_a_known_collection_costs_two_queries(self, user: Any) -> None:
        owner = owners.resolve(user)
        store.create(owner, filename="a.csv", name="a")
        with CaptureQueriesContext(connection) as queries:
            store.create(owner, filename="b.csv", name="b")
        # Databases differ in whether BEGIN and COMMIT are counted.
        kinds = [query["sql"].split(maxsplit=1)[0] for query in queries.captured_queries]
        assert [kind for kind in kinds if kind in {"SELECT", "INSERT"}] == ["SELECT", "INSERT"]

    def test_the_entry_is_there_before_the_commit(self, user: Any, shared_cache: str) -> None:
        with transaction.atomic():
            download = store.create(owners.resolve(user), filename="a.csv", name="a")
            assert cache_entries.get_entry(download.download_key) is not None

    def test_it_expires_a_timeout_after_its_last_write(self, user: Any, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_TIMEOUT = 100
        download = store.create(owners.resolve(user), filename="a.csv", name="a")
        assert download.expires_at is not None
        assert 95 < (download.expires_at - timezone.now()).total_seconds() <= 100
        Download.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
        store.set_percentage(download.download_key, 5)
        assert Download.objects.get().expires_at > timezone.now() + timedelta(seconds=95)  # type: ignore[operator]

    def test_without_a_timeout_it_never_expires(self, user: Any, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_TIMEOUT = None
        store.create(owners.resolve(user), filename="a.csv", name="a")
        assert Download.objects.get().expires_at is None
        assert Download.objects.active().count() == 1

    def test_fifty_at_once_are_all_listed(self, shared_cache: str) -> None:
        user = UserFactory()

        def start(number: int) -> None:
            try:
                cache.init_download(user, f"{number}.csv")
            finally:
                connection.close()

        with ThreadPoolExecutor(max_workers=10) as pool:
            list(pool.map(start, range(50)))
        listed = store.read_listing(owners.resolve(user)).downloads
        assert {d.name for d in listed} == {f"{number}.csv" for number in range(50)}
        assert DownloadCollection.objects.count() == 1


class TestClaim:
    def test_a_claim_counts_the_attempt_and_starts_afresh(self) -> None:
        download = DownloadFactory(failed=True, percentage=70)
        claimed(download)
        download.refresh_from_db()
        assert (download.state, download.attempts, download.percentage) == ("running", 2, 0)
        assert (download.errors, download.error_detail) == ("", "")
        assert download.claim is not None

    @pytest.mark.parametrize(
        ("end", "attempts"),
        [("complete", 1), ("fail", 1), ("clear", 0), ("release", 1), ("die", 2)],
    )
    def test_where_another_run_was_heard_of_it_waits_for_what_becomes_of_that(
        self, end: str, attempts: int, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It takes over from a run that died or gave back, and leaves the rest as it ended."""
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1
        download = DownloadFactory()
        first = claimed(download)
        ends: dict[str, Callable[[], object]] = {
            "complete": lambda: first.complete(
                storage.save(download.filepath, ContentFile(b"first"))
            ),
            "fail": lambda: first.report_error("No orders", detail=""),
            "clear": lambda: Download.objects.all().delete(),
            "release": first.release,
            "die": lambda: None,
        }
        looks: list[float] = []

        def look(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                ends[end]()
            time_sleep(0.3)

        time_sleep = time.sleep
        monkeypatch.setattr(lifecycle.time, "sleep", look)
        second = store.claim(download.download_key)
        assert (second is not None) == (end in {"release", "die"})
        assert len(looks) >= 2
        assert [row.attempts for row in Download.objects.all()] == [attempts] * (end != "clear")

    def test_of_a_run_that_is_alive_the_queue_is_told(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        download = DownloadFactory()
        first = claimed(download)
        monkeypatch.setattr(lifecycle.time, "sleep", lambda seconds: first.heartbeat())
        with pytest.raises(DownloadBusy):
            store.claim(download.download_key)
        with pytest.raises(DownloadBusy), transaction.atomic():
            store.claim(download.download_key)
        assert Download.objects.get().attempts == 1

    def test_of_two_that_claim_at_once_one_wins(self, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 4
        download = DownloadFactory()
        barrier = threading.Barrier(2)
        won: list[int] = []

        def race(number: int) -> None:
            barrier.wait()
            try:
                run = store.claim(download.download_key)
                if run is not None:
                    won.append(number)
                    run.complete(storage.save(run.output.path, ContentFile(b"whole")))
            finally:
                connection.close()

        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(race, range(2)))
        assert len(won) == 1
        assert Download.objects.get().attempts == 1

    def test_a_run_that_is_heard_through_the_cache_alone_is_alive(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So is an export inside a transaction, whose row nobody touches."""
        download = DownloadFactory(running=True, heard_at=long_ago())
        with transaction.atomic():
            cache.set_percentage(download.download_key, 50)
        looks: list[float] = []

        def look(seconds: float) -> None:
            looks.append(seconds)
            cache_entries.delete_entry(download.download_key)

        monkeypatch.setattr(lifecycle.time, "sleep", look)
        assert store.claim(download.download_key) is not None
        assert len(looks) == 1

    def test_a_claim_whose_answer_was_lost_is_a_claim(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        download = DownloadFactory()
        real = DownloadQuerySet.claim
        calls: list[int] = []

        def lose_the_answer(self: Any, *arguments: Any) -> int:
            claimed = real(self, *arguments)
            calls.append(claimed)
            if len(calls) == 1:
                raise DatabaseError("the server closed the connection")
            return claimed

        monkeypatch.setattr(DownloadQuerySet, "claim", lose_the_answer)
        assert store.claim(download.download_key) is not None
        assert calls == [1, 0]
        assert Download.objects.get().attempts == 1

    def test_after_a_crash_it_is_taken_over_and_the_left_over_is_removed(self) -> None:
        download = DownloadFactory(running=True, heard_at=long_ago())
        default_storage.save(download.filepath, ContentFile(b"half"))
        cache.save_download(download.download_key, [["whole"]])
        download.refresh_from_db()
        assert (download.state, download.attempts) == ("complete", 2)
        folder = path_for(download.download_key, "x").rpartition("/")[0]
        assert [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]] == [
            download.filepath
        ]

    def test_a_complete_one_is_final(self) -> None:
        download = DownloadFactory(complete=True)
        cache.save_download(download.download_key, [["again"]])
        cache.set_error(download.download_key, "too late")
        cache.set_percentage(download.download_key, 5)
        download.refresh_from_db()
        assert (download.state, download.percentage, download.size) == ("complete", 100, 4)

    def test_a_run_that_gives_a_heartbeat_is_not_given_up(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look at the row and the write that would fail it."""
        settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
        download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
        real = lifecycle.current_attempt

        def beat_meanwhile(download_key: str) -> store.Attempt | None:
            Download.objects.filter(pk=download.pk).heartbeat()
            return real(download_key)

        monkeypatch.setattr(lifecycle, "current_attempt", beat_meanwhile)
        with pytest.raises(DownloadBusy):
            store.claim(download.download_key)
        assert Download.objects.get().state == "running"

    def test_a_silent_run_of_this_process_is_not_given_up(self, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
        key = DownloadFactory().download_key
        with claimed(Download.objects.get()):
            stall_all()
            with ThreadPoolExecutor() as thread, pytest.raises(DownloadBusy):
                thread.submit(closing, lambda: store.claim(key)).result()
            assert Download.objects.get().state == "running"

    def test_too_many_attempts_end_in_failure_without_an_exception(self, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
        download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
        cache.save_download(download.download_key, [["never"]])
        download.refresh_from_db()
        assert download.state == "failed"
        assert download.errors == "Given up: the worker stopped responding each time."
        assert "Attempts: 2" in download.error_detail

    def test_a_worker_that_is_early_waits_for_the_row(self, shared_cache: str) -> None:
        user = UserFactory()
        made, done = threading.Event(), threading.Event()
        keys: list[str] = []

        def request() -> None:
            try:
                with transaction.atomic():
                    keys.append(cache.init_download(user, "early.csv")[1])
                    made.set()
                    time.sleep(0.3)
            finally:
                connection.close()
                done.set()

        thread = threading.Thread(target=request)
        thread.start()
        assert made.wait(timeout=LONGEST_WAIT)
        cache.save_download(keys[0], [["worth waiting for"]])
        thread.join()
        assert Download.objects.get().state == "complete"


def test_a_row_is_not_brought_back_by_anything(user: Any) -> None:
    """A deleted row stays deleted, whatever its writers still say."""
    _, key = cache.init_download(user, "orders.csv")
    Download.objects.filter(pk=uuid.UUID(key)).delete()
    cache.set_percentage(key, 50)
    cache.set_error(key, "late")
    cache.save_download(key, [["late"]])
    assert Download.objects.count() == 0


def test_rows_are_claimed_beside_each_other_on_other_connections() -> None:
    """The connection of another thread sees a claim at once."""
    download = DownloadFactory()
    claimed(download)
    seen: list[str] = []

    def look() -> None:
        seen.append(Download.objects.get().state)
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == ["running"]
