"""The task of the conformance suite, which is controlled by files in a folder."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled, DownloadError

__all__ = ["DETAIL", "PERCENTAGE", "REFUSAL", "Notes", "aperform", "perform"]

#: The text for the owner when the task refuses.
REFUSAL: Final = "Choose a shorter period."

#: A part of the failing task's exception that the owner must not see.
DETAIL: Final = "postgres://user:secret@db/shop"

#: The percentage that the task reports while it waits.
PERCENTAGE: Final = 50

#: Seconds between two looks at the folder.
PAUSE: Final = 0.02

#: Seconds after which a task stops waiting for its test.
TIMEOUT: Final = 120.0


class Notes:
    """Messages between a test and the task in a worker, as files in a folder.

    Args:
        folder: The folder, which both can read and write.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def note(self, download_key: str, event: str) -> None:
        """Note an event of a download, with the process and the thread."""
        with (self.folder / f"{download_key} {event}").open("a") as file:
            file.write(f"{os.getpid()} {threading.get_ident()}\n")

    def noted(self, download_key: str, event: str) -> list[str]:
        """Return a line for each time that an event was noted."""
        path = self.folder / f"{download_key} {event}"
        return path.read_text().splitlines() if path.exists() else []

    def go(self, name: str) -> None:
        """Release a task that waits for this name."""
        (self.folder / name).touch()

    def waiting_for(self, name: str) -> Iterator[None]:
        """Yield, again and again, until the test calls ``go``.

        Raises:
            TimeoutError: It did not.
        """
        deadline = time.monotonic() + TIMEOUT
        while not (self.folder / name).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"No file {name} within {TIMEOUT:g} s.")
            time.sleep(PAUSE)
            yield


def perform(download_key: str, behaviour: str, folder: str, *args: Any, **kwargs: Any) -> None:
    """Perform a behaviour for the conformance suite; a site's task calls it.

    Args:
        download_key: The key of the download.
        behaviour: One of ``BEHAVIOURS``.
        folder: The folder of the ``Notes``.
        *args: Passed to the behaviour.
        **kwargs: Passed to the behaviour.

    Raises:
        BaseException: The behaviour raised it.
    """
    notes = Notes(folder)
    notes.note(download_key, "started")
    try:
        BEHAVIOURS[behaviour](download_key, notes, *args, **kwargs)
    except DownloadCancelled:
        notes.note(download_key, "cancelled")
        raise


async def aperform(
    download_key: str, behaviour: str, folder: str, *args: Any, **kwargs: Any
) -> None:
    """Perform a behaviour in a coroutine; a site's coroutine function awaits it.

    Args:
        download_key: The key of the download.
        behaviour: ``"write"``, ``"go on"`` or ``"fail"``.
        folder: The folder of the ``Notes``.
        *args: Passed to the behaviour.
        **kwargs: Passed to the behaviour.

    Raises:
        BaseException: The behaviour raised it.
    """
    notes = Notes(folder)
    await asyncio.to_thread(notes.note, download_key, "started")
    try:
        await _COROUTINES[behaviour](download_key, notes, *args, **kwargs)
    except DownloadCancelled:
        await asyncio.to_thread(notes.note, download_key, "cancelled")
        raise


def _write(download_key: str, notes: Notes, *args: Any, **kwargs: Any) -> None:
    cache.save_download(download_key, [["positional", *args], *map(list, sorted(kwargs.items()))])


def _go_on(download_key: str, notes: Notes, go: str) -> None:
    def rows() -> Iterator[list[str]]:
        yield ["header"]
        cache.set_percentage(download_key, PERCENTAGE)
        notes.note(download_key, "reported")
        for _ in notes.waiting_for(go):
            yield ["waiting"]
        yield ["end"]

    cache.save_download(download_key, rows())


def _stall(download_key: str, notes: Notes, go: str) -> None:
    if (attempt := store.current_attempt(download_key)) is not None:
        # As if the process was stopped.
        attempt.heartbeats.end()
    for _ in notes.waiting_for(go):
        pass
    cache.save_download(download_key, [["late"]])


def _fail(download_key: str, notes: Notes) -> None:
    raise LookupError(f"{DETAIL} has no such table")


def _fail_once(download_key: str, notes: Notes) -> None:
    if len(notes.noted(download_key, "started")) == 1:
        raise LookupError(f"{DETAIL} is away for a moment")
    _write(download_key, notes)


def _refuse(download_key: str, notes: Notes) -> None:
    raise DownloadError(REFUSAL)


def _forget(download_key: str, notes: Notes) -> None:
    pass


def _leave(download_key: str, notes: Notes) -> None:
    sys.exit(3)


async def _write_async(download_key: str, notes: Notes) -> None:
    await cache.asave_download(download_key, [["positional"]])


async def _go_on_async(download_key: str, notes: Notes, go: str) -> None:
    async def rows() -> AsyncIterator[list[str]]:
        yield ["header"]
        await cache.aset_percentage(download_key, PERCENTAGE)
        await asyncio.to_thread(notes.note, download_key, "reported")
        waiting = notes.waiting_for(go)
        while await asyncio.to_thread(next, waiting, go) is None:
            yield ["waiting"]
        yield ["end"]

    await cache.asave_download(download_key, rows())


async def _fail_async(download_key: str, notes: Notes) -> None:
    await asyncio.sleep(0)
    _fail(download_key, notes)


#: The behaviours of a coroutine by their names.
_COROUTINES: Final[dict[str, Callable[..., Coroutine[Any, Any, None]]]] = {
    "write": _write_async,
    "go on": _go_on_async,
    "fail": _fail_async,
}

#: The behaviours by their names.
BEHAVIOURS: Final[dict[str, Callable[..., None]]] = {
    "write": _write,
    "go on": _go_on,
    "stall": _stall,
    "fail": _fail,
    "fail once": _fail_once,
    "refuse": _refuse,
    "forget": _forget,
    "leave": _leave,
}
