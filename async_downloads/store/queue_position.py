"""How many downloads are ahead of those that wait, and whether any are being built.

One query answers for all people who wait: it reads the front of the queue, and each process
uses the answer for a moment.
"""

import time
from bisect import bisect_left
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import DateTimeField, Q, Subquery
from django.utils import timezone

from async_downloads.models import Download, DownloadState
from async_downloads.models.conditions import is_waiting
from async_downloads.models.timing import stalled_before
from async_downloads.models.waiting import MAX_AHEAD
from async_downloads.store.transactions import database, downloads

__all__ = ["forget", "with_queue_positions"]

#: Seconds for which a process uses an answer.
QUEUE_SECONDS: Final = 2.0

#: Seconds for which it uses the answer while a thread of it reads the next one.
LONGEST_SECONDS: Final = 10.0


class _Queue(NamedTuple):
    """The front of the queue.

    Attributes:
        queued: When each download was queued that waits, the first ``MAX_AHEAD`` of them.
        worked_at: When a worker was last seen at work; None if that is not known.
    """

    queued: tuple[datetime, ...] = ()
    worked_at: datetime | None = None


#: The last answer for each database, and when it was read, on the monotonic clock.
_queues: Final[dict[str, tuple[_Queue, float]]] = {}


def with_queue_positions(rows: list[Download]) -> list[Download]:
    """Return rows, with ``ahead`` and ``served`` set on those that wait for a worker.

    No query is made if none waits.

    Args:
        rows: Rows with their live percentages.
    """
    waiting = [row for row in rows if row.waiting]
    if waiting:
        queue = _read_lately()
        for row in waiting:
            row.ahead = bisect_left(queue.queued, row.heard_at)
            since = stalled_before(row.clock_difference)
            row.served = queue.worked_at is not None and queue.worked_at >= since
    return rows


def forget() -> None:
    """Forget the answers, so that the next one is read."""
    _queues.clear()


def _read_lately() -> _Queue:
    """Return an answer of the last seconds, or read the next one."""
    using, now = database(), time.monotonic()
    if using in _queues:
        queue, read_at = _queues[using]
        if now - read_at < QUEUE_SECONDS:
            return queue
        if now - read_at < LONGEST_SECONDS:
            # The other threads use it until the query has ended.
            _queues[using] = queue, now
    queue = _read()
    _queues[using] = queue, time.monotonic()
    return queue


def _read() -> _Queue:
    alive = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    rows: Any = (
        downloads()
        .filter(is_waiting(), alive)
        .order_by("heard_at")
        .annotate(
            running=_latest(DownloadState.RUNNING, "heard_at"),
            completed=_latest(DownloadState.COMPLETE, "heard_at"),
            # A failure may be recorded by a process that is not a worker.
            failed_after_start=_latest(DownloadState.FAILED, "started_at"),
        )
        .values_list("heard_at", "running", "completed", "failed_after_start")[:MAX_AHEAD]
    )
    queued = tuple(rows)
    if not queued:
        return _Queue()
    worked = [moment for moment in queued[0][1:] if moment is not None]
    return _Queue(tuple(row[0] for row in queued), max(worked, default=None))


def _latest(state: DownloadState, column: str) -> Subquery:
    """Return a column of the download in a state that was written last."""
    rows = downloads().filter(state=state, started_at__isnull=False).order_by("-heard_at")
    return Subquery(rows.values(column)[:1], output_field=DateTimeField())
