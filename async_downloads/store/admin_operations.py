"""What staff do to the downloads of others, besides purging them.

Each takes any number of downloads, in batches, and acts on those that are in a
state for it by then: a confirmation may have been on somebody's screen for long.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils.translation import gettext_noop

from async_downloads.models import DownloadQuerySet
from async_downloads.store.removal import in_batches, purge
from async_downloads.store.transactions import database, downloads, persistently
from async_downloads.store.write_through import write_through_all

__all__ = ["cancel", "extend_expiry", "mark_failed"]


def cancel(queryset: DownloadQuerySet) -> int:
    """Delete downloads that are not finished; whoever writes one notices and stops.

    Returns:
        The number of downloads that this call deleted.
    """
    return purge(queryset.unfinished())


def mark_failed(queryset: DownloadQuerySet, *, by: str) -> int:
    """Fail downloads that are not finished, and take them from the runs that are at them.

    Such a run notices at its next sign of life, removes what it wrote and raises
    ``DownloadCancelled``. As after any failure, a new delivery of the task may
    still finish the download.

    Args:
        queryset: Which downloads.
        by: Who does so, for staff to read.

    Returns:
        The number of downloads that this call failed.
    """
    errors = gettext_noop("Stopped by an administrator.")

    def stop(rows: DownloadQuerySet) -> int:
        return rows.stop(errors, detail=f"Marked as failed by {by}.")

    return _change(queryset, DownloadQuerySet.unfinished, stop, "failed")


def extend_expiry(queryset: DownloadQuerySet, until: datetime) -> int:
    """Keep finished downloads at least until then.

    Those that would live longer anyway are left alone, and so are unfinished
    ones, whose next write sets their end anew.

    Returns:
        The number of downloads that go away later than before.
    """

    def expiring(rows: DownloadQuerySet) -> DownloadQuerySet:
        return rows.expiring_before(until)

    return _change(queryset, expiring, lambda rows: rows.extend(until), "progressed")


def _change(
    queryset: DownloadQuerySet,
    concerned: Callable[[DownloadQuerySet], DownloadQuerySet],
    change: Callable[[DownloadQuerySet], int],
    told: str,
) -> int:
    """Change rows in batches and tell of those that were; return how many that is."""
    batches = in_batches(concerned(queryset))
    return sum(persistently(partial(_batch, keys, concerned, change, told)) for keys in batches)


def _batch(
    keys: list[uuid.UUID],
    concerned: Callable[[DownloadQuerySet], DownloadQuerySet],
    change: Callable[[DownloadQuerySet], int],
    told: str,
) -> int:
    with transaction.atomic(using=database()):
        locked = concerned(downloads().filter(pk__in=keys).select_for_update())
        held = list(locked.values_list("pk", flat=True))
        changed = change(downloads().filter(pk__in=held))
        write_through_all(held, told)
    return changed
