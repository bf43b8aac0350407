"""The runs of this process, for calls that only know a download key."""

import threading
import uuid
from typing import Generic, Protocol, TypeVar

from async_downloads.models import Download

__all__ = ["Registry", "canonical_key"]


def canonical_key(download_key: object) -> str:
    """Return a download key as ``init_download`` returned it, whether it is one or a UUID.

    What cannot be a key is returned as text, under which nothing is found.
    """
    try:
        return str(uuid.UUID(str(download_key)))
    except ValueError:
        return str(download_key)


class _Registered(Protocol):
    download: Download

    @property
    def in_this_thread(self) -> bool: ...


R = TypeVar("R", bound=_Registered)


class Registry(Generic[R]):
    """Runs by their download keys.

    There is more than one of a key where a queue with threads has delivered a task again.
    """

    def __init__(self) -> None:
        self._runs: dict[str, tuple[R, ...]] = {}
        self._lock = threading.Lock()

    def current(self, download_key: str) -> R | None:
        """Return the run of this process that is writing a download, if there is one.

        That of this thread comes first. A thread without one helps a task, and its
        run is the one that has begun last: the others have lost.
        """
        runs = self._runs.get(canonical_key(download_key), ())
        return next(
            (run for run in reversed(runs) if run.in_this_thread), runs[-1] if runs else None
        )

    def add(self, run: R) -> None:
        """Add a run that begins."""
        key = run.download.download_key
        with self._lock:
            self._runs[key] = (*self._runs.get(key, ()), run)

    def remove(self, run: R) -> None:
        """Remove a run that has ended."""
        key = run.download.download_key
        with self._lock:
            if left := tuple(other for other in self._runs.pop(key, ()) if other is not run):
                self._runs[key] = left
