"""The rules that every executor must keep, as a suite that a site runs against its own."""

import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest
from django.db import transaction

from async_downloads import cache, settings, store
from async_downloads.executors import dotted_path, enqueuer_for
from async_downloads.files import storage
from async_downloads.models import Call, Download
from async_downloads.shortcuts import enqueue_download, start_download
from async_downloads.testing.performing import DETAIL, PERCENTAGE, REFUSAL, Notes

__all__ = ["ExecutorConformance", "Worker"]

T = TypeVar("T")

#: Seconds after which a test stops waiting for a worker.
TIMEOUT: Final = 300.0

#: Seconds for which a transaction is held open, in which a task must not start.
LINGER: Final = 0.2

#: The longest ``STALLED_AFTER``, in seconds, for which a test waits until a task has stalled.
MAX_STALLED_AFTER: Final = 10


@dataclass(frozen=True, slots=True)
class Worker:
    """An executor with a running worker.

    Attributes:
        task: A task of the executor that passes all its arguments to ``perform``,
            the download key first. It has ``download_task``, unless the executor is
            django-q2.
        endings: Takes a download key, and returns for each delivery that has ended
            whether it succeeded for the queue. If left out, the suite does not check it.
        at_once: The number of tasks that the worker runs at the same time.
        kill: Takes the number of a process that runs a task, and kills it; afterwards the
            worker runs further tasks. If left out, the suite leaves behind what a killed
            process does: an attempt without heartbeats.
        coroutine: The same as ``task``, but a coroutine function that awaits ``aperform``. If
            left out, the suite does not check coroutines.
    """

    task: Any
    endings: Callable[[str], Sequence[bool]] | None = None
    at_once: int = 1
    kill: Callable[[int], object] | None = None
    coroutine: Any = None


class _Observed:
    """A task that records the keys for which it was queued."""

    def __init__(self, task: Any):
        self.queued: list[str] = []
        self._enqueue = enqueuer_for(task)

    def enqueue(self, download_key: str, *args: Any, **kwargs: Any) -> None:
        self.queued.append(download_key)
        self._enqueue(download_key, *args, **kwargs)


class ExecutorConformance:
    """The suite: a subclass whose name begins with ``Test`` has a fixture ``worker``.

    The fixture returns a ``Worker``, best in class scope. Its processes use the database,
    the storage and the cache of the tests. After each case the worker must be
    able to run another task.

    Attributes:
        executor_name: The name in the table at the end.
    """

    executor_name: ClassVar[str] = ""

    worker: Worker
    notes: Notes
    task: _Observed

    @pytest.fixture(autouse=True)
    def _at_work(
        self, request: pytest.FixtureRequest, transactional_db: None, tmp_path: Path
    ) -> Iterator[None]:
        self.worker = request.getfixturevalue("worker")
        self.notes = Notes(str(tmp_path))
        self.task = _Observed(self.worker.task)
        yield
        key = self._start("write")
        self._until(key, "complete")
        # The rows of the tests go now, and a queue may keep its own among them.
        for queued in set(self.task.queued):
            self._until_endings(queued)

    # The cases

    def test_the_file_is_whole(self) -> None:
        """The bytes are those that the task has written, after one attempt."""
        key = self._start("write")
        download = self._until(key, "complete")
        with storage.storage().open(download.filepath) as file:
            assert file.read() == b"positional\n"
        assert (download.attempts, download.errors) == (1, "")
        self._expect_ending(key, succeeded=True)

    def test_arguments_arrive(self) -> None:
        """Positional and keyword arguments, text, numbers and lists."""
        key = self._start("write", "ä", 7, [1, 2], named=None, group="g")
        download = self._until(key, "complete")
        with storage.storage().open(download.filepath) as file:
            assert file.read().decode() == 'positional,ä,7,"[1, 2]"\ngroup,g\nnamed,\n'

    def test_progress_is_seen(self) -> None:
        """While the worker builds the file, the row shows the percentage."""
        key = self._start("go on", "go")
        self._until_noted(key, "reported")
        download = self._row(key)
        assert (download.state, download.percentage) == ("running", PERCENTAGE)
        self.notes.go("go")
        assert self._until(key, "complete").percentage == 100

    def test_a_failure_is_recorded(self) -> None:
        """The owner gets a safe text, staff the traceback, the queue the exception."""
        self._expect_recorded_failure()

    def test_a_refusal_is_shown_to_the_owner(self) -> None:
        """For the queue it is a success, so that it does not repeat the task."""
        key = self._start("refuse")
        assert self._until(key, "failed").errors == REFUSAL
        self._expect_ending(key, succeeded=True)
        assert len(self.notes.noted(key, "started")) == 1

    def test_no_file_is_a_failure(self) -> None:
        """A task that returns without a file has not done its work."""
        key = self._start("forget")
        download = self._until(key, "failed")
        assert download.errors
        assert not self._stored(download)

    def test_an_exit_does_not_end_the_worker(self) -> None:
        """``sys.exit`` fails the task; the worker still runs as many tasks at once as before."""
        key = self._start("leave")
        assert self._until(key, "failed").errors
        self._expect_ending(key, succeeded=False)
        keys = [self._start("go on", "go") for _ in range(self.worker.at_once)]
        for running in keys:
            self._until_noted(running, "reported")
        self.notes.go("go")
        for running in keys:
            self._until(running, "complete")

    def test_a_cleared_download_is_cancelled(self) -> None:
        """The task is cancelled at its next row; no row and no file are left."""
        self._expect_cancellation()

    def test_a_second_delivery_does_no_work(self) -> None:
        """The second delivery comes during the first, or after it."""
        key = self._start("go on", "go")
        self._until_noted(key, "reported")
        self._deliver(key, "go on", "go")
        if self.worker.at_once > 1:
            # The second waits for a heartbeat of the first, and then ends.
            self._until_endings(key, at_least=1)
        self.notes.go("go")
        download = self._until(key, "complete")
        self._until_endings(key)
        assert len(self.notes.noted(key, "started")) == 1
        assert self._row(key).attempts == 1
        assert self._stored(download) == [posixpath.basename(download.filepath)]

    def test_a_stalled_attempt_is_taken_over(self) -> None:
        """The late attempt finds that its claim is lost, and leaves the other one's file alone."""
        if self.worker.at_once < 2:
            pytest.skip("the worker runs one task at a time")
        self._skip_if_stalls_are_late()
        key = self._start("stall", "go")
        self._until_noted(key, "started")
        self._deliver(key, "go on", "end")
        self._until_noted(key, "reported")
        self.notes.go("go")
        self._until_noted(key, "cancelled")
        assert self._row(key).state == "running"
        self.notes.go("end")
        download = self._until(key, "complete")
        with storage.storage().open(download.filepath) as file:
            assert file.read().endswith(b"end\n")
        self._until_endings(key)
        _eventually(lambda: len(self._stored(download)) == 1, why=f"one file of {key}")

    def test_a_killed_attempt_is_rescued(self) -> None:
        """A rescue queues the recorded task again; the next attempt builds the file."""
        self._skip_if_stalls_are_late()
        key = self._start_recorded("go on", "go", queued=self.worker.kill is not None)
        if self.worker.kill is None:
            store.claim(key)
            expected = 1
        else:
            self._until_noted(key, "reported")
            process, _ = self.notes.noted(key, "started")[0].split()
            self.worker.kill(int(process))
            expected = 2

        def started_again() -> bool:
            store.rescue_alone()
            return len(self.notes.noted(key, "started")) == expected

        _eventually(started_again, why=f"{key} started again")
        self.notes.go("go")
        download = self._until(key, "complete")
        assert (download.attempts, download.errors) == (2, "")
        assert self._stored(download) == [posixpath.basename(download.filepath)]
        self._until_success(key)

    def test_a_failed_download_is_tried_again(self) -> None:
        """On the same row, and with attempts that start afresh."""
        key = self._start_recorded("fail once")
        failed = self._until(key, "failed")
        assert failed.retryable
        assert store.retry(failed)
        assert not store.retry(failed)
        download = self._until(key, "complete")
        assert (download.attempts, download.errors, download.error_detail) == (1, "", "")
        assert len(self.notes.noted(key, "started")) == 2
        assert self._stored(download) == [posixpath.basename(download.filepath)]
        self._until_success(key)

    def test_it_is_queued_after_the_commit(self) -> None:
        """It is not queued before, and then once."""
        with transaction.atomic():
            key = self._start("write")
            time.sleep(LINGER)
            assert self.task.queued == []
            assert not self.notes.noted(key, "started")
        assert self.task.queued == [key]
        self._until(key, "complete")

    def test_a_rollback_queues_nothing(self) -> None:
        """Neither the row nor the task is left."""
        keys = []
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            keys.append(self._start("write"))
            1 / 0  # noqa: B018 (it ends the transaction)
        later = self._start("write")
        self._until(later, "complete")
        assert self.task.queued == [later]
        assert not Download.objects.filter(pk__in=keys).exists()
        assert not self.notes.noted(keys[0], "started")

    def test_a_coroutine_builds_the_file(self) -> None:
        """The worker runs it to its end, with progress."""
        self._use_coroutine()
        key = self._start("go on", "go")
        self._until_noted(key, "reported")
        download = self._row(key)
        assert (download.state, download.percentage) == ("running", PERCENTAGE)
        self.notes.go("go")
        download = self._until(key, "complete")
        with storage.storage().open(download.filepath) as file:
            assert file.read().endswith(b"end\n")
        self._expect_ending(key, succeeded=True)

    def test_a_cleared_download_cancels_a_coroutine(self) -> None:
        """It ends at its next row, by ``DownloadCancelled``; no row and no file are left."""
        self._use_coroutine()
        self._expect_cancellation()

    def test_the_failure_of_a_coroutine_is_recorded(self) -> None:
        """As that of a function; the queue gets the exception."""
        self._use_coroutine()
        self._expect_recorded_failure()

    # Helpers

    def _use_coroutine(self) -> None:
        if self.worker.coroutine is None:
            pytest.skip("the worker has no task that is a coroutine function")
        self.task = _Observed(self.worker.coroutine)

    def _start(self, behaviour: str, *args: Any, **kwargs: Any) -> str:
        """Create a download, queue the task, and return the key."""
        _, key = cache.init_download("conformance", "export.csv")
        self._deliver(key, behaviour, *args, **kwargs)
        return key

    def _deliver(self, key: str, behaviour: str, *args: Any, **kwargs: Any) -> None:
        enqueue_download(self.task, key, behaviour, str(self.notes.folder), *args, **kwargs)

    def _start_recorded(self, behaviour: str, *args: Any, queued: bool = True) -> str:
        """Create a download that records its call, and return the key."""
        path = dotted_path(self.worker.task)
        if not path:
            pytest.skip("the task has no dotted path, so no row can record it")
        arguments = [behaviour, str(self.notes.folder), *args]
        if queued:
            names = ("conformance", "export.csv")
            return start_download(self.worker.task, *names, args=arguments)[1]
        _, key = cache.init_download("conformance", "export.csv")
        store.record_call(key, Call(path, arguments, {}))
        return key

    def _skip_if_stalls_are_late(self) -> None:
        if settings.STALLED_AFTER > MAX_STALLED_AFTER:
            pytest.skip(f"ASYNC_DOWNLOADS_STALLED_AFTER is above {MAX_STALLED_AFTER}")

    def _row(self, key: str) -> Download:
        return Download.objects.get(pk=key)

    def _until(self, key: str, state: str) -> Download:
        try:
            _eventually(lambda: self._row(key).state == state, why=f"{key} {state}")
        except AssertionError as error:
            row = self._row(key)
            error.add_note(f"It is {row.state}: {row.errors}\n{row.error_detail}")
            raise
        return self._row(key)

    def _until_noted(self, key: str, event: str) -> None:
        _eventually(lambda: self.notes.noted(key, event), why=f"{key} {event}")

    def _until_endings(self, key: str, *, at_least: int = 0) -> None:
        """Wait until the queue has recorded the end of deliveries: of all, if left out."""
        endings, count = self.worker.endings, at_least or self.task.queued.count(key)
        if endings is not None:
            _eventually(lambda: len(endings(key)) >= count, why=f"{count} endings of {key}")

    def _until_success(self, key: str) -> None:
        """Wait until the queue has recorded that a delivery has succeeded."""
        endings = self.worker.endings
        if endings is not None:
            _eventually(lambda: True in endings(key), why=f"a success of {key}")

    def _expect_ending(self, key: str, *, succeeded: bool) -> None:
        """Wait until the queue has recorded the end of a task, and check it."""
        if self.worker.endings is not None:
            self._until_endings(key)
            assert list(self.worker.endings(key)) == [succeeded]

    def _expect_recorded_failure(self) -> None:
        key = self._start("fail")
        download = self._until(key, "failed")
        assert download.errors
        assert DETAIL not in download.errors
        assert f"LookupError: {DETAIL}" in download.error_detail
        assert not self._stored(download)
        self._expect_ending(key, succeeded=False)

    def _expect_cancellation(self) -> None:
        key = self._start("go on", "never")
        self._until_noted(key, "reported")
        download = self._row(key)
        store.purge(Download.objects.filter(pk=key))
        self._until_noted(key, "cancelled")
        self._expect_ending(key, succeeded=True)
        _eventually(lambda: not self._stored(download), why=f"no file of {key}")
        assert not Download.objects.filter(pk=key).exists()

    def _stored(self, download: Download) -> list[str]:
        """Return the files of a download in the storage."""
        folder = posixpath.dirname(download.filepath)
        try:
            return sorted(storage.storage().listdir(folder)[1])
        except FileNotFoundError:
            return []


def _eventually(condition: Callable[[], T], *, why: str) -> T:
    deadline = time.monotonic() + TIMEOUT
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {TIMEOUT:g} s: {why}.")
        time.sleep(0.02)
    return answer
