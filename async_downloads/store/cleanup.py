"""What goes away by itself: expired downloads, collections with nothing left.

What is unfinished does not expire: one that is overdue fails here, and is then kept.

A clean-up may be killed at any moment, run twice, or beside running exports. It
takes a batch at a time, so that its memory does not grow with what there is to
do, and it holds locks no longer than it takes to delete the files of one batch.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from django.db import connections, transaction
from django.db.models import Q

from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.store import cache_entries
from async_downloads.store.listing import overlaid
from async_downloads.store.overdue import fail_overdue, skips_locked
from async_downloads.store.removal import BATCH_SIZE, delete, files_first
from async_downloads.store.transactions import database, downloads, persistently

__all__ = [
    "Cleanup",
    "Pace",
    "clean_up",
    "clean_up_alone",
    "count_empty",
    "delete_empty",
    "delete_locked",
    "last_cleanup",
]

#: Rows of the first batch; how long it takes tells how many the next ones take.
FIRST_BATCH: Final = 100

#: Seconds that a batch may keep its rows locked, about; on SQLite, the whole database.
BATCH_SECONDS: Final = 0.5


#: Which rows of all.
Which = Callable[[DownloadQuerySet], DownloadQuerySet]


@dataclass(slots=True)
class Cleanup:
    """What a clean-up removed, or would remove.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
        collections: Collections with nothing left in them.
        left: Rows that were to go and stayed: locked, or changed meanwhile.
        failed: Rows that were unfinished and overdue, and have failed instead.
    """

    downloads: int = 0
    size: int = 0
    collections: int = 0
    left: int = 0
    failed: int = 0

    def add(self, gone: dict[uuid.UUID, int], *, of: int, failed: int = 0) -> None:
        """Add what became of a batch.

        Args:
            gone: What was removed: primary keys, with the bytes of each.
            of: How many rows were to go.
            failed: How many have failed instead.
        """
        self.downloads += len(gone)
        self.size += sum(gone.values())
        self.left += of - len(gone)
        self.failed += failed


def clean_up_alone() -> Cleanup | None:
    """Clean up, unless another process is at it; None if one is."""
    scope = _scope()
    if not cache_entries.start_cleanup(scope):
        return None
    try:
        return clean_up(after_each=lambda _: cache_entries.renew_cleanup(scope))
    finally:
        cache_entries.end_cleanup(scope)


def clean_up(
    *,
    dry_run: bool = False,
    collection: DownloadCollection | None = None,
    after_each: Callable[[Cleanup], object] = lambda total: None,
) -> Cleanup:
    """Fail what is overdue, and delete what has expired.

    Safe to run at any time, twice, and beside running exports.

    Args:
        dry_run: Only count.
        collection: Only look at this collection.
        after_each: Called after each batch with what was done so far.
    """
    total = Cleanup()
    pace = Pace()
    for batch in _batches(DownloadQuerySet.overdue, collection, pace):
        # What is written inside a caller's transaction is in the cache alone, and so is
        # that a row was cleared which was locked.
        shown = overlaid(batch)
        overdue = {row.pk for row in shown if row.overdue}
        cleared = {row.pk: row.size or 0 for row in set(batch).difference(shown)}
        if dry_run:
            total.add(cleared, of=len(cleared), failed=len(overdue))
        else:
            with pace:
                gone = persistently(partial(_delete, DownloadQuerySet.overdue, cleared))
                failed = persistently(partial(fail_overdue, overdue))
            total.add(gone, of=len(cleared), failed=failed)
        after_each(total)
    for batch in _batches(DownloadQuerySet.expired, collection, pace):
        sizes = {row.pk: row.size or 0 for row in batch}
        if not dry_run:
            with pace:
                sizes = persistently(partial(_delete, DownloadQuerySet.expired, sizes))
        total.add(sizes, of=len(batch))
        after_each(total)
    if collection is None:
        total.collections = count_empty() if dry_run else delete_empty()
        if not dry_run:
            cache_entries.note_cleanup(_scope())
    return total


def last_cleanup() -> datetime | None:
    """Return when a clean-up last came to its end; None if the cache does not know."""
    return cache_entries.last_cleanup(_scope())


@dataclass(slots=True)
class Pace:
    """How many rows to take at a time, by how long the last ones took."""

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
    which: Which, collection: DownloadCollection | None, pace: Pace
) -> Iterator[list[Download]]:
    """Yield rows a batch at a time, each row once, whatever becomes of the batches."""
    rows = which(downloads()).order_by("expires_at", "pk").defer("error_detail", "errors")
    if collection is not None:
        rows = rows.filter(collection=collection)
    batch = list(rows[: pace.rows])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(expires_at__gt=last.expires_at) | Q(expires_at=last.expires_at, pk__gt=last.pk)
        batch = list(rows.filter(later)[: pace.rows])


def _delete(which: Which, sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    """Delete those of a batch that are still to go, and return which they were."""
    return delete_locked(which(downloads()), sizes, expired=which is DownloadQuerySet.expired)


def delete_locked(
    rows: DownloadQuerySet, sizes: dict[uuid.UUID, int], *, expired: bool
) -> dict[uuid.UUID, int]:
    """Delete those of a batch that are still among some rows, and that nobody has locked.

    Args:
        rows: The rows that are to go.
        sizes: The batch: primary keys, with the bytes of each.
        expired: Whether all of them have expired, so that nobody sees them any more. Of
            such, no file is left behind by a kill; of anything else, nobody is to be
            shown a row whose file is gone.

    Returns:
        What of the batch was deleted.
    """
    with transaction.atomic(using=database()), files_first() if expired else nullcontext():
        # Something may have happened since they were read: each is locked, and looked at again.
        locked = rows.select_for_update(skip_locked=skips_locked())
        gone = list(locked.filter(pk__in=sizes).values_list("pk", flat=True))
        delete(downloads().filter(pk__in=gone))
    return {pk: sizes[pk] for pk in gone}


def count_empty() -> int:
    """Return how many collections have nothing left in them."""
    return DownloadCollection.objects.using(database()).empty().count()


def delete_empty() -> int:
    """Delete the collections with nothing left in them; their owners get new ones when needed."""
    collections = DownloadCollection.objects.using(database())
    keys = collections.empty().order_by("pk").values_list("pk", flat=True)
    removed = 0
    batch = list(keys[:BATCH_SIZE])
    while batch:
        removed += persistently(partial(_delete_if_empty, batch))
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH_SIZE])
    return removed


def _delete_if_empty(keys: list[uuid.UUID]) -> int:
    collections = DownloadCollection.objects.using(database())
    with transaction.atomic(using=database()):
        locked = collections.select_for_update(skip_locked=skips_locked())
        held = list(locked.filter(pk__in=keys).values_list("pk", flat=True))
        # Only a look from after the lock is to be trusted: none can be added from now on.
        return collections.empty().filter(pk__in=held).delete()[0]


def _scope() -> str:
    """Return which database it is, as the processes that clean it up all see it."""
    found = connections[database()].settings_dict
    return "/".join(str(found[name]) for name in ("HOST", "PORT", "NAME"))
