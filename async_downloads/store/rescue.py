"""Let downloads be built again: after a failure, by their owner; after a stall, by themselves.

Each change is one conditional update on the state of the row, so that it is done once
however many processes see the same row. Then ``download_requeued`` is sent, and a receiver
queues the task. A task that is queued twice does no harm: the claim admits one attempt.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from async_downloads import settings
from async_downloads.models import Download, DownloadState
from async_downloads.models.timing import DatabaseNow
from async_downloads.store.active_limit import check_active_limit
from async_downloads.store.collections import get_or_create_collection
from async_downloads.store.jobs import alone
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.overdue import GIVEN_UP
from async_downloads.store.transactions import (
    DatabaseFault,
    database,
    downloads,
    in_transaction,
    retry_on_deadlock,
    short_lock_timeout,
)
from async_downloads.store.write_through import write_and_publish
from async_downloads.utils.log import get_logger

__all__ = ["Rescue", "rescue_alone", "retry", "with_stalled_rescued"]

logger = get_logger(__name__)

#: How often a task is queued for one attempt. The pauses double, from ``STALLED_AFTER`` on.
MAX_TIMES_QUEUED: Final = 8

#: Rows that one rescue reads.
BATCH_SIZE: Final = 500

#: Seconds after which a look of the owner rescues no further download: the next one does.
LOOK_SECONDS: Final = 0.3

#: Held while a look rescues. A queue whose server hangs then blocks one thread of a process.
_look_lock: Final = threading.Lock()


class Rescue(NamedTuple):
    """The numbers of a rescue.

    Attributes:
        requeued: Downloads whose task is queued again.
        failed: Downloads that had their last attempt.
        errors: Downloads that could not be rescued; the log says why.
    """

    requeued: int = 0
    failed: int = 0
    errors: int = 0

    def plus(self, other: "Rescue") -> "Rescue":
        """Return the sums."""
        return Rescue(*map(sum, zip(self, other, strict=True)))


def retry(download: Download) -> bool:
    """Let a failed or stalled download wait for a first attempt again.

    An attempt that may still be alive loses its claim.

    Args:
        download: The row, with its collection.

    Returns:
        Whether this call did it: not if its call is not recorded, or if the download is
        complete, in progress or deleted by now.

    Raises:
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` other downloads
            in progress.
    """
    rows = downloads().filter(pk=download.pk)

    def transact() -> bool:
        stalled = current[0].state == DownloadState.RUNNING
        with transaction.atomic(using=database()):
            if settings.MAX_ACTIVE is not None:
                collection = get_or_create_collection(download.collection.owner, exclusive=True)
                check_active_limit(collection.pk, besides=download.pk)
            return write_and_publish(rows.retry, download.pk, "requeued", stalled=stalled)

    # The heartbeats of an attempt inside a caller's transaction are in the cache alone.
    current = with_live_progress(list(rows.without_long_columns().with_database_clock()))
    return bool(current and current[0].retryable) and retry_on_deadlock(transact)


def rescue_alone() -> Rescue | None:
    """Rescue what has stalled, unless another process does: then return None.

    A download that cannot be rescued is logged, and does not end the rescue of the others.
    Without ``ASYNC_DOWNLOADS_RESCUE``, nothing is rescued.
    """
    if not settings.RESCUE:
        return Rescue()
    with alone("rescue") as heartbeat:
        if heartbeat is None:
            return None
        total = Rescue()
        rows = downloads().stalled().exclude(task="").order_by("pk")
        rows = rows.without_long_columns().with_database_clock()
        batch = list(rows[:BATCH_SIZE])
        while batch:
            # The heartbeats of an attempt inside a caller's transaction are in the cache alone.
            still = [row for row in with_live_progress(batch) if row.stalled]
            total = total.plus(_rescue_all(still, until=lambda _: heartbeat()))
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH_SIZE])
        return total


def with_stalled_rescued(rows: list[Download]) -> list[Download]:
    """Rescue those of some rows that have stalled, and return all rows.

    They show their new state at the next read. The look does not wait for long: it ends after
    ``LOOK_SECONDS``, and at the first row that is locked. While another thread of the process
    rescues, it leaves them to the next look. Nothing is rescued inside a caller's transaction,
    which would lock the rows.

    Args:
        rows: Rows with their live percentages.
    """
    rescuable = [download for download in rows if download.rescuable]
    if rescuable and not in_transaction() and _look_lock.acquire(blocking=False):
        deadline = time.monotonic() + LOOK_SECONDS
        try:
            _rescue_all(rescuable, until=lambda total: total.errors or time.monotonic() > deadline)
        finally:
            _look_lock.release()
    return rows


def _rescue_all(
    rows: Sequence[Download], *, until: Callable[[Rescue], object] = lambda total: False
) -> Rescue:
    """Rescue stalled downloads, and return what was done.

    Args:
        rows: The downloads.
        until: Called after each with the total so far; returns whether it is enough.
    """
    total = Rescue()
    lost = _find_lost(rows)
    for download in rows:
        if download.state != DownloadState.PENDING or download.pk in lost:
            total = total.plus(_rescue(download))
        if until(total):
            break
    return total


def _rescue(download: Download) -> Rescue:
    """Rescue one stalled download, and return what was done."""
    try:
        with short_lock_timeout():
            if download.state == DownloadState.PENDING:
                return Rescue(requeued=_requeue_lost(download))
            rows = downloads().filter(pk=download.pk, claim=download.claim)
            if download.attempts < settings.MAX_ATTEMPTS:
                rescued = write_and_publish(rows.rescue, download.pk, "requeued", stalled=True)
                if rescued:
                    logger.warning("Download %s has stalled and is queued again", download.pk)
                return Rescue(requeued=rescued)
            detail = f"{GIVEN_UP} Attempts: {download.attempts}."
            last = rows.used_up()
            failed = write_and_publish(
                lambda: last.fail(GIVEN_UP, detail=detail), download.pk, "failed", stalled=True
            )
            if failed:
                logger.error("Download %s has stalled in its last attempt", download.pk)
            return Rescue(failed=failed)
    except DatabaseFault:
        logger.warning("Download %s could not be rescued", download.pk, exc_info=True)
        return Rescue(errors=1)


def _requeue_lost(download: Download) -> bool:
    """Queue the task of a pending download again, unless another process has done so."""
    times = download.times_queued
    unchanged = {"claim": download.claim, "times_queued": times, "started_at": None}
    rows = downloads().filter(pk=download.pk, state=DownloadState.PENDING, **unchanged)
    times += 1
    while times < MAX_TIMES_QUEUED and download.heard_at < download.database_time() - _pause(times):
        # No rescue has looked for long: the next pause is longer than the time that has passed.
        times += 1
    requeued = write_and_publish(lambda: rows.queued(times), download.pk, "requeued")
    if requeued:
        logger.warning("Download %s is queued again: no worker has started it", download.pk)
    return requeued


def _find_lost(rows: Iterable[Download]) -> set[uuid.UUID]:
    """Return the primary keys of pending downloads whose task the queue seems to have lost.

    While workers are at work, a task may just wait for its turn, unless a later one of the
    same kind has begun. Workers with short tasks are idle for a moment between two of them:
    then one that was requested later must have begun.
    """
    may_be_lost = [row.pk for row in rows if _has_waited(row)]
    if not may_be_lost:
        return set()
    later = downloads().filter(timestamp__gt=OuterRef("heard_at"), started_at__isnull=False)
    later_of_kind = later.filter(task=OuterRef("task"))
    busy = downloads().in_progress().filter(state=DownloadState.RUNNING)
    idle = ~Q(Exists(busy)) & (
        ~Q(Exists(downloads().filter(_has_ended_lately()))) | Q(Exists(later))
    )
    lost = downloads().filter(Q(Exists(later_of_kind)) | idle, pk__in=may_be_lost)
    return set(lost.values_list("pk", flat=True))


def _has_ended_lately() -> Q:
    """Return the condition that a worker has completed a download lately, or failed in it."""
    since = DatabaseNow(-settings.STALLED_AFTER)
    complete = Q(state=DownloadState.COMPLETE, heard_at__gte=since, started_at__isnull=False)
    # Another process than its worker may have recorded a failure.
    failed = Q(state=DownloadState.FAILED, heard_at__gte=since, started_at__gte=since)
    return complete | failed


def _has_waited(download: Download) -> bool:
    """Return whether a download has waited for a worker so long that its task may be lost.

    A task that has run is not lost: it has left the file to another one.
    """
    times = download.times_queued
    if download.state != DownloadState.PENDING or download.started_at is not None:
        return False
    return times < MAX_TIMES_QUEUED and download.heard_at < download.database_time() - _pause(times)


def _pause(times: int) -> timedelta:
    """Return how long a download waits after its task was queued so many times."""
    return timedelta(seconds=settings.STALLED_AFTER * 2.0 ** (times - 1))
