"""The runs of this process, for calls that only know a download key."""

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from async_downloads.store.run import Run

__all__ = ["current_run", "deregister", "register"]

#: By download key. There is more than one where a queue with threads has delivered a task again.
_runs: Final[dict[str, "tuple[Run, ...]"]] = {}
_runs_lock: Final = threading.Lock()


def current_run(download_key: str) -> "Run | None":
    """Return the run of this process that is writing a download, if there is one.

    That of this thread comes first. A thread without one helps a task, and its
    run is the one that has begun last: the others have lost.
    """
    runs = _runs.get(download_key, ())
    return next((run for run in reversed(runs) if run.here), runs[-1] if runs else None)


def register(run: "Run") -> None:
    """Add a run that begins."""
    key = run.download.download_key
    with _runs_lock:
        _runs[key] = (*_runs.get(key, ()), run)


def deregister(run: "Run") -> None:
    """Remove a run that has ended."""
    key = run.download.download_key
    with _runs_lock:
        if left := tuple(other for other in _runs.pop(key, ()) if other is not run):
            _runs[key] = left
