"""How downloads go away: cleared by their owner, purged by staff, expired.

Whatever way a row is deleted, its file goes after the commit: ``discard`` is
called for each deleted row, those of a cascade included.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import Q

from async_downloads import entries, files
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.store.write_through import after_commit, announce, database, downloads

__all__ = ["Cleanup", "clean_up", "clear", "collections_by_key", "discard", "purge"]

#: Rows that are deleted in one transaction.
BATCH_SIZE: Final = 500


@dataclass(slots=True)
class Cleanup:
    """What a clean-up removed, or would remove.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
    """

    downloads: int = 0
    size: int = 0


def clear(user_id: Any, *, download_key: uuid.UUID | None = None, filepath: str = "") -> bool:
    """Remove one of a user's own downloads, running or not.

    A run that is still writing finds its row gone and stops.

    Args:
        user_id: The user who asks.
        download_key: Which download.
        filepath: Which download, by the path on its row. It is only compared,
            never acted on.

    Returns:
        Whether there was such a download; False both for what does not exist
        and for what is somebody else's.
    """
    if "\0" in filepath:
        # PostgreSQL takes no NUL, not even to compare with.
        return False
    which = Q(pk=download_key) if download_key is not None else Q(filepath=filepath)
    return purge(downloads().for_user(user_id).filter(which)) > 0


def purge(queryset: DownloadQuerySet) -> int:
    """Delete downloads in batches, each with its file after the batch has committed.

    Returns:
        The number of downloads that this call deleted.
    """
    removed = 0
    keys = queryset.using(database()).order_by("pk").values_list("pk", flat=True)
    batch = list(keys[:BATCH_SIZE])
    while batch:
        removed += _delete(downloads().filter(pk__in=batch))
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH_SIZE])
    return removed


def clean_up(*, dry_run: bool = False, collection: DownloadCollection | None = None) -> Cleanup:
    """Delete what has expired, wherever nobody writes to it any more.

    Safe to run at any time, twice, and beside running exports.

    Args:
        dry_run: Only count.
        collection: Only look at this collection.
    """
    total = Cleanup()
    for batch in _expired_batches(collection):
        alive = _alive(batch)
        dead = {row.pk: row.size or 0 for row in batch if row.download_key not in alive}
        if not dry_run:
            dead = _delete_expired(dead)
        total.downloads += len(dead)
        total.size += sum(dead.values())
    return total


def collections_by_key(collection_key: str) -> list[DownloadCollection]:
    """Return the collections that go by a collection key.

    A text can have the same key as the user whose primary key it spells.
    """
    return list(DownloadCollection.objects.using(database()).filter(key=collection_key))


def discard(download: Download, *, using: str) -> None:
    """Remove the file and the entry of a row that was deleted, once that is committed.

    Args:
        download: The deleted row.
        using: The database that it was deleted from.
    """
    key, path = download.download_key, download.filepath

    def remove_traces() -> None:
        files.sweep(path, download_key=key)
        entries.delete_entry(key)

    transaction.on_commit(remove_traces, using=using, robust=True)


def _expired_batches(collection: DownloadCollection | None) -> Iterator[list[Download]]:
    """Yield expired rows a batch at a time, each row once, whatever becomes of the batches."""
    expired = downloads().expired().order_by("expires_at", "pk").defer("error_detail", "errors")
    if collection is not None:
        expired = expired.filter(collection=collection)
    batch = list(expired[:BATCH_SIZE])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(expires_at__gt=last.expires_at) | Q(expires_at=last.expires_at, pk__gt=last.pk)
        batch = list(expired.filter(later)[:BATCH_SIZE])


def _alive(rows: Iterable[Download]) -> set[str]:
    """Return the keys of unfinished rows whose writer is heard through the cache alone.

    That is an export inside a caller's transaction: its row is not touched
    until the end, but its entry expires only when the writer falls silent.
    """
    return set(entries.get_entries(row.download_key for row in rows if row.unfinished))


def _delete_expired(sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    """Delete those of the rows that are still expired, and return which they were."""
    with transaction.atomic(using=database()):
        # A heartbeat may have come since the row was read: it is locked, and looked at again.
        features = connections[database()].features
        locked = downloads().select_for_update(
            skip_locked=features.has_select_for_update_skip_locked
        )
        still_expired = locked.expired().filter(pk__in=sizes)
        gone = list(still_expired.values_list("pk", flat=True))
        _delete(downloads().filter(pk__in=gone))
    return {pk: sizes[pk] for pk in gone}


def _delete(queryset: DownloadQuerySet) -> int:
    """Delete rows and tell their owners' pages."""
    with transaction.atomic(using=database()):
        collections = list(
            DownloadCollection.objects.using(database()).filter(
                pk__in=queryset.values_list("collection_id", flat=True)
            )
        )
        removed = queryset.delete()[1].get(Download._meta.label, 0)

        def tell_pages() -> None:
            for collection in collections:
                announce(collection, "removed")

        if removed:
            after_commit(tell_pages)
    return removed
