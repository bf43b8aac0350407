"""A clock and processes that move only when a test moves them.

The test alone orders the events, so an order that breaks something breaks it every time.
"""

import threading
from collections import UserDict
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Self
from unittest import mock

from django.core.files.storage import FileSystemStorage
from django.db import connection, connections

from tests.pace import LONGEST_WAIT

#: Real seconds after which a process that gives no answer is stuck.
STUCK_AFTER: Final = LONGEST_WAIT

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001
_START: Final = datetime(2026, 1, 31, 9, 5)  # noqa: DTZ001


class Clock:
    """The time of Django, of its caches, and of every sleep.

    Each reading is a microsecond later than the last, so no two events happen at once.
    More time passes only by ``advance``.
    """

    def __init__(self) -> None:
        self._time = _START
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        read = self.read

        class Now(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return read().replace(tzinfo=tz)

        for name, replacement in {
            "django.utils.timezone.datetime": Now,
            "time.time": self.seconds,
            "time.monotonic": self.seconds,
            "time.sleep": self.sleep,
        }.items():
            self._patches.enter_context(mock.patch(name, replacement))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def read(self) -> datetime:
        """Return the time, a microsecond later than before."""
        self._time += timedelta(microseconds=1)
        return self._time

    def seconds(self) -> float:
        """Return the time as a number."""
        return (self.read() - _EPOCH).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Let the time of a sleep pass; other processes may continue meanwhile."""
        self.advance(seconds)
        park("sleep")


class Killed(BaseException):
    """Ends the thread of a process that is no longer needed."""


class Process:
    """Work in a thread that stops at certain places, and waits there for the next ``step``.

    Attributes:
        place: Where it waits; empty once it has ended.
        error: The exception that ended it, if any.
    """

    def __init__(self, work: Callable[[], object], *, stops: Collection[str]) -> None:
        """Prepare the work; the first ``step`` begins it.

        Args:
            work: What to do.
            stops: The places to stop at: names that the work calls ``park`` with; "sleep";
                "read" and "write", before such a statement outside transactions; "store",
                "list" and "delete", before the storage does so; "stored", after that.
        """
        self.place = "start"
        self.error: BaseException | None = None
        self._work = work
        self._stops = stops
        self._order: Callable[[], object] | None = None
        self._killed = False
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, good or bad."""
        return not self.place

    def step(self, order: Callable[[], object] | None = None) -> None:
        """Let it continue to the next place where it stops, or to its end.

        Args:
            order: Call this where it waits, and stay there. An exception of it is raised there.
        """
        assert not self.ended
        self._order = order
        if self.place == "start":
            self._thread.start()
        else:
            self._go.release()
        assert self._stopped.acquire(timeout=STUCK_AFTER), f"It is stuck after {self.place!r}."

    def kill(self) -> None:
        """End its thread wherever it is."""
        self._killed = True
        if self.place not in ("", "start"):
            self.step()
            self._thread.join()
        self.place = ""

    def park(self, place: str) -> None:
        """Wait for the next step, if this is a place to stop at."""
        if self._killed:
            raise Killed
        if place not in self._stops:
            return
        order: Callable[[], object] | None = self._wait
        while order is not None:
            order()
            self.place = place
            self._stopped.release()
            self._go.acquire()
            if self._killed:
                raise Killed
            order = self._order

    def _wait(self) -> None:
        """Do nothing: the order of a process that has just come to a place."""

    def _run(self) -> None:
        _this.process = self
        try:
            with connection.execute_wrapper(_stop_before_a_statement):
                self._work()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()
            self.place = ""
            self._stopped.release()


_this: Final = threading.local()


def park(place: str) -> None:
    """Stop at a place, if this is a process that stops there.

    No process stops inside a transaction, because its locks would stop all others.
    """
    process: Process | None = getattr(_this, "process", None)
    if process is not None and not connection.in_atomic_block:
        process.park(place)


def _stop_before_a_statement(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    park("read" if sql.startswith("SELECT") else "write")
    return execute(sql, params, many, context)


class OfThisProcess(UserDict[str, Any]):
    """A dictionary with separate contents for each process."""

    def __init__(self) -> None:
        self._all = threading.local()

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """The contents for this process."""
        content: dict[str, Any] = self._all.__dict__.setdefault("content", {})
        return content


class ParkingStorage(FileSystemStorage):
    """A storage that stops before each operation."""

    def _save(self, name: str, content: Any) -> str:
        park("store")
        name = super()._save(name, content)
        park("stored")
        return name

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List, after a stop."""
        park("list")
        return super().listdir(path)

    def delete(self, name: str) -> None:
        """Delete, after a stop."""
        park("delete")
        super().delete(name)
