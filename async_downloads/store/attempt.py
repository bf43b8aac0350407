"""One attempt at building a file."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self, TypeVar

from async_downloads import settings
from async_downloads.exceptions import DownloadCancelled, DownloadUnavailable
from async_downloads.files import storage
from async_downloads.files.storage import StoredFile
from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store import cache_entries
from async_downloads.store.outages import durable_write, retry_on_outage
from async_downloads.store.output_file import OutputFile
from async_downloads.store.registry import Registry
from async_downloads.store.removal import purge
from async_downloads.store.transactions import (
    DatabaseFault,
    after_commit,
    downloads,
    in_savepoint,
    in_transaction,
    read_committed,
    retry_on_new_connection,
)
from async_downloads.store.write_through import write_progress, write_through
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger

__all__ = ["Attempt", "current_attempt"]

logger = get_logger(__name__)

Row = TypeVar("Row")

#: Seconds between two signs of life of a writer, and so until it notices that it was cancelled.
HEARTBEAT_SECONDS: Final = 2.0

#: How many times the progress of a file is recorded.
STEPS: Final = 10


class Attempt:
    """One attempt at building a file, holding the claim on its row.

    Every write carries the claim. A run whose claim is no longer on the row
    has lost: it removes what it wrote and raises ``DownloadCancelled``.

    It is a context manager that records an exception on its way out. What
    happens inside may enter it again: a task's body is in it, and so is what
    the body saves.

    Attributes:
        runs_task: Whether a task's body is in it, whose threads may save the file.
        save_lock: Held while a file is saved in it.
        token: The claim; or what is on the row, where no claim was written.
        recorded_error: The exception on its way out that the row tells of.
    """

    def __init__(self, download: Download, token: uuid.UUID | None):
        """Begin an attempt at a download, given as the row was before the claim."""
        self.download = download
        self.output = OutputFile(download, token)
        self.is_writing = False
        self.runs_task = False
        self.save_lock = threading.Lock()
        self.rows_written: int | None = None
        self.rows_expected: int | None = None
        self.token = token
        self._next_step = 0
        self._thread = threading.get_ident()
        self._depth = 0
        self.recorded_error: BaseException | None = None
        self._reported: tuple[str, str] | None = None
        self._percentage = download.percentage if download.state == DownloadState.PENDING else 0
        self.next_heartbeat = time.monotonic() + _pause()
        if token != download.claim:
            # What the claim has written, for entries that are made without the row.
            download.state, download.errors = DownloadState.RUNNING, ""

    def __enter__(self) -> Self:
        if not self._depth:
            if self.download.attempts:
                # What an earlier run left behind would push this one to another name.
                self._sweep()
            _registry.add(self)
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
                _registry.remove(self)

    @property
    def in_this_thread(self) -> bool:
        """Whether it is this thread that the run belongs to."""
        return self._thread == threading.get_ident()

    @property
    def superseded(self) -> bool:
        """Whether another run has taken the download over, and is still at it."""
        return retry_on_outage(
            lambda: downloads().claimed_by_another(self.download.pk, self.token).exists()
        )

    def with_heartbeats(self, parts: Iterable[Row]) -> Iterator[Row]:
        """Yield what is written, with a heartbeat every ``HEARTBEAT_SECONDS`` between two parts.

        Args:
            parts: What is written, such as pieces of a file.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        monotonic = time.monotonic
        with self.writing():
            for part in parts:
                if monotonic() >= self.next_heartbeat:
                    self.heartbeat()
                yield part

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let whoever writes inside see to the signs of life."""
        self.is_writing = True
        try:
            yield
        finally:
            self.is_writing = False

    def report_rows(self, rows: int) -> None:
        """Say how many rows are written, if it is time for a sign of life.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        if time.monotonic() < self.next_heartbeat:
            return
        self.rows_written = rows
        # Where nobody reports a percentage, the number of rows is what there is to see.
        change = "" if self._percentage else "progressed"
        self._write(lambda: self.held.heartbeat(**self._rows), change=change)

    def heartbeat(self) -> None:
        """Give a sign of life and see whether the claim still stands.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self._write(lambda: self.held.heartbeat(**self._rows))

    def set_percentage(self, percentage: int) -> None:
        """Record progress.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self._percentage = percentage
        self._write(lambda: self.held.progress(percentage), change="progressed")

    def begin_file(self, filename: str) -> None:
        """Forget the rows of a file that the same task has failed to write before.

        Args:
            filename: The name for the file, by the format that was chosen for it.
        """
        self.rows_written = self.rows_expected = None
        self._next_step = 0
        self.output.rename(filename)

    def report_progress(self, total: int, current: int) -> None:
        """Record each tenth of the rows once; between two of them a call costs a comparison.

        Args:
            total: How many rows there will be in all. Nothing is recorded of 0.
            current: The index of the row that was just written, counted from 0.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        if current < self._next_step or not total:
            return
        step = min((current + 1) * STEPS // total, STEPS)
        # The first index of the next step; none follows the last one.
        self._next_step = -(-(step + 1) * total // STEPS) - 1 if step < STEPS else sys.maxsize
        if step:
            self.set_percentage(step * 100 // STEPS)

    def resume(self) -> None:
        """Go on after an end that was reported inside this run, and rolled back if it was good."""
        self.recorded_error = self._reported = None
        if self.download.failed or self.download.complete:
            self.download.state = DownloadState.RUNNING
            self._change(lambda: self.held.resume(), "progressed", by=retry_on_outage)

    def complete(self, stored: StoredFile) -> None:
        """Finish with a whole file in the storage.

        Raises:
            DownloadCancelled: The claim is lost; the file is removed again.
            DownloadUnavailable: It could not be recorded. The file stays until the next
                attempt begins, or the row goes.
        """
        cleared = in_transaction() and self._cleared()
        if cleared or not self._reached(stored):
            # A storage that overwrites may have given a later run the same name.
            if cleared or not self._exists(filepath=stored.path):
                storage.remove(stored.path)
            raise self._lost()
        self.download.state, self._reported = DownloadState.COMPLETE, None
        if in_transaction():
            # Until the caller commits, the row is locked for whoever clears it.
            after_commit(lambda: self._tidy(self._purge_if_cleared))
        if self.download.attempts:
            self._sweep(keep=stored.path)

    def _reached(self, stored: StoredFile) -> bool:
        """Write that the whole file is there; return whether the claim still stood."""

        def write() -> int:
            return self.output.reach(self.held, stored, **self._rows)

        try:
            return self._change(lambda: in_savepoint(write), "completed", by=retry_on_outage)
        except DatabaseFault:
            # A transaction that sees the past cannot write to a row that was removed since.
            if not in_transaction() or self._exists():
                raise
            return False

    def report_error(self, errors: str, *, detail: str) -> bool:
        """Record a failure, after which the run may still go on.

        Args:
            errors: What the owner is told.
            detail: What staff are told.

        Returns:
            Whether it was recorded: not once the download is complete, or lost.

        Raises:
            DownloadUnavailable: The database was away for too long.
        """
        self._reported = (errors, detail)

        def write() -> int:
            changed = self.held.fail(errors, detail=detail)
            if changed:
                write_through(self.download.pk, "failed")
            return changed

        if not durable_write(self.held, write):
            return False
        self.download.state = DownloadState.FAILED
        return True

    def fail(self, errors: str, *, detail: str) -> bool:
        """Record a failure and remove what was written; return whether it was recorded.

        Raises:
            DatabaseFault: It was not recorded; or ``DownloadUnavailable``, likewise.
        """
        # Once the failure is seen, another run may begin, and its file is not ours to sweep.
        swept = not in_transaction() and retry_on_outage(lambda: self.held.exists())
        if swept:
            self._sweep()
        recorded = self.report_error(errors, detail=detail)
        if not recorded:
            self.abandon()
        elif not swept:
            self._sweep()
        return recorded

    def fail_without_file(self, errors: str) -> None:
        """End a run that had to make a file: without one, it has failed.

        Args:
            errors: What the owner is told of that.
        """
        if self._unfinished():
            logger.error("Download %s: its task made no file", self.download.download_key)
            self.fail(errors, detail=errors)

    def release(self) -> None:
        """End a run that need not make a file: without one, the download waits for another run."""
        self._change(lambda: self.held.release(), "progressed", by=retry_on_outage)

    def abandon(self) -> None:
        """Remove what a run wrote that has lost its claim."""
        # While there is a row, the folder may hold the file of the run that took over.
        if not self._exists():
            self._sweep()

    @property
    def held(self) -> DownloadQuerySet:
        """The row, as long as this run may write to it."""
        return downloads().claimed_by(self.download.pk, self.token)

    def _record(self, error: BaseException | None) -> None:
        """Record how a part of the run ended, or raise."""
        if isinstance(error, DownloadUnavailable):
            # The row is left to the next attempt.
            return
        if isinstance(error, DownloadCancelled):
            self._tidy(self.abandon)
        elif error is not None and error is not self.recorded_error:
            try:
                self._record_failure(error)
            except Exception:
                if isinstance(error, Exception):
                    raise
                # It ends the process, or the queue waits for it.
                logger.exception("The failure of %s was not recorded", self.download.download_key)
                return
        if not self._depth and not in_transaction():
            if self._reported and self._unfinished():
                # It was rolled back with the transaction that it was reported in.
                self.fail(self._reported[0], detail=self._reported[1])
            self._tidy(self._purge_if_cleared)

    def _record_failure(self, error: BaseException) -> None:
        logger.error("Download %s failed", self.download.download_key, exc_info=error)
        # What the task has told the owner itself says more than its exception may.
        errors = self._reported[0] if self._reported else error_text.for_owner(error)
        recorded = self.fail(errors, detail=error_text.for_staff(error))
        # What the body of a task raises, the queue sees as it is.
        saving = isinstance(error, Exception) and (self._depth or not self.runs_task)
        complete = {"claim": self.token, "state": DownloadState.COMPLETE}
        if saving and not recorded and not self._exists(**complete):
            raise self._lost() from error
        self.recorded_error = error

    def _purge_if_cleared(self) -> None:
        """Remove a download whose row was locked when its owner cleared it."""
        if self._cleared():
            retry_on_outage(
                lambda: purge(downloads().filter(pk=self.download.pk, claim=self.token))
            )

    def _tidy(self, work: Callable[[], object]) -> None:
        """Do what must not hide how the run ended."""
        try:
            work()
        except (DatabaseFault, DownloadUnavailable):
            logger.exception("Download %s was not cleared up", self.download.download_key)

    def _unfinished(self) -> bool:
        return retry_on_outage(lambda: self.held.unfinished().exists())

    @property
    def _rows(self) -> dict[str, int | None]:
        return {"rows_written": self.rows_written, "rows_expected": self.rows_expected}

    def _exists(self, **columns: object) -> bool:
        rows = downloads().filter(pk=self.download.pk, **columns)
        return retry_on_outage(lambda: read_committed(lambda: rows.exists()))

    def _cleared(self) -> bool:
        return cache_entries.is_cleared(self.download.download_key)

    def _write(self, statement: Callable[[], int], *, change: str = "") -> None:
        """Write to the row, if that is possible without harm; the entry alone does otherwise.

        Inside a caller's transaction it is not: the row's lock would be held to
        the end. Nor where the database is out of reach or locked for longer than
        it waits, which must not fail the export.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self.next_heartbeat = time.monotonic() + _pause()
        inside = in_transaction()
        try:
            if inside:
                held = self.held.exists() and not self._cleared()
            else:
                held = self._change(statement, change)
        except DatabaseFault as error:
            logger.warning("Download %s: no write to its row: %s", self.download.pk, error)
            write_progress(self.download, self._percentage)
            return
        if not held:
            raise self._lost()
        if inside:
            write_progress(self.download, self._percentage)
        else:
            cache_entries.touch_entry(self.download.download_key)

    def _change(
        self,
        statement: Callable[[], int],
        change: str,
        *,
        by: Callable[[Callable[[], bool]], bool] = retry_on_new_connection,
    ) -> bool:
        """Change the row and publish the change; return whether the claim still stood."""

        def write() -> bool:
            held = statement() > 0
            if held and change:
                write_through(self.download.pk, change)
            return held

        return by(write)

    def _sweep(self, keep: str = "") -> None:
        storage.sweep(self.download.filepath, download_key=str(self.download.pk), keep=keep)

    def _lost(self) -> DownloadCancelled:
        key = self.download.pk
        return DownloadCancelled(f"Download {key} was cleared or taken over by another run.")


def _pause() -> float:
    """Return the seconds between two signs of life: several before a run counts as stalled."""
    return min(HEARTBEAT_SECONDS, settings.STALLED_AFTER / 4)


_registry: Final[Registry[Attempt]] = Registry()

current_attempt: Final = _registry.current
