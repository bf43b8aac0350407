"""``update_percentage``: records progress at steps, and costs almost nothing between them."""

import sys
import threading
import time
from typing import Final

from asgiref.sync import sync_to_async

from async_downloads import store
from async_downloads.store.attempt import first_index

__all__ = ["aupdate_percentage", "forget", "update_percentage"]

#: The number of downloads whose last step is remembered.
MAX_REMEMBERED: Final = 16_384

_lock: Final = threading.Lock()

#: The last step of each download: the total and the resolution, the first position of the step
#: and that of the next, and the attempt that has its heartbeats by these calls, because it
#: writes no rows meanwhile.
_steps: Final[dict[str, tuple[int, int, int, int, store.Attempt | None]]] = {}


def update_percentage(download_key: str, total: int, cur: int, resolution: int = 10) -> None:
    """Compute the percentage of a download, and record it at each step.

    Between two steps it only reads a dictionary, so it may be called for every row.

    Args:
        download_key: The key of the download. An unknown key is logged as a warning at
            each step.
        total: The number of items in all. If it is not above 0, nothing is recorded.
        cur: The index of the item that was just done, counted from 0. It may
            advance by any stride.
        resolution: The number of steps from 0 to 100 %, from 1 to 100.

    Raises:
        DownloadCancelled: The download was cleared while this process writes it.
    """
    last = _steps.get(download_key)
    if last is not None and last[2] <= cur < last[3] and last[0] == total and last[1] == resolution:
        attempt = last[4]
        if attempt is None or time.monotonic() < attempt.next_heartbeat:
            return
        # An attempt that failed may have been followed by another one in this process.
        if attempt is store.current_attempt(download_key):
            attempt.heartbeat()
            return
    if not total > 0:
        return
    steps = int(min(max(resolution, 1), 100))
    step = int(min(max(cur + 1, 0), total) * steps // total)
    begin = first_index(step, total, steps) if step else -sys.maxsize
    end = first_index(step + 1, total, steps)
    attempt = store.current_attempt(download_key)
    with _lock:
        crowded = last is None and len(_steps) >= MAX_REMEMBERED
        if crowded:
            del _steps[next(iter(_steps))]
        writes_no_rows = attempt is not None and not attempt.is_writing
        _steps[download_key] = (total, resolution, begin, end, attempt if writes_no_rows else None)
    # With too many downloads, the last step may be forgotten. Then only the position shows that
    # a step begins, or that it is the last.
    if (cur == begin or step == steps) if crowded else (step or last is not None):
        store.set_percentage(download_key, step * 100 // steps)


async def aupdate_percentage(download_key: str, total: int, cur: int, resolution: int = 10) -> None:
    """Do the same as ``update_percentage``, without blocking the event loop.

    Between two steps it only reads a dictionary, in the thread of the event loop.
    """
    last = _steps.get(download_key)
    if last is not None and last[2] <= cur < last[3] and last[0] == total and last[1] == resolution:
        attempt = last[4]
        if attempt is None or time.monotonic() < attempt.next_heartbeat:
            return
    if total > 0:
        await sync_to_async(update_percentage)(download_key, total, cur, resolution)


def forget(download_key: str) -> None:
    """Forget the last step of a download that has ended."""
    with _lock:
        _steps.pop(download_key, None)
