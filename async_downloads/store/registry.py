"""The attempts of this process, for callers that have only a download key."""

import threading
import uuid
from typing import Generic, Protocol, TypeVar

from async_downloads.models import Download

__all__ = ["Registry", "canonical_key"]


def canonical_key(download_key: object) -> str:
    """Return a download key as ``init_download`` returned it, given that text or a UUID.

    Anything else is returned as text, which is the key of no download.
    """
    try:
        return str(uuid.UUID(str(download_key)))
    except ValueError:
        return str(download_key)


class _Registered(Protocol):
    download: Download

    @property
    def in_this_thread(self) -> bool: ...


A = TypeVar("A", bound=_Registered)


class Registry(Generic[A]):
    """Attempts by their download keys.

    A key has several attempts if a queue with threads has delivered a task again.
    """

    def __init__(self) -> None:
        self._attempts: dict[str, tuple[A, ...]] = {}
        self._lock = threading.Lock()

    def current(self, download_key: str) -> A | None:
        """Return the attempt of this process at a download, if there is one.

        An attempt of this thread comes first. A thread without one helps a task, so it gets
        the latest attempt: the earlier ones have lost their claims.
        """
        attempts = self._attempts.get(canonical_key(download_key), ())
        own = (attempt for attempt in reversed(attempts) if attempt.in_this_thread)
        return next(own, attempts[-1] if attempts else None)

    def add(self, attempt: A) -> None:
        """Add an attempt that begins."""
        key = attempt.download.download_key
        with self._lock:
            self._attempts[key] = (*self._attempts.get(key, ()), attempt)

    def remove(self, attempt: A) -> None:
        """Remove an attempt that has ended."""
        key = attempt.download.download_key
        with self._lock:
            if left := tuple(each for each in self._attempts.pop(key, ()) if each is not attempt):
                self._attempts[key] = left
