"""Exports that a test steers, and tasks that behave badly."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.shortcuts import download_task
from tests.faults.site import steering

HEADER = ["id", "name"]


def rows(download_key: str, count: int = 3, pause: float = 0.0, go: str = "") -> None:
    """Write rows with progress, and pause before each; wait for the flag first if there is one."""
    steering.record_start(download_key)
    if go:
        steering.wait_for(go)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        for index in range(int(count)):
            time.sleep(float(pause))
            yield [index, f"name {index}"]
            cache.update_percentage(download_key, int(count), index)

    cache.save_download(download_key, lines())


def plain(download_key: str) -> None:
    """Write a row without a query."""
    cache.save_download(download_key, [HEADER, [1, "end"]])


def steady(download_key: str, go: str = "go") -> None:
    """Write a row every 20 ms until the test sets the flag."""
    steering.record_start(download_key)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        while not steering.is_set(go):
            time.sleep(0.02)
            yield [0, "waiting"]
        yield [1, "end"]

    cache.save_download(download_key, lines())


def third(download_key: str, go: str = "go") -> None:
    """Write rows up to 30 %, and then a row every 20 ms until the test sets the flag."""
    steering.record_start(download_key)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        cache.set_percentage(download_key, 30)
        while not steering.is_set(go):
            time.sleep(0.02)
            yield [0, "waiting"]
        yield [1, "end"]

    cache.save_download(download_key, lines())


def brief(download_key: str) -> None:
    """Write ten rows in half a second, once the test has set the flag."""
    rows(download_key, count=10, pause=0.05, go="go")


def winner(download_key: str) -> None:
    """Write a row every 20 ms until the test sets ``win``."""
    steady(download_key, go="win")


def silent(download_key: str, go: str = "go") -> None:
    """Compute before ``save_download`` until the test sets the flag."""
    steering.record_start(download_key)
    steering.wait_for(go)
    cache.save_download(download_key, [HEADER, [1, "end"]])


def silent_in_transaction(download_key: str) -> None:
    """Do the same inside a transaction."""
    with transaction.atomic():
        silent(download_key)


def silent_within(download_key: str, go: str = "go") -> None:
    """Compute within ``save_download``, before the first row, until the test sets the flag."""
    steering.record_start(download_key)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        steering.wait_for(go)
        yield [1, "end"]

    cache.save_download(download_key, lines())


def querying(download_key: str) -> None:
    """Run a query on PostgreSQL that takes half a minute."""
    steering.record_start(download_key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")


def querying_in_transaction(download_key: str) -> None:
    """Run the same query inside a transaction."""
    with transaction.atomic():
        querying(download_key)


def by_attempt(download_key: str, *tasks: str) -> None:
    """Do the first named task at the first start, the second at the second, and so on."""
    starts = steering.folder() / "starts.log"
    lines = starts.read_text().splitlines() if starts.exists() else []
    before = sum(line.startswith(download_key) for line in lines)
    globals()[tasks[min(before, len(tasks) - 1)]](download_key)


def fail(download_key: str) -> None:
    """Fail before ``save_download``."""
    steering.record_start(download_key)
    raise LookupError("postgres://user:secret@db/shop has no such table")


def fail_within(download_key: str) -> None:
    """Fail within ``save_download``, after a row."""
    steering.record_start(download_key)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        raise LookupError("postgres://user:secret@db/shop has no such row")

    cache.save_download(download_key, lines())


def fail_for_people(download_key: str) -> None:
    """Fail with a message for the owner."""
    steering.record_start(download_key)
    raise DownloadError("Choose a shorter period.")


def fail_late(download_key: str, go: str = "go") -> None:
    """Compute until the test sets the flag, and fail."""
    steering.record_start(download_key)
    steering.wait_for(go)
    cache.set_error(download_key, "It has come to nothing.")
    raise LookupError("postgres://user:secret@db/shop has gone away")


def leave(download_key: str) -> None:
    """Exit the process before ``save_download``."""
    steering.record_start(download_key)
    sys.exit(3)


def forget(download_key: str) -> None:
    """Return without a file."""
    steering.record_start(download_key)


def unpicklable(download_key: str) -> object:
    """Save a file, and return an object that a queue cannot pickle."""
    rows(download_key)
    return threading.Lock()


async def coroutine(download_key: str) -> None:
    """Write rows that are awaited."""
    await steady_coroutine(download_key, waits=False)


async def steady_coroutine(download_key: str, go: str = "go", *, waits: bool = True) -> None:
    """Write a row every 20 ms until the test sets the flag."""
    await sync_to_async(steering.record_start)(download_key)

    async def lines() -> AsyncIterator[list[Any]]:
        yield HEADER
        while waits and not await asyncio.to_thread(steering.is_set, go):
            await asyncio.sleep(0.02)
            yield [0, "waiting"]
        yield [1, "end"]

    await cache.asave_download(download_key, lines())


async def silent_coroutine(download_key: str, go: str = "go") -> None:
    """Wait before ``asave_download`` until the test sets the flag."""
    await sync_to_async(steering.record_start)(download_key)
    while not await asyncio.to_thread(steering.is_set, go):
        await asyncio.sleep(0.02)
    await cache.asave_download(download_key, [HEADER, [1, "end"]])


def makes_coroutine(download_key: str) -> Coroutine[Any, Any, None]:
    """Return a coroutine, though the function is not a coroutine function."""
    return coroutine(download_key)


def generator(download_key: str) -> Iterator[int]:
    """Look like a task, and do nothing when called."""
    steering.record_start(download_key)
    yield 1


async def async_generator(download_key: str) -> AsyncIterator[int]:
    """Look like a task, and do nothing when called."""
    await sync_to_async(steering.record_start)(download_key)
    yield 1


def leave_within(download_key: str) -> None:
    """Exit the process within ``save_download``, after a row."""
    steering.record_start(download_key)

    def lines() -> Iterator[list[Any]]:
        yield HEADER
        sys.exit(3)

    cache.save_download(download_key, lines())


#: The same tasks wrapped by ``download_task``, for any executor.
supervised: dict[str, Callable[..., None]] = {
    task.__name__: download_task(task)
    for task in (
        *(rows, plain, steady, silent, fail, fail_for_people, leave, leave_within, forget),
        *(steady_coroutine, silent_coroutine),
    )
}
