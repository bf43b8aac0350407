"""The task of the conformance suite: it does what it is told, and tells of it in a folder."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from async_downloads import cache
from async_downloads.exceptions import DownloadCancelled, DownloadError

__all__ = ["DETAIL", "PERCENTAGE", "REFUSAL", "Notes", "perform"]

#: What the task tells the owner where it refuses.
REFUSAL: Final = "Choose a shorter period."

#: What is in the exception of the task that fails, and no business of the owner's.
DETAIL: Final = "postgres://user:secret@db/shop"

#: What the task reports where it goes on until it is told to stop.
PERCENTAGE: Final = 50

#: Seconds between two looks at the folder, and after which nobody is there any more.
PAUSE: Final = 0.02
LONGEST_WAIT: Final = 120.0


class Notes:
    """What a test and the task in a worker tell each other, as files of a folder.

    Args:
        folder: Where; both see the same.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def note(self, download_key: str, what: str) -> None:
        """Tell that something has happened to a download."""
        with (self.folder / f"{download_key} {what}").open("a") as file:
            file.write(f"{os.getpid()} {threading.get_ident()}\n")

    def noted(self, download_key: str, what: str) -> list[str]:
        """Return who has told that, once each time: the process and the thread."""
        path = self.folder / f"{download_key} {what}"
        return path.read_text().splitlines() if path.exists() else []

    def go(self, name: str) -> None:
        """Let a task go on that waits for this."""
        (self.folder / name).touch()

    def waiting_for(self, name: str) -> Iterator[None]:
        """Yield, again and again, until the other one lets the task go on.

        Raises:
            TimeoutError: Nobody has.
        """
        deadline = time.monotonic() + LONGEST_WAIT
        while not (self.folder / name).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Nobody has said {name}.")
            time.sleep(PAUSE)
            yield


def perform(download_key: str, behaviour: str, folder: str, *args: Any, **kwargs: Any) -> None:
    """Do what the conformance suite asks for; to be called by a task of the site's.

    Args:
        download_key: Which download.
        behaviour: What to do, one of ``BEHAVIOURS``.
        folder: Where to tell of it.
        *args: For the behaviour.
        **kwargs: For the behaviour.

    Raises:
        BaseException: What the behaviour is to raise.
    """
    notes = Notes(folder)
    notes.note(download_key, "started")
    try:
        BEHAVIOURS[behaviour](download_key, notes, *args, **kwargs)
    except DownloadCancelled:
        notes.note(download_key, "cancelled")
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


def _fall_silent(download_key: str, notes: Notes, go: str) -> None:
    for _ in notes.waiting_for(go):
        pass
    cache.save_download(download_key, [["late"]])


def _fail(download_key: str, notes: Notes) -> None:
    raise LookupError(f"{DETAIL} has no such table")


def _refuse(download_key: str, notes: Notes) -> None:
    raise DownloadError(REFUSAL)


def _forget(download_key: str, notes: Notes) -> None:
    pass


def _leave(download_key: str, notes: Notes) -> None:
    sys.exit(3)


#: What the task can be told to do.
BEHAVIOURS: Final[dict[str, Callable[..., None]]] = {
    "write": _write,
    "go on": _go_on,
    "fall silent": _fall_silent,
    "fail": _fail,
    "refuse": _refuse,
    "forget": _forget,
    "leave": _leave,
}
