"""Heartbeats of attempts whose own threads give none for a while.

An attempt gives heartbeats while it writes rows or reports progress. Between two of them, its
body may compute, or its storage upload, for minutes: then a thread of the process gives
heartbeats. So a download stalls only if its whole process is silent.

The thread exists while there are attempts, and sleeps until one has been silent for
``STALLED_AFTER / 4``. It has a connection to the database only while it writes.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connections

from async_downloads import settings
from async_downloads.models import Download
from async_downloads.store import cache_entries
from async_downloads.store.transactions import (
    DatabaseFault,
    database,
    in_transaction,
    on_passing_connection,
    reads_committed,
    short_lock_timeout,
)
from async_downloads.store.write_through import write_heartbeat
from async_downloads.utils.log import get_logger

__all__ = ["THREAD_NAME", "Heartbeats"]

logger = get_logger(__name__)

#: The name of the thread.
THREAD_NAME: Final = "async-downloads-heartbeats"

#: The fewest seconds between two heartbeats of one attempt, whatever ``STALLED_AFTER`` is.
SHORTEST_PAUSE: Final = 0.05


class Heartbeats:
    """The heartbeats of one attempt.

    Attributes:
        percentage: The progress of the attempt.
    """

    def __init__(self, download: Download, token: UUID | None, percentage: int):
        """Prepare the heartbeats of an attempt that begins in this thread.

        Args:
            download: The row, with ``collection__user`` selected. The attempt keeps its state.
            token: The claim of the attempt.
            percentage: The progress.
        """
        self.percentage = percentage
        self._moved_at = download.database_time()
        self._download = download
        self._token = token
        self._using = database()
        self._connection = connections[self._using]
        self._seen = self._tried = time.monotonic()
        self._fails = False
        self._pauses = 0
        # Held while the thread writes to the cache.
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Let the thread give heartbeats whenever they are missing."""
        _thread.add(self)

    def end(self) -> None:
        """Give no heartbeat any more."""
        _thread.remove(self)
        self._pause()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Put no heartbeat into the cache while the attempt writes another state.

        It would overwrite the entry of a download that has ended.
        """
        self._pause()
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1

    def moved(self) -> datetime:
        """Note that the work came further, before the attempt writes that; return the time."""
        self._moved_at = self._download.database_time()
        return self._moved_at

    def seen(self) -> None:
        """Note that other processes see a heartbeat of this moment."""
        self._seen = time.monotonic()

    @property
    def due(self) -> float:
        """When the thread has to give a heartbeat, on the monotonic clock."""
        return max(self._seen, self._tried) + max(settings.STALLED_AFTER / 4, SHORTEST_PAUSE)

    def give(self) -> bool:
        """Give a heartbeat; return whether the attempt may need another one.

        Errors are logged, once for a series of them.
        """
        self._tried = time.monotonic()
        try:
            claimed = on_passing_connection(self._using, self._write)
        except Exception as error:  # noqa: BLE001 (the body must not fail for a heartbeat)
            if not self._fails:
                logger.warning("Download %s: no heartbeat: %r", self._download.pk, error)
            self._fails = True
            return True
        self._fails = False
        return claimed

    def _write(self) -> bool:
        if not self._download.unfinished:
            return True
        if in_transaction(self._connection):
            self._write_beside_transaction()
            return True
        try:
            claimed = self._write_row() > 0
        except DatabaseFault:
            self._write_to_cache()
            raise
        if claimed:
            self.seen()
            cache_entries.touch_entry(self._download.download_key)
        # Without the claim, the attempt stops as soon as its own thread writes.
        return claimed

    def _write_beside_transaction(self) -> None:
        """Give a heartbeat while the attempt's own thread is inside a transaction.

        The cache is enough if other processes see it. A write to the row would fail the
        attempt if the transaction has a snapshot of it, as it may have in spite of the
        settings. So the row is written only to prevent a stall.
        """
        on_sqlite = self._connection.vendor == "sqlite"
        # A table of SQLite is in a database that the transaction may have to write to.
        if not (on_sqlite and cache_entries.is_table_of("sqlite")) and self._write_to_cache():
            return
        silent = time.monotonic() - self._seen
        may_write = not on_sqlite and reads_committed(self._connection)
        # The transaction may have created the row itself: then nothing is written.
        if may_write and silent >= settings.STALLED_AFTER / 2 and self._write_row():
            self.seen()

    def _write_row(self) -> int:
        rows = Download.objects.using(self._using).claimed_by(self._download.pk, self._token)
        with short_lock_timeout(using=self._using):
            return rows.heartbeat_alone()

    def _write_to_cache(self) -> bool:
        """Put a heartbeat into the cache; return whether other processes see it."""
        seen, written = False, None
        # The attempt may report progress meanwhile, which must not be overwritten.
        while written != (current := (self.percentage, self._moved_at)):
            with self._lock:
                if self._pauses or not self._download.unfinished:
                    return False
                percentage, moved_at = written = current
                seen = write_heartbeat(self._download, percentage, moved_at=moved_at)
        if seen:
            self.seen()
        return seen

    def _pause(self) -> None:
        with self._lock:
            self._pauses += 1


class _Thread:
    """The thread that gives the heartbeats of all attempts of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: set[Heartbeats] = set()
        self._runs = False

    def add(self, heartbeats: Heartbeats) -> None:
        """Give the heartbeats of an attempt from now on."""
        with self._changed:
            self._attempts.add(heartbeats)
            if self._runs:
                self._changed.notify()
                return
            try:
                threading.Thread(target=self._run, name=THREAD_NAME, daemon=True).start()
                self._runs = True
            except RuntimeError as error:
                # The process ends, or may have no more threads.
                logger.warning("No thread gives heartbeats: %s", error)

    def remove(self, heartbeats: Heartbeats) -> None:
        """Give no heartbeats of an attempt any more; the thread ends with the last one."""
        with self._changed:
            self._attempts.discard(heartbeats)
            if not self._attempts:
                self._changed.notify()

    def _run(self) -> None:
        while due := self._wait():
            for heartbeats in due:
                if not heartbeats.give():
                    self.remove(heartbeats)

    def _wait(self) -> list[Heartbeats]:
        """Wait until heartbeats are due, and return them; none once there are no attempts."""
        with self._changed:
            while self._attempts:
                now = time.monotonic()
                due = [each for each in self._attempts if each.due <= now]
                if due:
                    return due
                self._changed.wait(min(each.due for each in self._attempts) - now)
            self._runs = False
            return []


_thread = _Thread()


def _forget_parent() -> None:
    """Begin anew in a process that was forked: it has neither the thread nor the attempts."""
    global _thread
    _thread = _Thread()


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=_forget_parent)
