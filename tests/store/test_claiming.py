"""A claim: who gets it, who waits, who is refused."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, connections, transaction

from async_downloads import cache, store
from async_downloads.exceptions import DownloadBusy
from async_downloads.files import storage
from async_downloads.files.names import path_for
from async_downloads.models import Download, DownloadQuerySet
from async_downloads.store import cache_entries, claiming
from tests.attempts import claimed, long_ago, stall_all
from tests.factories import DownloadFactory, UserFactory
from tests.pace import PATIENCE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


def closing(work: Callable[[], object]) -> object:
    """Do something in a thread of its own, and close its connections."""
    try:
        return work()
    finally:
        connections.close_all()


def test_a_claim_counts_the_attempt_and_starts_afresh() -> None:
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
    end: str, attempts: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes over from a run that died or gave back, and leaves the rest as it ended."""
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1
    download = DownloadFactory()
    first = claimed(download)
    ends: dict[str, Callable[[], object]] = {
        "complete": lambda: first.complete(storage.save(download.filepath, ContentFile(b"first"))),
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
    monkeypatch.setattr(claiming.time, "sleep", look)
    second = store.claim(download.download_key)
    assert (second is not None) == (end in {"release", "die"})
    assert len(looks) >= 2
    assert [row.attempts for row in Download.objects.all()] == [attempts] * (end != "clear")


def test_of_a_run_that_is_alive_the_queue_is_told(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = DownloadFactory()
    first = claimed(download)
    monkeypatch.setattr(claiming.time, "sleep", lambda seconds: first.heartbeat())
    with pytest.raises(DownloadBusy):
        store.claim(download.download_key)
    with pytest.raises(DownloadBusy), transaction.atomic():
        store.claim(download.download_key)
    assert Download.objects.get().attempts == 1


def test_of_two_that_claim_at_once_one_wins(settings: Any) -> None:
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
    shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is an export inside a transaction, whose row nobody touches."""
    download = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(download.download_key, 50)
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        cache_entries.delete_entry(download.download_key)

    monkeypatch.setattr(claiming.time, "sleep", look)
    assert store.claim(download.download_key) is not None
    assert len(looks) == 1


def test_a_claim_whose_answer_was_lost_is_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_after_a_crash_it_is_taken_over_and_the_left_over_is_removed() -> None:
    download = DownloadFactory(running=True, heard_at=long_ago())
    default_storage.save(download.filepath, ContentFile(b"half"))
    cache.save_download(download.download_key, [["whole"]])
    download.refresh_from_db()
    assert (download.state, download.attempts) == ("complete", 2)
    folder = path_for(download.download_key, "x").rpartition("/")[0]
    assert [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]] == [
        download.filepath
    ]


def test_a_complete_one_is_final() -> None:
    download = DownloadFactory(complete=True)
    cache.save_download(download.download_key, [["again"]])
    cache.set_error(download.download_key, "too late")
    cache.set_percentage(download.download_key, 5)
    download.refresh_from_db()
    assert (download.state, download.percentage, download.size) == ("complete", 100, 4)


def test_a_run_that_gives_a_heartbeat_is_not_given_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the row and the write that would fail it."""
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
    download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
    real = claiming.current_attempt

    def beat_meanwhile(download_key: str) -> store.Attempt | None:
        Download.objects.filter(pk=download.pk).heartbeat()
        return real(download_key)

    monkeypatch.setattr(claiming, "current_attempt", beat_meanwhile)
    with pytest.raises(DownloadBusy):
        store.claim(download.download_key)
    assert Download.objects.get().state == "running"


def test_a_silent_run_of_this_process_is_not_given_up(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    key = DownloadFactory().download_key
    with claimed(Download.objects.get()):
        stall_all()
        with ThreadPoolExecutor() as thread, pytest.raises(DownloadBusy):
            thread.submit(closing, lambda: store.claim(key)).result()
        assert Download.objects.get().state == "running"


def test_too_many_attempts_end_in_failure_without_an_exception(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
    download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
    cache.save_download(download.download_key, [["never"]])
    download.refresh_from_db()
    assert download.state == "failed"
    assert download.errors == "Given up: the worker stopped responding each time."
    assert "Attempts: 2" in download.error_detail


def test_a_worker_that_is_early_waits_for_the_row(shared_cache: str) -> None:
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
    assert made.wait(timeout=PATIENCE)
    cache.save_download(keys[0], [["worth waiting for"]])
    thread.join()
    assert Download.objects.get().state == "complete"


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
