"""The base of the state machines: users, downloads, a clock, processes, and a clean end."""

import math
import os
import secrets
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from unittest import mock

from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.files.storage import default_storage
from django.test import override_settings
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from async_downloads import cache
from async_downloads.building import progress
from async_downloads.formats import rows as format_rows
from async_downloads.models import Download, DownloadCollection
from async_downloads.models.timing import DatabaseNow
from async_downloads.store import attempt, cache_entries, heartbeats
from tests.lifecycle.actors import Clock, OfThisProcess, ParkingStorage, Process

#: No sum of the times below is close to it, so no attempt stalls by a hair's breadth.
STALLED_AFTER: Final = 120.02
TIMEOUT: Final = 24 * 60 * 60
MAX_ATTEMPTS: Final = 3

#: Longer than a version token lives.
MOMENT: Final = 31

#: Longer than ``STALLED_AFTER``.
LONG: Final = 130

#: Longer than ``TIMEOUT``.
A_DAY: Final = 90_000

#: As many as Hypothesis makes before it repeats parts of them.
EXAMPLES_OF_A_SEARCH: Final = 10


def search(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Search for an order of events that breaks a machine.

    The examples are always the same, or new ones if HYPOTHESIS_EXAMPLES gives their number.
    They come from many short searches: in a long one, Hypothesis repeats parts of earlier
    examples, and here variety counts.

    Args:
        machine: The machine.
        examples: How many examples to try.
        steps: How many steps each of them may have.
    """
    wanted = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))
    first = secrets.randbits(64) if wanted else 0
    chosen = settings(
        max_examples=EXAMPLES_OF_A_SEARCH,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        derandomize=not wanted,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    for number in range(math.ceil((wanted or examples) / EXAMPLES_OF_A_SEARCH)):
        run_state_machine_as_test(seed(first + number)(machine), settings=chosen)


class World(RuleBasedStateMachine):
    """Two users, a cache, a storage, and processes that a test moves."""

    #: The alias of the cache.
    CACHE = "default"
    #: Whether the storage overwrites, as object stores do, or chooses another name.
    OVERWRITES = False

    def __init__(self) -> None:
        super().__init__()
        self._end = ExitStack()
        self.clock = self._end.enter_context(Clock())
        storage = f"{ParkingStorage.__module__}.{ParkingStorage.__qualname__}"
        options = {"BACKEND": storage, "OPTIONS": {"allow_overwrite": self.OVERWRITES}}
        self._end.enter_context(
            override_settings(
                ASYNC_DOWNLOADS_CACHE_NAME=self.CACHE,
                ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER,
                ASYNC_DOWNLOADS_TIMEOUT=TIMEOUT,
                ASYNC_DOWNLOADS_MAX_ATTEMPTS=MAX_ATTEMPTS,
                STORAGES={**project_settings.STORAGES, "default": options},
            )
        )
        for module, name in ((attempt, "_attempts"), (progress, "_steps")):
            self._end.enter_context(mock.patch.object(module, name, OfThisProcess()))
        # The database has a clock of its own, which does not follow the test's.
        for vendor in ("as_postgresql", "as_mysql"):
            self._end.enter_context(mock.patch.object(DatabaseNow, vendor, DatabaseNow.as_sql))
        # A process that does not move is silent, and all of them are threads of this one.
        self._end.enter_context(mock.patch.object(heartbeats, "_thread", mock.Mock()))
        # The model expects that any row may come with a heartbeat.
        self._end.enter_context(mock.patch.object(format_rows, "MAX_UNTIMED_ROWS", 1))
        cache_entries._breakers.clear()
        self.users = [get_user_model().objects.get_or_create(username=n)[0] for n in ("ada", "bo")]
        self.owners: dict[str, Any] = {}
        self.processes: list[Process] = []

    def teardown(self) -> None:
        """Check the end, unless something has failed already, and delete everything."""
        try:
            if sys.exception() is None:
                self.end()
        finally:
            for process in self.processes:
                process.kill()
            Download.objects.all().delete()
            DownloadCollection.objects.all().delete()
            caches[self.CACHE].clear()
            shutil.rmtree(default_storage.path(""), ignore_errors=True)
            self._end.close()

    def end(self) -> None:
        """Check what must hold in the end."""

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.seconds()

    def init(self, user: Any) -> str:
        """Create a download, and return its key."""
        _, key = cache.init_download(user, "orders.csv")
        self.owners[key] = user
        return key

    def collection_key(self, key: str) -> str:
        """Return the key of the collection that a download is in."""
        return cache.get_collection_key(self.owners[key])

    def stranger_to(self, key: str) -> Any:
        """Return a user who does not own a download."""
        return next(user for user in self.users if user != self.owners[key])

    def process(self, *args: Any, **kwargs: Any) -> Process:
        """Create a process, which is killed at the end."""
        process = Process(*args, **kwargs)
        self.processes.append(process)
        return process


def rows() -> dict[str, Download]:
    """Return all rows by their keys."""
    return {download.download_key: download for download in Download.objects.all()}


def content_of(download: Download) -> bytes | None:
    """Return the bytes of a download's file; None without a file."""
    path = Path(default_storage.path(download.filepath))
    return path.read_bytes() if path.is_file() else None


def stored() -> set[tuple[str, str]]:
    """Return the download key and the name of every file in the storage."""
    root = Path(default_storage.path(""))
    return {(path.parent.name, path.name) for path in root.rglob("*") if path.is_file()}
