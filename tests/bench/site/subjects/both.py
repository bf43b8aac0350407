"""Cases that are the same code for both versions of the package."""

import functools
import itertools
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sources
from django.conf import settings

from async_downloads import cache
from async_downloads.shortcuts import queryset_to_csv
from subjects.exchanges import Browser
from subjects.people import user_named

Body = Callable[[], int | None]


def new_key(filename: str = "orders.csv") -> str:
    """Make a download, and return its key."""
    return cache.init_download(user_named(), filename)[1]


def check_complete(key: str) -> None:
    """Fail if a download is not complete."""
    if settings.OURS:
        from async_downloads.models import Download

        download = Download.objects.get(pk=key)
        assert download.complete, download.error_detail
    else:
        from django.core.cache import cache as entries

        entry = entries.get(key)
        assert (entry["complete"], entry["errors"]) == (True, ""), entry


def rows(size: int) -> Body:
    key = new_key()

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        check_complete(key)

    return body


def row_function(size: int) -> Body:
    key = new_key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.orders(size), sources.row)
        check_complete(key)

    return body


def progress(size: int) -> Body:
    key = new_key()

    def body() -> int:
        for index in range(size):
            cache.update_percentage(key, size, index)
        return size

    return body


def init(size: int) -> Body:
    user = user_named(f"init-{uuid.uuid4()}")

    def body() -> int:
        for _ in range(size):
            cache.init_download(user, "orders.csv")
        return size

    return body


def downloads_of(user: Any, size: int, *, running: int = 0) -> list[str]:
    """Make downloads of a user, the last of them running, and return their keys."""
    keys = []
    for index in range(size):
        _, key = cache.init_download(user, f"orders{index}.csv")
        if index < size - running:
            cache.save_download(key, [["a"]])
        else:
            cache.set_percentage(key, 1)
        keys.append(key)
    return keys


def progress_of(key: str) -> Callable[[], None]:
    """Return a function that reports the next percentage of a download, round and round.

    A worker reports it, and this process answers other requests meanwhile, as that of a site does:
    a process that has slept, or reported it itself, has little of its code and data left in the
    caches of the processor. Only a cache in the memory of this process has to be written here.
    """
    percentages = itertools.cycle(range(1, 100))
    visitor = Browser(user_named("visitor"))
    if os.environ["BENCH_CACHE"] == "locmem":

        def report() -> None:
            cache.set_percentage(key, next(percentages))
            visitor.get("/bare/")

        return report
    worker = _worker()

    def report_by_worker() -> None:
        print(key, next(percentages), file=worker.stdin, flush=True)
        while not select.select([worker.stdout], [], [], 0)[0]:
            visitor.get("/bare/")
        if not worker.stdout.readline():
            raise RuntimeError("The worker has ended.")
        visitor.get("/bare/")

    return report_by_worker


@functools.cache
def _worker() -> Any:
    """Start a worker, which ends with this process."""
    return subprocess.Popen(
        [sys.executable, "work.py"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
