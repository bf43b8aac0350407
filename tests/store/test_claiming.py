"""Claims: which attempt gets one, which waits, which is refused."""

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
from tests.attempts import claimed, closing_connections, long_ago, stall_all
from tests.factories import DownloadFactory, UserFactory
from tests.pace import LONGEST_WAIT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


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
def test_a_claim_waits_for_the_end_of_a_live_attempt(
    end: str, attempts: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes over after a release or a death, and leaves any other end as it is."""
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1 if end == "die" else LONGEST_WAIT
    download = DownloadFactory()
    first = claimed(download)
    ends: dict[str, Callable[[], object]] = {
        "complete": lambda: first.complete(storage.save(download.filepath, ContentFile(b"first"))),
        "fail": lambda: first.report_error("No orders", detail=""),
        "clear": lambda: Download.objects.all().delete(),
        "release": first.release,
        "die": lambda: None,
    }
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            ends[end]()
        time_sleep(0.05)

    time_sleep = time.sleep
    monkeypatch.setattr(claiming.time, "sleep", pause)
    second = store.claim(download.download_key)
    assert (second is not None) == (end in {"release", "die"})
    assert len(pauses) >= 2
    assert [row.attempts for row in Download.objects.all()] == [attempts] * (end != "clear")


def test_a_claim_raises_while_another_attempt_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    download = DownloadFactory()
    first = claimed(download)
    monkeypatch.setattr(claiming.time, "sleep", lambda seconds: first.heartbeat())
    with pytest.raises(DownloadBusy):
        store.claim(download.download_key)
    with pytest.raises(DownloadBusy), transaction.atomic():
        store.claim(download.download_key)
    assert Download.objects.get().attempts == 1


def test_one_of_two_simultaneous_claims_wins(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = LONGEST_WAIT
    download = DownloadFactory()
    barrier = threading.Barrier(2)
    won: list[int] = []

    def race(number: int) -> None:
        barrier.wait()
        try:
            attempt = store.claim(download.download_key)
            if attempt is not None:
                won.append(number)
                attempt.complete(storage.save(attempt.output.path, ContentFile(b"whole")))
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(race, range(2)))
    assert len(won) == 1
    assert Download.objects.get().attempts == 1


def test_an_attempt_with_heartbeats_in_the_cache_alone_is_alive(
    shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export inside a transaction does not write to its row."""
    download = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(download.download_key, 50)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        cache_entries.delete_entry(download.download_key)

    monkeypatch.setattr(claiming.time, "sleep", pause)
    assert store.claim(download.download_key) is not None
    assert len(pauses) == 1


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


def test_a_download_is_taken_over_after_a_crash_and_the_partial_file_is_deleted() -> None:
    download = DownloadFactory(running=True, heard_at=long_ago())
    default_storage.save(download.filepath, ContentFile(b"half"))
    cache.save_download(download.download_key, [["whole"]])
    download.refresh_from_db()
    assert (download.state, download.attempts) == ("complete", 2)
    folder = path_for(download.download_key, "x").rpartition("/")[0]
    assert [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]] == [
        download.filepath
    ]


def test_a_complete_download_is_final() -> None:
    download = DownloadFactory(complete=True)
    cache.save_download(download.download_key, [["again"]])
    cache.set_error(download.download_key, "too late")
    cache.set_percentage(download.download_key, 5)
    download.refresh_from_db()
    assert (download.state, download.percentage, download.size) == ("complete", 100, 4)


def test_an_attempt_that_gives_a_heartbeat_is_not_given_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat comes between the read of the row and the write that would fail it."""
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
    download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
    real = claiming.current_attempt

    def heartbeat_meanwhile(download_key: str) -> store.Attempt | None:
        Download.objects.filter(pk=download.pk).heartbeat()
        return real(download_key)

    monkeypatch.setattr(claiming, "current_attempt", heartbeat_meanwhile)
    with pytest.raises(DownloadBusy):
        store.claim(download.download_key)
    assert Download.objects.get().state == "running"


def test_an_attempt_of_this_process_is_not_given_up(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    key = DownloadFactory().download_key
    with claimed(Download.objects.get()):
        stall_all()
        with ThreadPoolExecutor() as thread, pytest.raises(DownloadBusy):
            thread.submit(closing_connections, lambda: store.claim(key)).result()
        assert Download.objects.get().state == "running"


def test_too_many_attempts_end_in_failure_without_an_exception(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 2
    download = DownloadFactory(running=True, attempts=2, heard_at=long_ago())
    cache.save_download(download.download_key, [["never"]])
    download.refresh_from_db()
    assert download.state == "failed"
    assert download.errors.startswith("Given up: it stopped responding")
    assert "Attempts: 2" in download.error_detail


def test_a_worker_waits_for_a_row_that_is_not_committed(
    shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "ROW_WAIT_SECONDS", LONGEST_WAIT)
    user = UserFactory()
    created = threading.Event()
    keys: list[str] = []

    def request() -> None:
        try:
            with transaction.atomic():
                keys.append(cache.init_download(user, "early.csv")[1])
                created.set()
                time.sleep(0.3)
        finally:
            connection.close()

    thread = threading.Thread(target=request)
    thread.start()
    assert created.wait(timeout=LONGEST_WAIT)
    cache.save_download(keys[0], [["worth waiting for"]])
    thread.join()
    assert Download.objects.get().state == "complete"


def test_another_connection_sees_a_claim_at_once() -> None:
    download = DownloadFactory()
    claimed(download)
    seen: list[str] = []

    def read() -> None:
        seen.append(Download.objects.get().state)
        connections.close_all()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert seen == ["running"]
