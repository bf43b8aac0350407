"""Time that passes only when a test says so, and processes that go on only when a test says so.

What happens is ordered by the test alone, so that what one order of events
breaks is broken by the same order again.
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
    """The time of Django, of its caches and of whoever sleeps.

    Each look at it is a microsecond later than the one before, so that no two
    events happen at once. More time than that passes only if it is told to.
    """

    def __init__(self) -> None:
        self._time = _START
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        look = self.look

        class Now(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return look().replace(tzinfo=tz)

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

    def look(self) -> datetime:
        """Return what time it is."""
        self._time += timedelta(microseconds=1)
        return self._time

    def seconds(self) -> float:
        """Return what time it is, as a number."""
        return (self.look() - _EPOCH).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Let the time pass that somebody sleeps; others may go on meanwhile."""
        self.advance(seconds)
        park("sleep")


class Killed(BaseException):
    """Ends the thread of a process that no test needs any more."""


class Process:
    """Work in a thread of its own that stops at certain places, and waits there to be told.

    Attributes:
        place: Where it waits; empty once it has ended.
        error: What ended it, if it was not the end of its work.
    """

    def __init__(self, work: Callable[[], object], *, stops: Collection[str]) -> None:
        """Prepare the work; the first ``step`` begins it.

        Args:
            work: What to do.
            stops: At what to stop: what the work itself calls ``park`` with;
                "sleep"; the statements that "read" and "write" outside of
                transactions; what the storage is to "store", "list" and
                "delete", and that it has "stored". It stops before it does it.
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
        """Let it go on to the next place where it stops, or to its end.

        Args:
            order: What to do where it is, and only that. What it raises is
                raised there.
        """
        assert not self.ended
        self._order = order
        if self.place == "start":
            self._thread.start()
        else:
            self._go.release()
        assert self._stopped.acquire(timeout=STUCK_AFTER), f"It is stuck after {self.place!r}."

    def kill(self) -> None:
        """Have its thread gone, whatever it was at."""
        self._killed = True
        if self.place not in ("", "start"):
            self.step()
            self._thread.join()
        self.place = ""

    def park(self, place: str) -> None:
        """Stop at a place, if it is one to stop at, until told to go on."""
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
        """Do nothing: the order of who has just come to a place."""

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

    Nobody stops inside a transaction, because its locks would stop everybody.
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
    """A dictionary of which each process has one of its own."""

    def __init__(self) -> None:
        self._all = threading.local()

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """What this process has put in."""
        content: dict[str, Any] = self._all.__dict__.setdefault("content", {})
        return content


class ParkingStorage(FileSystemStorage):
    """A storage that takes its time; with ``allow_overwrite``, as object stores do."""

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
