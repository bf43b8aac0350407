"""The operations of staff on the downloads of others, besides purging them.

Each takes any number of downloads, in batches, and changes those that are in a
suitable state by then: a confirmation page may have been open for long.
"""

import uuid
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils.translation import gettext_noop

from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store import cache_entries
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.removal import in_batches, purge
from async_downloads.store.transactions import (
    after_commit,
    database,
    downloads,
    retry_on_deadlock,
)
from async_downloads.store.write_through import write_through_all

__all__ = ["cancel", "end_hold", "extend_expiry", "hold", "mark_failed", "run_again"]


def cancel(queryset: DownloadQuerySet) -> int:
    """Delete unfinished downloads; an attempt that writes one notices and stops.

    Returns:
        The number of downloads that this call deleted.
    """
    return purge(queryset.unfinished())


def mark_failed(queryset: DownloadQuerySet, *, by: str) -> int:
    """Fail unfinished downloads, and take their claims from the attempts that hold them.

    Such an attempt notices at its next heartbeat, removes its partial file and raises
    ``DownloadCancelled``. As after any failure, a new delivery of the task may still
    finish the download.

    Args:
        queryset: Which downloads.
        by: Who marks them, for staff to read.

    Returns:
        The number of downloads that this call failed.
    """
    errors = gettext_noop("Stopped by an administrator.")

    def stop(rows: DownloadQuerySet) -> int:
        return rows.stop(errors, detail=f"Marked as failed by {by}.")

    return _change(queryset, DownloadQuerySet.unfinished, stop, "failed")


def run_again(queryset: DownloadQuerySet, *, may_start: Callable[[Download], bool]) -> int:
    """Let failed and stalled downloads wait for a first attempt again.

    An attempt that may still be alive loses its claim. Staff decide, so the limit on the
    downloads that an owner has in progress does not apply.

    Args:
        queryset: Which downloads; those without a recorded call are left alone.
        may_start: Returns whether one of them may be built again.

    Returns:
        The number of downloads that wait again.
    """
    waiting = 0
    for batch in in_batches(queryset.retryable()):
        rows = downloads().filter(pk__in=batch).retryable().select_related("collection__user")
        # The heartbeats of an attempt inside a caller's transaction are in the cache alone.
        rows = rows.defer("error_detail").with_database_clock()
        current = with_live_progress(list(rows))
        allowed = [row.pk for row in current if row.retryable and may_start(row)]
        chosen = downloads().filter(pk__in=allowed)
        stalled = {row.pk for row in current if row.state == DownloadState.RUNNING}
        waiting += _change(
            *(chosen, DownloadQuerySet.retryable, DownloadQuerySet.retry, "requeued"),
            stalled=stalled,
        )
    return waiting


def extend_expiry(queryset: DownloadQuerySet, until: datetime) -> int:
    """Keep finished downloads at least until then.

    Downloads that expire later are left alone, and so are unfinished ones, whose
    next write sets their expiry anew.

    Returns:
        The number of downloads that expire later than before.
    """

    def expiring(rows: DownloadQuerySet) -> DownloadQuerySet:
        return rows.expiring_before(until)

    return _change(queryset, expiring, lambda rows: rows.extend(until), "progressed")


def hold(queryset: DownloadQuerySet) -> int:
    """Keep downloads in any state from being removed: by the clean-up, their owner or staff.

    One that its owner has cleared while its row was locked is in the lists again.

    Args:
        queryset: The downloads. Those that are held already stay so.

    Returns:
        The number of downloads that this call holds.
    """

    def hold_rows(rows: DownloadQuerySet) -> int:
        keys = [str(pk) for pk in rows.values_list("pk", flat=True)]
        after_commit(lambda: cache_entries.unmark(keys))
        return rows.hold()

    return _change(queryset, DownloadQuerySet.holdable, hold_rows, "progressed")


def end_hold(queryset: DownloadQuerySet) -> int:
    """End the hold on downloads, which expire as if there had been none.

    Args:
        queryset: The downloads. Those that are not held stay as they are.

    Returns:
        The number of downloads that are no longer held.
    """
    return _change(queryset, DownloadQuerySet.held_back, DownloadQuerySet.end_hold, "progressed")


def _change(
    queryset: DownloadQuerySet,
    suitable: Callable[[DownloadQuerySet], DownloadQuerySet],
    change: Callable[[DownloadQuerySet], int],
    change_name: str,
    *,
    stalled: Collection[uuid.UUID] = (),
) -> int:
    """Change suitable rows in batches, publish each change, and return how many changed."""

    def change_batch(batch: list[uuid.UUID]) -> int:
        with transaction.atomic(using=database()):
            rows = suitable(downloads().filter(pk__in=batch)).select_for_update()
            locked = list(rows.values_list("pk", flat=True))
            changed = change(downloads().filter(pk__in=locked))
            write_through_all(locked, change_name, stalled=stalled)
        return changed

    batches = in_batches(suitable(queryset))
    return sum(retry_on_deadlock(partial(change_batch, batch)) for batch in batches)
