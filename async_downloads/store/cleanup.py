"""Delete expired downloads and empty collections.

An unfinished download does not expire: one that is overdue fails here, and is then kept.

A clean-up may be killed at any moment, run twice, or beside running exports. It
takes a batch at a time, so that its memory does not grow with the number of rows,
and it holds locks no longer than it takes to delete the files of one batch.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from async_downloads import settings
from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadCollectionQuerySet,
    DownloadQuerySet,
)
from async_downloads.models.conditions import has_outlived
from async_downloads.store import cache_entries
from async_downloads.store.jobs import alone, name_of
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.overdue import fail_overdue, skips_locked
from async_downloads.store.removal import BATCH_SIZE, delete, files_first, in_batches
from async_downloads.store.transactions import database, downloads, retry_on_deadlock

__all__ = [
    "Cleanup",
    "Pace",
    "clean_up",
    "clean_up_alone",
    "count_empty",
    "count_held",
    "delete_empty",
    "delete_locked",
    "last_cleanup",
]

#: What only one process does at a time.
JOB: Final = "cleanup"

#: Rows of the first batch; its duration decides the size of the next ones.
FIRST_BATCH: Final = 100

#: Seconds that a batch may keep its rows locked, about; on SQLite, the whole database.
BATCH_SECONDS: Final = 0.5

#: A method of the query set that selects the rows to clean up.
Select = Callable[[DownloadQuerySet], DownloadQuerySet]


@dataclass(slots=True)
class Cleanup:
    """The numbers of a clean-up: the rows that it removed, or would remove.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
        collections: Empty collections.
        left: Rows that were to go and stayed: locked, or changed meanwhile.
        failed: Overdue rows, which fail instead.
    """

    downloads: int = 0
    size: int = 0
    collections: int = 0
    left: int = 0
    failed: int = 0

    def add(self, deleted: dict[uuid.UUID, int], *, of: int, failed: int = 0) -> None:
        """Add the outcome of a batch.

        Args:
            deleted: The removed rows: primary keys, with the bytes of each.
            of: How many rows were to go.
            failed: How many have failed instead.
        """
        self.downloads += len(deleted)
        self.size += sum(deleted.values())
        self.left += of - len(deleted)
        self.failed += failed


def clean_up_alone() -> Cleanup | None:
    """Clean up, unless another process is cleaning up: then return None."""
    with alone(JOB) as heartbeat:
        if heartbeat is None:
            return None
        return clean_up(after_each=lambda _: heartbeat())


def clean_up(
    *,
    dry_run: bool = False,
    collection: DownloadCollection | None = None,
    after_each: Callable[[Cleanup], object] = lambda total: None,
) -> Cleanup:
    """Fail overdue downloads, and delete expired ones.

    Safe to run at any time, twice, and beside running exports.

    Args:
        dry_run: Only count.
        collection: Only look at this collection.
        after_each: Called after each batch with the total so far.
    """
    total = Cleanup()
    pace = Pace()
    for batch in _batches(DownloadQuerySet.overdue, collection, pace):
        # The cache alone knows the heartbeats of an export inside a caller's transaction, and
        # the rows that were cleared while they were locked.
        shown = with_live_progress(batch)
        overdue = {row.pk for row in shown if row.overdue}
        cleared = {row.pk: row.size or 0 for row in set(batch).difference(shown)}
        if dry_run:
            total.add(cleared, of=len(cleared), failed=len(overdue))
        else:
            with pace:
                deleted = retry_on_deadlock(partial(_delete, DownloadQuerySet.overdue, cleared))
                failed = retry_on_deadlock(partial(fail_overdue, overdue))
            total.add(deleted, of=len(cleared), failed=failed)
        after_each(total)
    for sizes in _cleared_for_good(collection, pace):
        deleted = sizes if dry_run else _delete_at_pace(DownloadQuerySet.for_good, sizes, pace)
        total.add(deleted, of=len(sizes))
        after_each(total)
    for batch in _batches(DownloadQuerySet.expired, collection, pace):
        sizes = {row.pk: row.size or 0 for row in batch}
        deleted = sizes if dry_run else _delete_at_pace(DownloadQuerySet.expired, sizes, pace)
        total.add(deleted, of=len(sizes))
        after_each(total)
    if collection is None:
        total.collections = count_empty() if dry_run else delete_empty()
        if not dry_run:
            cache_entries.record_cleanup(name_of(JOB))
    return total


def last_cleanup() -> datetime | None:
    """Return when a clean-up last finished; None if the cache does not know."""
    return cache_entries.last_cleanup(name_of(JOB))


@dataclass(slots=True)
class Pace:
    """The number of rows to take at a time, by the duration of the last batch."""

    rows: int = field(default_factory=lambda: FIRST_BATCH)
    _began: float = field(default=0.0, init=False)

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._began
        if took > BATCH_SECONDS:
            self.rows = max(1, self.rows // 2)
        elif took < BATCH_SECONDS / 2:
            self.rows = min(BATCH_SIZE, self.rows * 2)


def _batches(
    select: Select, collection: DownloadCollection | None, pace: Pace
) -> Iterator[list[Download]]:
    """Yield rows a batch at a time, each row once, even if batches are deleted."""
    rows = select(downloads()).order_by("expires_at", "pk").without_long_columns().defer("errors")
    if collection is not None:
        rows = rows.filter(collection=collection)
    batch = list(rows[: pace.rows])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(expires_at__gt=last.expires_at) | Q(expires_at=last.expires_at, pk__gt=last.pk)
        batch = list(rows.filter(later)[: pace.rows])


def _cleared_for_good(
    collection: DownloadCollection | None, pace: Pace
) -> Iterator[dict[uuid.UUID, int]]:
    """Yield batches of the rows that never expire and are marked as cleared, with their bytes."""
    rows = downloads().for_good().order_by("pk").without_long_columns().defer("errors")
    if collection is not None:
        rows = rows.filter(collection=collection)
    batch = list(rows[: pace.rows]) if cache_entries.is_shared() else []
    while batch:
        cleared = set(batch).difference(with_live_progress(batch))
        if cleared:
            yield {row.pk: row.size or 0 for row in cleared}
        batch = list(rows.filter(pk__gt=batch[-1].pk)[: pace.rows])


def _delete_at_pace(
    select: Select, sizes: dict[uuid.UUID, int], pace: Pace
) -> dict[uuid.UUID, int]:
    with pace:
        return retry_on_deadlock(partial(_delete, select, sizes))


def _delete(select: Select, sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    """Delete the rows of a batch that still match, and return them."""
    return delete_locked(select(downloads()), sizes, expired=select is DownloadQuerySet.expired)


def delete_locked(
    rows: DownloadQuerySet, sizes: dict[uuid.UUID, int], *, expired: bool
) -> dict[uuid.UUID, int]:
    """Delete the rows of a batch that still match and that are not locked.

    Args:
        rows: The query that they must still match.
        sizes: The batch: primary keys, with the bytes of each.
        expired: Whether all of them have expired, so that no list shows them. Their files
            go first, so that a kill leaves no file behind. All other rows go before
            their files, so that no list shows a row whose file is gone.

    Returns:
        The deleted rows of the batch: primary keys, with the bytes of each.
    """
    with transaction.atomic(using=database()), files_first() if expired else nullcontext():
        # They may have changed since they were read: each is locked, and checked again.
        locked = rows.select_for_update(skip_locked=skips_locked())
        deleted = list(locked.removable().filter(pk__in=sizes).values_list("pk", flat=True))
        delete(downloads().filter(pk__in=deleted))
    return {pk: sizes[pk] for pk in deleted}


def count_held() -> int:
    """Return the number of downloads that would have expired if staff did not hold them."""
    return downloads().finished().held_back().filter(has_outlived(timezone.now())).count()


def count_empty() -> int:
    """Return the number of collections without downloads."""
    return _empty().count()


def delete_empty() -> int:
    """Delete the collections without downloads; their owners get new ones when needed."""
    batches = in_batches(_empty())
    return sum(retry_on_deadlock(partial(_delete_if_empty, batch)) for batch in batches)


def _empty() -> DownloadCollectionQuerySet:
    rows = DownloadCollection.objects.using(database()).empty()
    # The row of a member says what they have seen of the downloads of their teams.
    return rows.filter(seen_at=None) if settings.MEMBERS else rows


def _delete_if_empty(keys: list[uuid.UUID]) -> int:
    collections = DownloadCollection.objects.using(database())
    with transaction.atomic(using=database()):
        rows = collections.select_for_update(skip_locked=skips_locked())
        locked = list(rows.filter(pk__in=keys).values_list("pk", flat=True))
        # Only after the lock is the answer final: no download can be added from now on.
        return collections.empty().filter(pk__in=locked).delete()[0]
