"""How much is done, recorded at steps: between two of them it costs next to nothing."""

import sys
import threading
import time
from typing import Final

from async_downloads import store

__all__ = ["forget", "update_percentage"]

#: Downloads whose last step is remembered.
MAX_REMEMBERED: Final = 16_384

_lock: Final = threading.Lock()

#: What ``update_percentage`` last saw of each download: the total and the resolution, the
#: range of positions that belong to the step it is in, and the run whose signs of
#: life depend on these calls, because no rows are watched.
_steps: Final[dict[str, tuple[int, int, int, int, store.Attempt | None]]] = {}


def update_percentage(download_key: str, total: int, cur: int, resolution: int = 10) -> None:
    """Work out how much of a download is done, and record it at each step.

    Between two steps it costs a look into a dictionary, so call it for every row.

    Args:
        download_key: Which download. An unknown one is logged as a warning at
            each step.
        total: How many there are in all. Nothing is recorded of 0 or less.
        cur: The index of the one that was just done, counted from 0. It may
            advance by any stride.
        resolution: The number of steps from 0 to 100 %, from 1 to 100.

    Raises:
        DownloadCancelled: The download was cleared while this process writes it.
    """
    last = _steps.get(download_key)
    if last is not None and last[2] <= cur < last[3] and last[0] == total and last[1] == resolution:
        run = last[4]
        if run is None or time.monotonic() < run.next_heartbeat:
            return
        # A run that failed may have been followed by another one in this process.
        if run is store.current_attempt(download_key):
            run.heartbeat()
            return
    if not total > 0:
        return
    steps = int(min(max(resolution, 1), 100))
    step = int(min(max(cur + 1, 0), total) * steps // total)
    # A step begins at the smallest cur for which (cur + 1) * steps // total is that step.
    begin = -(-step * total // steps) - 1 if step else -sys.maxsize
    end = -(-(step + 1) * total // steps) - 1 if step < steps else sys.maxsize
    run = store.current_attempt(download_key)
    with _lock:
        crowded = last is None and len(_steps) >= MAX_REMEMBERED
        if crowded:
            del _steps[next(iter(_steps))]
        alone = run is not None and not run.is_writing
        _steps[download_key] = (total, resolution, begin, end, run if alone else None)
    # In a crowd its last step may be forgotten, so that only the position can say that one begins,
    # or that it is the last.
    if (cur == begin or step == steps) if crowded else (step or last is not None):
        store.set_percentage(download_key, step * 100 // steps)


def forget(download_key: str) -> None:
    """Forget the last step of a download that has ended."""
    with _lock:
        _steps.pop(download_key, None)
