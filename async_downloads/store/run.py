"""One attempt at building a file."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from django.db import Error as DatabaseFault
from django.db import connections

from async_downloads import entries, files
from async_downloads.exceptions import DownloadCancelled
from async_downloads.files import StoredFile
from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store.write_through import (
    database,
    downloads,
    in_transaction,
    write_progress,
    write_through,
)

__all__ = ["Run", "current_run"]

logger = logging.getLogger(__name__)

Row = TypeVar("Row")

#: Seconds between two signs of life of a writer, and so until it notices that it was cancelled.
HEARTBEAT_SECONDS: Final = 2.0


class Run:
    """One attempt at building a file, holding the claim on its row.

    Every write carries the claim. A run whose claim is no longer on the row
    has lost: it removes what it wrote and raises ``DownloadCancelled``.
    """

    def __init__(self, download: Download, token: uuid.UUID | None):
        """Begin an attempt.

        Args:
            download: The row as it was before the claim.
            token: The claim; or what is on the row, where no claim was written.
        """
        self.download = download
        self.path = download.filepath
        self._token = token
        self._percentage = download.percentage if download.state == DownloadState.PENDING else 0
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        if download.state == DownloadState.RUNNING and token is not None:
            # The run that is taken over may yet come back: it must not write to our name.
            self.path = files.with_suffix(self.path, token.hex[:8])
        if token != download.claim:
            # What the claim has written, for entries that are made without the row.
            download.state, download.errors = DownloadState.RUNNING, ""

    def __enter__(self) -> Self:
        if self.download.attempts:
            # What an earlier run left behind would push this one to another name.
            self._sweep()
        _runs[self.download.download_key] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _runs.get(self.download.download_key) is self:
            del _runs[self.download.download_key]

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, with a sign of life every ``HEARTBEAT_SECONDS`` between two of them.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        monotonic = time.monotonic
        for row in rows:
            if monotonic() >= self._next_beat:
                self.beat()
            yield row

    def beat(self) -> None:
        """Give a sign of life and see whether the claim still stands.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self._write(lambda: self.held.heartbeat())

    def progress(self, percentage: int) -> None:
        """Record progress.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self._percentage = percentage
        self._write(lambda: self.held.progress(percentage), change="progressed")

    def complete(self, stored: StoredFile) -> None:
        """Finish with a whole file in the storage.

        Raises:
            DownloadCancelled: The claim is lost; the file is removed again.
        """
        if not self._change(lambda: self.held.complete(**stored._asdict()), "completed"):
            # A storage that overwrites may have given a later run the same name.
            if not downloads().filter(pk=self.download.pk, filepath=stored.path).exists():
                files.remove(stored.path)
            raise self._lost()
        if self.download.attempts:
            self._sweep(keep=stored.path)

    def fail(self, errors: str, *, detail: str) -> None:
        """Record a failure and remove what was written.

        It is called while an exception is handled, so nothing is raised from here.

        Args:
            errors: What the owner is told.
            detail: What staff are told.
        """
        try:
            if self._change(lambda: self.held.fail(errors, detail=detail), "failed"):
                self._sweep()
            else:
                self.abandon()
        except Exception:
            logger.exception("The failure of %s was not recorded", self.download.download_key)

    def abandon(self) -> None:
        """Remove what a run wrote that has lost its claim."""
        # While there is a row, the folder may hold the file of the run that took over.
        if not downloads().filter(pk=self.download.pk).exists():
            self._sweep()

    @property
    def held(self) -> DownloadQuerySet:
        """The row, as long as this run may write to it."""
        return downloads().held(self.download.pk, self._token)

    def _write(self, statement: Callable[[], int], *, change: str = "") -> None:
        """Write to the row, if that is possible without harm; the entry alone does otherwise.

        Inside a caller's transaction it is not: the row's lock would be held to
        the end. Nor where the database is out of reach or locked for longer than
        it waits, which must not fail the export.

        Args:
            statement: Changes the row, and returns how many rows it changed.
            change: What to tell, in the words of ``signals``, if it is to be told.

        Raises:
            DownloadCancelled: The claim is lost.
        """
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        inside = in_transaction()
        try:
            held = self.held.exists() if inside else self._change(statement, change)
        except DatabaseFault as error:
            logger.warning("Download %s: no write to its row: %s", self.download.pk, error)
            write_progress(self.download, self._percentage)
            return
        if not held:
            raise self._lost()
        if inside:
            write_progress(self.download, self._percentage)
        else:
            entries.touch_entry(self.download.download_key)

    def _change(self, statement: Callable[[], int], change: str) -> bool:
        """Change the row and tell of it, on a new connection if this one cannot.

        Returns:
            Whether the claim still stood.
        """

        def write() -> bool:
            held = statement() > 0
            if held and change:
                write_through(self.download.pk, change)
            return held

        return _retried(write)

    def _sweep(self, keep: str = "") -> None:
        key = self.download.download_key
        files.sweep(self.download.filepath, download_key=key, keep=keep)

    def _lost(self) -> DownloadCancelled:
        return DownloadCancelled(
            f"Download {self.download.download_key} was cleared or taken over by another run."
        )


def _retried(write: Callable[[], bool]) -> bool:
    """Write, and if this connection cannot, do it on a new one.

    A connection that died cannot. Nor can one of SQLite that reads rows while it
    writes, once somebody else has written: it would have to write to the past.
    """
    try:
        return write()
    except DatabaseFault:
        if in_transaction():
            # It would be written outside of what the caller may yet roll back.
            raise
        # A connection belongs to its thread.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(_on_new_connection, write).result()


def _on_new_connection(write: Callable[[], bool]) -> bool:
    try:
        return write()
    finally:
        connections[database()].close()


#: The runs of this process, by download key, for progress calls that only know the key.
_runs: Final[dict[str, Run]] = {}


def current_run(download_key: str) -> Run | None:
    """Return the run of this process that is writing a download, if there is one."""
    return _runs.get(download_key)
