"""Heartbeats of attempts whose own threads give none."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection, transaction
from django.db.backends.signals import connection_created

from async_downloads import cache, store
from async_downloads.exceptions import DownloadBusy, DownloadCancelled
from async_downloads.executors.runner import supervise
from async_downloads.models import Download
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries, heartbeats
from async_downloads.store.heartbeats import THREAD_NAME, Heartbeats
from async_downloads.store.live_progress import with_live_progress
from tests.attempts import claimed, closing_connections, elsewhere, long_ago, stall_all
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT, stretched
from tests.store.test_isolation import isolated

pytestmark = pytest.mark.django_db(transaction=True)


class UploadingStorage(FileSystemStorage):
    """A storage that takes long to save one of the files."""

    go = threading.Event()

    def _save(self, name: str, content: Any) -> str:
        if name.endswith("uploaded.csv"):
            self.go.wait(LONGEST_WAIT)
        return super()._save(name, content)


def computed(key: str, go: threading.Event) -> None:
    """Compute before the first row."""
    go.wait(LONGEST_WAIT)
    cache.save_download(key, [["row"]])


def late(key: str, go: threading.Event) -> None:
    """Write rows, one of which comes late."""

    def rows() -> Iterator[list[str]]:
        yield ["early"]
        go.wait(LONGEST_WAIT)
        yield ["late"]

    cache.save_download(key, rows())


def uploaded(key: str, go: threading.Event) -> None:
    """Save a file that the storage takes long for."""
    cache.save_download(key, [["row"]])


BODIES: tuple[Callable[[str, threading.Event], None], ...] = (computed, late, uploaded)


def requested(filename: str) -> str:
    """Return the key of a download whose call is recorded."""
    download = DownloadFactory(filename=filename, task="tests.jobs.build")
    download.filepath = f"downloads/{download.pk}/{filename}"
    Download.objects.filter(pk=download.pk).update(filepath=download.filepath)
    return str(download.download_key)


def deliver(key: str, body: Callable[[], object]) -> None:
    """Run a task as a worker does."""
    closing_connections(lambda: supervise(key, body, makes_file=True))


def until_silent_for(seconds: float) -> None:
    """Wait until heartbeats have come for so long, and check that nothing stalls meanwhile."""
    begin = {row.pk: row.heard_at for row in Download.objects.all()}

    def enough() -> bool:
        rows = list(Download.objects.all())
        assert not any(row.stalled for row in rows)
        assert store.rescue_alone() == store.Rescue()
        return min(row.heard_at - begin[row.pk] for row in rows) > timedelta(seconds=seconds)

    until(enough, why="heartbeats")


def given(attempt: store.Attempt) -> bool:
    """Let a thread give a heartbeat of an attempt; return whether it may need another one."""
    return bool(elsewhere(attempt.heartbeats.give))


def threads() -> list[threading.Thread]:
    """Return the threads that give heartbeats."""
    return [each for each in threading.enumerate() if each.name == THREAD_NAME]


def until(condition: Callable[[], object], *, why: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def heard_at() -> datetime:
    """Return the last heartbeat on the row of the only download."""
    return Download.objects.get().heard_at


def until_heard(number: int = 1) -> None:
    """Wait for so many heartbeats on the row of the only download."""
    for _ in range(number):
        last = heard_at()
        until(lambda last=last: heard_at() > last, why="a heartbeat")  # type: ignore[misc]


@contextmanager
def locked(download: Download) -> Iterator[None]:
    """Lock the row of a download, or all of SQLite, on another connection."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Download.objects.filter(pk=download.pk).update(fetch_count=1)
            held.set()
            release.wait(LONGEST_WAIT)

    with ThreadPoolExecutor(max_workers=1) as thread:
        lock = thread.submit(closing_connections, hold)
        try:
            assert held.wait(LONGEST_WAIT)
            yield
        finally:
            release.set()
            lock.result()


@pytest.fixture
def quick(settings: Any) -> float:
    """Let downloads stall soon; return the seconds."""
    seconds = stretched(2)
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = seconds
    return seconds


@pytest.mark.long
def test_a_download_never_stalls_while_its_process_is_alive(quick: float, settings: Any) -> None:
    """Bodies and a storage are silent for long, and the tasks are delivered again meanwhile."""
    backend = f"{UploadingStorage.__module__}.{UploadingStorage.__qualname__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    UploadingStorage.go = go = threading.Event()
    keys = {body: requested(f"{body.__name__}.csv") for body in BODIES}
    with ThreadPoolExecutor(max_workers=2 * len(BODIES)) as pool:
        first = [pool.submit(deliver, key, partial(body, key, go)) for body, key in keys.items()]
        until(lambda: Download.objects.filter(state="running").count() == 3, why="three attempts")
        try:
            refused = partial(pytest.fail, "The body began a second time.")
            second = [pool.submit(deliver, key, refused) for key in keys.values()]
            until_silent_for(5 * quick)
        finally:
            go.set()
        assert [each.exception() for each in first] == [None] * 3
        assert {type(each.exception()) for each in second} == {DownloadBusy}
    for download in Download.objects.all():
        assert (download.state, download.attempts) == ("complete", 1)
        assert len(FileSystemStorage().listdir(f"downloads/{download.pk}")[1]) == 1
    until(lambda: not threads(), why="the end of the thread")


def test_a_heartbeat_of_the_thread_does_not_say_that_the_work_moves(quick: float) -> None:
    download = DownloadFactory()
    with claimed(download) as attempt:
        attempt.rows_written = 7
        attempt.heartbeat()
        before = Download.objects.get()
        until_heard()
        after = Download.objects.get()
        assert after.expires_at is not None
        assert before.expires_at is not None
        assert after.expires_at > before.expires_at
        assert (after.moved_at, after.rows_written) == (before.moved_at, 7)
        attempt.heartbeat()
        assert Download.objects.get().moved_at > before.moved_at


@pytest.mark.long
def test_the_thread_opens_no_connection_while_rows_are_written(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = stalled_after = stretched(4)
    opened: list[str] = []

    def note(**_: object) -> None:
        opened.append(threading.current_thread().name)

    def rows() -> Iterator[list[str]]:
        end = time.monotonic() + stalled_after
        while time.monotonic() < end:
            time.sleep(0.002)
            yield ["row"]
            assert len(threads()) == 1

    connection_created.connect(note)
    try:
        cache.save_download(DownloadFactory().download_key, rows())
    finally:
        connection_created.disconnect(note)
    assert Download.objects.get().state == "complete"
    assert THREAD_NAME not in opened


def test_a_second_attempt_needs_no_second_thread() -> None:
    with claimed(DownloadFactory()), claimed(DownloadFactory()):
        assert len(threads()) == 1
    until(lambda: not threads(), why="the end of the thread")
    with claimed(DownloadFactory()):
        assert len(threads()) == 1


def test_an_attempt_that_was_rescued_gets_no_heartbeat() -> None:
    download = DownloadFactory()
    with pytest.raises(DownloadCancelled), claimed(download) as attempt:
        stall_all()
        Download.objects.update(task="tests.jobs.build")
        assert store.rescue_alone() == store.Rescue(requeued=1)
        before = heard_at()
        assert not given(attempt)
        assert heard_at() == before
        attempt.heartbeat()


def test_an_attempt_that_has_ended_gets_no_heartbeat(shared_cache: str) -> None:
    download = DownloadFactory()
    cache.save_download(download.download_key, [["row"]])
    with claimed(DownloadFactory()) as attempt:
        attempt.fail("enough", detail="")
        entry = cache_entries.get_entry(attempt.download.download_key)
        given(attempt)
        assert not attempt.heartbeats._write_to_cache()
        assert cache_entries.get_entry(attempt.download.download_key) == entry


def test_a_database_that_is_locked_costs_one_line_of_the_log_and_not_the_export(
    shared_cache: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The cache gets the heartbeats meanwhile."""
    download = DownloadFactory()
    with claimed(download) as attempt:
        Download.objects.update(heard_at=long_ago())
        with locked(download):
            assert given(attempt)
            assert given(attempt)
            assert Download.objects.get().stalled
            assert not with_live_progress([Download.objects.get()])[0].stalled
        assert caplog.text.count("no heartbeat") == 1
        assert given(attempt)
        assert not Download.objects.get().stalled


class TestTransaction:
    def test_the_cache_alone_gets_heartbeats_beside_a_transaction(
        self, shared_cache: str, quick: float
    ) -> None:
        changes: list[str] = []

        def note(change: str, **_: object) -> None:
            changes.append(change)

        def stamp() -> object:
            entry = cache_entries.get_entry(download.download_key)
            return entry and entry["stamp"]

        download = DownloadFactory()
        with claimed(download) as attempt:
            before = Download.objects.get()
            # Its time lags behind the database by as long as the read of the row took.
            until(
                lambda: attempt.download.database_time() > before.moved_at,
                why="a later time on the clock of the attempt",
            )
            with transaction.atomic():
                attempt.set_percentage(40)
                own = stamp()
                # The thread may first finish a write to the row that it began before.
                until(lambda: stamp() != own, why="a heartbeat in the cache")
                row = Download.objects.get()
                shown = with_live_progress([Download.objects.get()])[0]
                download_changed.connect(note)
                until(
                    lambda: (
                        with_live_progress([Download.objects.get()])[0].heard_at
                        > shown.heard_at + timedelta(seconds=quick)
                    ),
                    why="heartbeats in the cache",
                )
                download_changed.disconnect(note)
                after = with_live_progress([Download.objects.get()])[0]
                assert (after.percentage, after.moved_at) == (40, shown.moved_at)
                assert shown.moved_at > before.moved_at
                assert (Download.objects.get().heard_at, changes) == (row.heard_at, [])

    def test_an_attempt_that_gives_heartbeats_in_the_cache_is_not_rescued(
        self, shared_cache: str
    ) -> None:
        download = DownloadFactory()
        with claimed(download) as attempt:
            Download.objects.update(heard_at=long_ago(), task="tests.jobs.build")
            with transaction.atomic():
                given(attempt)
            assert Download.objects.rescuable().exists()
            assert store.rescue_alone() == store.Rescue()
            stall_all()
            assert store.rescue_alone() == store.Rescue(requeued=1)

    def test_a_row_gets_heartbeats_that_no_cache_can_show(self, quick: float) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one writer: the transaction")
        download = DownloadFactory()
        with claimed(download):
            with transaction.atomic():
                assert not Download.objects.get().stalled
                elsewhere(lambda: until_heard(3))
            cache.save_download(download.download_key, [["row"]])
        assert Download.objects.get().state == "complete"

    def test_a_row_of_the_transaction_itself_does_no_harm(self, quick: float) -> None:
        with transaction.atomic():
            download = DownloadFactory()
            with claimed(download) as attempt:
                attempt.heartbeats._seen -= quick
                assert given(attempt)
                cache.save_download(download.download_key, [["row"]])
        assert Download.objects.get().state == "complete"

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_a_transaction_with_a_snapshot_completes(
        self, shared_cache: str, quick: float, level: str
    ) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no levels of isolation to choose from")
        download = DownloadFactory()
        with claimed(download) as attempt, isolated(level):
            for _ in range(3):
                attempt.heartbeats._seen -= quick
                assert given(attempt)
            cache.save_download(download.download_key, [["row"]])
        assert Download.objects.get().state == "complete"

    def test_a_table_of_sqlite_is_left_to_the_transaction(self, settings: Any) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("only SQLite has one writer")
        settings.ASYNC_DOWNLOADS_CACHE_NAME = "database"
        download = DownloadFactory()
        with claimed(download) as attempt, transaction.atomic():
            assert not Download.objects.get().stalled
            given(attempt)
            assert not attempt.heartbeats._fails
            # The transaction would fail if another connection had written since it has read.
            Download.objects.update(fetch_count=1)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_starts_a_thread_of_its_own(settings: Any) -> None:
    class Given(Heartbeats):
        def give(self) -> bool:
            given.set()
            return False

    with claimed(DownloadFactory()) as attempt:
        given = threading.Event()
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 0.4
        child = os.fork()
        if not child:
            try:
                inherited = bool(heartbeats._thread._attempts)
                Given(attempt.download, attempt.token, 0).begin()
                well = not inherited and given.wait(LONGEST_WAIT)
                os._exit(0 if well else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(threads()) == 1
