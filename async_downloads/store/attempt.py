"""One attempt at building a file."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar

from async_downloads import settings
from async_downloads.exceptions import DownloadCancelled, DownloadUnavailable
from async_downloads.files import storage
from async_downloads.files.storage import StoredFile
from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store import cache_entries
from async_downloads.store.estimate import Estimate
from async_downloads.store.heartbeats import Heartbeats
from async_downloads.store.outages import retry_on_outage
from async_downloads.store.output_file import OutputFile
from async_downloads.store.removal import purge
from async_downloads.store.transactions import (
    DatabaseFault,
    after_commit,
    canonical_key,
    downloads,
    in_savepoint,
    in_transaction,
    read_committed,
    retry_on_new_connection,
)
from async_downloads.store.write_through import (
    fail_and_publish,
    loaded_key,
    write_and_publish,
    write_progress,
)
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger

__all__ = ["Attempt", "current_attempt"]

logger = get_logger(__name__)

Part = TypeVar("Part")

#: Seconds between two heartbeats, and so until an attempt notices that it was cancelled.
HEARTBEAT_SECONDS: Final = 2.0

#: How many times the progress of a file is recorded.
STEPS: Final = 10

_lock: Final = threading.Lock()

#: The attempts of this process by their download keys: several if a queue with threads has
#: delivered a task again.
_attempts: "Final[dict[str, tuple[Attempt, ...]]]" = {}


class Attempt:
    """One attempt at building a file, with a claim on the row of the download.

    Each write requires that the claim is still on the row. Heartbeats, progress and the end
    raise ``DownloadCancelled`` once it is lost, and what the attempt wrote is removed.

    It is a context manager that records an exception on its way out. It may be entered again
    inside itself: the body of a task is one block, and each file that it saves another.

    Attributes:
        download: The row, as it was before the claim.
        output: Where the file goes.
        token: The claim; the one on the row if none was written.
        runs_task: Whether the body of a task runs in it, whose threads may save the file.
        save_lock: Held while a file is saved.
        is_writing: Whether the writer of the rows sends the heartbeats.
        heartbeats: Those of the helper thread, while the attempt itself gives none.
        next_heartbeat: When the next heartbeat is due, on the monotonic clock.
        recorded_error: The exception that the row shows as the failure.
        rows_written: How many rows the file has; None if that is not known.
        rows_expected: How many rows it will have; None if that is not known.
    """

    def __init__(self, download: Download, token: uuid.UUID | None):
        """Begin an attempt at a download, given as the row was before the claim."""
        self.download = download
        self.output = OutputFile(download, token)
        self.token = token
        self.runs_task = False
        self.save_lock = threading.Lock()
        self.is_writing = False
        self.next_heartbeat = time.monotonic() + _heartbeat_interval()
        self.recorded_error: BaseException | None = None
        self.rows_written: int | None = None
        self.rows_expected: int | None = None
        self._estimate = Estimate()
        self._next_step = 0
        percentage = download.percentage if download.state == DownloadState.PENDING else 0
        self.heartbeats = Heartbeats(download, token, percentage)
        self._reported: tuple[str, str] | None = None
        self._thread = threading.get_ident()
        self._depth = 0
        if token != download.claim:
            # As the claim has written it, for cache entries that are made without a read.
            download.state, download.errors = DownloadState.RUNNING, ""

    def __enter__(self) -> Self:
        if not self._depth:
            if self._follows_another:
                # A file that an earlier attempt has left would take the name of this one.
                self._sweep()
            self._register()
            self.heartbeats.begin()
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        try:
            self._record(error)
        finally:
            if not self._depth:
                self.heartbeats.end()
                self._unregister()

    @property
    def in_this_thread(self) -> bool:
        """Whether the attempt was begun in this thread."""
        return self._thread == threading.get_ident()

    @property
    def superseded(self) -> bool:
        """Whether another attempt has taken the download over, and has not ended."""
        others = downloads().claimed_by_another(self.download.pk, self.token)
        return retry_on_outage(others.exists)

    @property
    def own_row(self) -> DownloadQuerySet:
        """The row; none once the claim is lost or the download is complete."""
        return downloads().claimed_by(self.download.pk, self.token)

    def begin_file(self, filename: str) -> None:
        """Forget the rows of a file that the same task has failed to write before.

        Args:
            filename: The name of the file, with the extension of its format.
        """
        self.rows_written = self.rows_expected = None
        self._estimate = Estimate()
        self._next_step = 0
        self.output.rename(filename)

    def with_heartbeats(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yield the parts of a file, with a heartbeat between two of them when one is due."""
        monotonic = time.monotonic
        with self.writing():
            for part in parts:
                if monotonic() >= self.next_heartbeat:
                    self.heartbeat()
                yield part

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Leave the heartbeats to the code inside, which writes rows or parts."""
        self.is_writing = True
        try:
            yield
        finally:
            self.is_writing = False

    def heartbeat(self) -> None:
        """Record that the attempt is alive, and check the claim."""
        self._write(self._write_heartbeat)

    def report_rows(self, rows: int) -> None:
        """Record how many rows are written, if a heartbeat is due."""
        if time.monotonic() < self.next_heartbeat:
            return
        self.rows_written = rows
        self._estimate.observe(time.monotonic(), rows, self.rows_expected)
        # A page shows the number of rows if no percentage is reported.
        change = "" if self.heartbeats.percentage else "progressed"
        self._write(self._write_heartbeat, change)

    def report_progress(self, total: int, current: int) -> None:
        """Record each tenth of the rows once; between two of them a call costs a comparison.

        Args:
            total: How many rows there will be in all. Nothing is recorded of 0.
            current: The index of the row that was just written, counted from 0.
        """
        if current < self._next_step or not total:
            return
        step = min((current + 1) * STEPS // total, STEPS)
        self._next_step = first_index(step + 1, total, STEPS)
        if step:
            self.set_percentage(step * 100 // STEPS)

    def set_percentage(self, percentage: int) -> None:
        """Record progress."""
        self.heartbeats.percentage = percentage
        if not self.rows_expected:
            # The number of rows says more.
            self._estimate.observe(time.monotonic(), percentage, 100)
        self._write(
            lambda: self.own_row.progress(percentage, expected_at=self._expected_at), "progressed"
        )

    def resume(self) -> None:
        """Continue after an error that the task has reported, or a file that was rolled back."""
        self.recorded_error = self._reported = None
        if self.download.failed or self.download.complete:
            self.download.state = DownloadState.RUNNING
            retry_on_outage(lambda: self._change(self.own_row.resume, "progressed"))

    def complete(self, stored: StoredFile) -> None:
        """Finish the download with a whole file in the storage.

        Raises:
            DownloadCancelled: The claim is lost. The file is removed.
            DownloadUnavailable: It could not be recorded. The file stays until the next
                attempt begins, or the row is deleted.
        """
        cleared = self._is_cleared()
        with self.heartbeats.paused():
            if cleared or not self._write_completion(stored):
                # A storage that overwrites may have given a later attempt the same name.
                if cleared or not self._exists(filepath=stored.path):
                    storage.remove(stored.path)
                raise self._lost_claim()
            self.download.state, self._reported = DownloadState.COMPLETE, None
        if self._follows_another:
            self._sweep(keep=stored.path)

    def report_error(self, errors: str, *, detail: str) -> bool:
        """Record a failure, after which the attempt may still continue.

        Args:
            errors: The text for the owner.
            detail: The text for staff.

        Returns:
            Whether it was recorded: not once the download is complete or the claim is lost.

        Raises:
            DownloadUnavailable: The database was away for too long.
        """
        self._reported = (errors, detail)
        with self.heartbeats.paused():
            recorded = fail_and_publish(self.own_row, self.download.pk, errors, detail)
            if recorded:
                self.download.state = DownloadState.FAILED
        return recorded

    def fail(self, errors: str, *, detail: str) -> bool:
        """Record a failure and remove what was written; return whether it was recorded.

        Raises:
            DatabaseFault: It was not recorded; likewise ``DownloadUnavailable``.
        """
        # Another attempt may begin once the failure is visible, and its files must stay.
        swept = not in_transaction() and retry_on_outage(self.own_row.exists)
        if swept:
            self._sweep()
        recorded = self.report_error(errors, detail=detail)
        if not recorded:
            self.abandon()
        elif not swept:
            self._sweep()
        return recorded

    def fail_without_file(self, errors: str) -> None:
        """End an attempt that must make a file: fail the download unless it has ended.

        Args:
            errors: The text for the owner.
        """
        if self._is_unfinished():
            logger.error("Download %s: its task made no file", self.download.download_key)
            self.fail(errors, detail=errors)

    def release(self) -> None:
        """End an attempt that need not make a file: the download waits for another attempt."""
        retry_on_outage(lambda: self._change(self.own_row.release, "progressed"))

    def abandon(self) -> None:
        """Remove what an attempt wrote that has lost its claim."""
        # While there is a row, its folder may hold the file of the attempt that took over.
        if not self._exists():
            self._sweep()

    def _record(self, error: BaseException | None) -> None:
        """Record how a block of the attempt has ended, or raise."""
        if isinstance(error, DownloadUnavailable):
            # The next attempt takes over.
            return
        if isinstance(error, DownloadCancelled):
            self._log_faults(self.abandon)
        elif error is not None and error is not self.recorded_error:
            try:
                self._record_failure(error)
            except Exception:
                if isinstance(error, Exception):
                    raise
                # The error ends the process, or the queue waits for it.
                logger.exception("The failure of %s was not recorded", self.download.download_key)
                return
        if self._depth:
            return
        if self._reported and not in_transaction() and self._is_unfinished():
            # The transaction that it was reported in was rolled back.
            self.fail(self._reported[0], detail=self._reported[1])
        self._log_faults(lambda: after_commit(self._purge_if_cleared))

    def _record_failure(self, error: BaseException) -> None:
        names = {"task": self.download.task, "collection_key": loaded_key(self.download)}
        logger.error(
            *("Download %s failed", self.download.download_key), exc_info=error, extra=names
        )
        # A text that the task has reported says more than the exception.
        errors = self._reported[0] if self._reported else error_text.for_owner(error)
        recorded = self.fail(errors, detail=error_text.for_staff(error))
        # The queue sees what the body of a task raises as it is.
        is_saving = isinstance(error, Exception) and (self._depth or not self.runs_task)
        complete = {"claim": self.token, "state": DownloadState.COMPLETE}
        if is_saving and not recorded and not self._exists(**complete):
            raise self._lost_claim() from error
        self.recorded_error = error

    def _purge_if_cleared(self) -> None:
        """Delete a download whose row was locked when its owner cleared it."""
        if self._is_cleared():
            rows = downloads().filter(pk=self.download.pk, claim=self.token)
            retry_on_outage(lambda: purge(rows))

    def _log_faults(self, work: Callable[[], object]) -> None:
        """Log a fault of the database, which must not hide how the attempt has ended."""
        try:
            work()
        except (DatabaseFault, DownloadUnavailable):
            logger.exception("Download %s was not cleaned up", self.download.download_key)

    @property
    def _follows_another(self) -> bool:
        """Whether there was an attempt before this one; a retry counts from 0 again."""
        return self.download.attempts > 0 or self.download.claim is not None

    @property
    def _row_counts(self) -> dict[str, int | None]:
        return {"rows_written": self.rows_written, "rows_expected": self.rows_expected}

    @property
    def _expected_at(self) -> datetime | None:
        """When the end is expected, on the clock of the database; None if that is not known."""
        end = self._estimate.end(time.monotonic())
        return None if end is None else end + self.download.clock_difference

    def _write_heartbeat(self) -> int:
        return self.own_row.heartbeat(**self._row_counts, expected_at=self._expected_at)

    def _is_unfinished(self) -> bool:
        return retry_on_outage(self.own_row.unfinished().exists)

    def _is_cleared(self) -> bool:
        return cache_entries.is_cleared(self.download.download_key)

    def _exists(self, **columns: object) -> bool:
        rows = downloads().filter(pk=self.download.pk, **columns)
        return retry_on_outage(lambda: read_committed(rows.exists))

    def _write_completion(self, stored: StoredFile) -> bool:
        """Record that the whole file is in the storage; return whether the claim was valid."""

        def write() -> int:
            return in_savepoint(
                lambda: self.output.record_stored(self.own_row, stored, **self._row_counts)
            )

        try:
            return retry_on_outage(lambda: self._change(write, "completed"))
        except DatabaseFault:
            # A transaction with an old snapshot cannot write to a row that was deleted since.
            if self._exists():
                raise
            return False

    def _write(self, statement: Callable[[], int], change: str = "") -> None:
        """Write to the row if that is harmless, else to the cache entry alone.

        Inside a caller's transaction it is harmful: the row would stay locked until the
        commit. A database that is away, or locked for long, must not fail the export.
        """
        self.next_heartbeat = time.monotonic() + _heartbeat_interval()
        moved_at = self.heartbeats.moved()
        try:
            if in_transaction():
                claimed, in_cache_alone = self.own_row.exists() and not self._is_cleared(), True
            else:
                claimed = retry_on_new_connection(lambda: self._change(statement, change))
                in_cache_alone = False
        except DatabaseFault as error:
            logger.warning("Download %s: no write to its row: %s", self.download.pk, error)
            claimed = in_cache_alone = True
        if not claimed:
            raise self._lost_claim()
        if not in_cache_alone:
            cache_entries.touch_entry(self.download.download_key)
        elif not write_progress(self.download, self.heartbeats.percentage, moved_at=moved_at):
            return
        self.heartbeats.seen()

    def _change(self, statement: Callable[[], int], change: str) -> bool:
        return write_and_publish(statement, self.download.pk, change)

    def _sweep(self, keep: str = "") -> None:
        storage.sweep(self.download.filepath, download_key=str(self.download.pk), keep=keep)

    def _register(self) -> None:
        key = self.download.download_key
        with _lock:
            _attempts[key] = (*_attempts.get(key, ()), self)

    def _unregister(self) -> None:
        key = self.download.download_key
        with _lock:
            if others := tuple(each for each in _attempts.pop(key, ()) if each is not self):
                _attempts[key] = others

    def _lost_claim(self) -> DownloadCancelled:
        key = self.download.pk
        return DownloadCancelled(f"Download {key} was cleared or taken over by another attempt.")


def current_attempt(download_key: str) -> Attempt | None:
    """Return the attempt of this process at a download, if there is one.

    An attempt of this thread comes first. A thread without one helps a task, so it gets the
    latest attempt: the earlier ones have lost their claims.
    """
    attempts = _attempts.get(canonical_key(download_key), ())
    own = (attempt for attempt in reversed(attempts) if attempt.in_this_thread)
    return next(own, attempts[-1] if attempts else None)


def first_index(step: int, total: int, steps: int) -> int:
    """Return the smallest index at which ``(index + 1) * steps // total`` is a step.

    Args:
        step: From 1 on. Past the last step, no index is large enough.
        total: The number of items in all.
        steps: The number of steps from 0 to 100 %.
    """
    return -(-step * total // steps) - 1 if step <= steps else sys.maxsize


def _heartbeat_interval() -> float:
    """Return the seconds between two heartbeats: the helper thread waits for twice as long."""
    return min(HEARTBEAT_SECONDS, settings.STALLED_AFTER / 8)
