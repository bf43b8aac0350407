"""What goes away by itself: expired downloads, collections with nothing left.

A clean-up may be killed at any moment, run twice, or beside running exports. It
takes a batch at a time, so that its memory does not grow with what there is to
do, and it holds locks no longer than it takes to delete the files of one batch.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from django.db import connections, transaction
from django.db.models import Q

from async_downloads import entries
from async_downloads.models import Download, DownloadCollection
from async_downloads.store.connections import database, downloads, persistently
from async_downloads.store.removal import BATCH_SIZE, delete, files_first

__all__ = ["Cleanup", "clean_up", "clean_up_alone"]

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
    """

    downloads: int = 0
    size: int = 0
    collections: int = 0


def clean_up_alone() -> Cleanup | None:
    """Clean up, unless another process is at it; None if one is."""
    scope = _scope()
    if not entries.start_cleanup(scope):
        return None
    try:
        return clean_up(after_each=partial(entries.renew_cleanup, scope))
    finally:
        entries.end_cleanup(scope)


def clean_up(
    *,
    dry_run: bool = False,
    collection: DownloadCollection | None = None,
    after_each: Callable[[], object] = lambda: None,
) -> Cleanup:
    """Delete what has expired, wherever nobody writes to it any more.

    Safe to run at any time, twice, and beside running exports.

    Args:
        dry_run: Only count.
        collection: Only look at this collection.
        after_each: Called after each batch.
    """
    total = Cleanup()
    pace = _Pace()
    for batch in _expired_batches(collection, pace):
        alive = _alive(batch)
        dead = {row.pk: row.size or 0 for row in batch if row.download_key not in alive}
        if not dry_run:
            with pace:
                dead = persistently(partial(_delete_expired, dead))
            after_each()
        total.downloads += len(dead)
        total.size += sum(dead.values())
    if collection is None:
        total.collections = _count_empty() if dry_run else _delete_empty()
    return total


@dataclass(slots=True)
class _Pace:
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


def _expired_batches(
    collection: DownloadCollection | None, pace: _Pace
) -> Iterator[list[Download]]:
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
    with transaction.atomic(using=database()), files_first():
        # A heartbeat may have come since the row was read: it is locked, and looked at again.
        locked = downloads().select_for_update(skip_locked=_skips_locked())
        gone = list(locked.expired().filter(pk__in=sizes).values_list("pk", flat=True))
        delete(downloads().filter(pk__in=gone))
    return {pk: sizes[pk] for pk in gone}


def _count_empty() -> int:
    return DownloadCollection.objects.using(database()).empty().count()


def _delete_empty() -> int:
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
