"""What goes away by itself: expired downloads, collections with nothing left.

A clean-up may be killed at any moment, run twice, or beside running exports. It
takes a batch at a time, so that its memory does not grow with what there is to
do, and it holds locks no longer than it takes to delete the files of one batch.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from django.db import connections, transaction
from django.db.models import Q

from async_downloads import entries
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.store.connections import database, downloads, persistently
from async_downloads.store.removal import BATCH_SIZE, delete, files_first

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


@dataclass(slots=True)
class Cleanup:
    """What a clean-up removed, or would remove.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
        collections: Collections with nothing left in them.
        left: Rows that were to go and stayed: locked, changed meanwhile, or
            written to by somebody who is heard through the cache alone.
    """

    downloads: int = 0
    size: int = 0
    collections: int = 0
    left: int = 0


def clean_up_alone() -> Cleanup | None:
    """Clean up, unless another process is at it; None if one is."""
    scope = _scope()
    if not entries.start_cleanup(scope):
        return None
    try:
        return clean_up(after_each=lambda _: entries.renew_cleanup(scope))
    finally:
        entries.end_cleanup(scope)


def clean_up(
    *,
    dry_run: bool = False,
    collection: DownloadCollection | None = None,
    after_each: Callable[[Cleanup], object] = lambda total: None,
) -> Cleanup:
    """Delete what has expired, wherever nobody writes to it any more.

    Safe to run at any time, twice, and beside running exports.

    Args:
        dry_run: Only count.
        collection: Only look at this collection.
        after_each: Called after each batch with what was done so far.
    """
    total = Cleanup()
    pace = Pace()
    for batch in _expired_batches(collection, pace):
        alive = _alive(batch)
        dead = {row.pk: row.size or 0 for row in batch if row.download_key not in alive}
        if not dry_run:
            with pace:
                dead = persistently(partial(_delete_expired, dead))
        total.downloads += len(dead)
        total.size += sum(dead.values())
        total.left += len(batch) - len(dead)
        after_each(total)
    if collection is None:
        total.collections = count_empty() if dry_run else delete_empty()
        if not dry_run:
            entries.note_cleanup(_scope())
    return total


def last_cleanup() -> datetime | None:
    """Return when a clean-up last came to its end; None if the cache does not know."""
    return entries.last_cleanup(_scope())


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


def _expired_batches(collection: DownloadCollection | None, pace: Pace) -> Iterator[list[Download]]:
    """Yield expired rows a batch at a time, each row once, whatever becomes of the batches."""
    expired = downloads().expired().order_by("expires_at", "pk").defer("error_detail", "errors")
    if collection is not None:
        expired = expired.filter(collection=collection)
    batch = list(expired[: pace.rows])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(expires_at__gt=last.expires_at) | Q(expires_at=last.expires_at, pk__gt=last.pk)
        batch = list(expired.filter(later)[: pace.rows])


def _alive(rows: Iterable[Download]) -> set[str]:
    """Return the keys of unfinished rows whose writer is heard through the cache alone.

    That is an export inside a caller's transaction: its row is not touched
    until the end, but its entry expires only when the writer falls silent.
    """
    return set(entries.get_entries(row.download_key for row in rows if row.unfinished))


def _delete_expired(sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    """Delete those of the rows that are still expired, and return which they were."""
    return delete_locked(downloads().expired(), sizes, expired=True)


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
        locked = rows.select_for_update(skip_locked=_skips_locked())
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
        locked = collections.select_for_update(skip_locked=_skips_locked())
        held = list(locked.filter(pk__in=keys).values_list("pk", flat=True))
        # Only a look from after the lock is to be trusted: none can be added from now on.
        return collections.empty().filter(pk__in=held).delete()[0]


def _scope() -> str:
    """Return which database it is, as the processes that clean it up all see it."""
    found = connections[database()].settings_dict
    return "/".join(str(found[name]) for name in ("HOST", "PORT", "NAME"))


def _skips_locked() -> bool:
    return connections[database()].features.has_select_for_update_skip_locked
