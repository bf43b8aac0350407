"""How downloads go away: cleared by their owner, or purged by staff.

Whatever way a row is deleted, its file goes with it: ``discard`` is called for
each deleted row, those of a cascade included.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from async_downloads import entries, files
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.store.connections import (
    DatabaseFault,
    after_commit,
    database,
    downloads,
    impatient,
)
from async_downloads.store.write_through import announce, each_of, tell

__all__ = [
    "BATCH_SIZE",
    "clear",
    "clear_finished",
    "collections_by_key",
    "delete",
    "discard",
    "files_first",
    "in_batches",
    "purge",
]

#: Rows that are deleted in one transaction, at the most.
BATCH_SIZE: Final = 500


def clear(user_id: Any, *, download_key: uuid.UUID | None = None, filepath: str = "") -> bool:
    """Remove one of a user's own downloads, running or not.

    A run that is still writing finds its row gone and stops. Where a transaction
    of somebody else's has locked the row (or an SQLite) for longer than a person
    waits, the download is marked instead: it leaves the list at once, and goes
    with the end of its run or, without one, with the next clean-up after it expires.

    Args:
        user_id: The user who asks.
        download_key: Which download.
        filepath: Which download, by the path on its row. It is only compared,
            never acted on.

    Returns:
        Whether there was such a download; False both for what does not exist
        and for what is somebody else's.

    Raises:
        DatabaseFault: It is locked, and there is no cache that all processes share.
    """
    if "\0" in filepath:
        # PostgreSQL takes no NUL, not even to compare with.
        return False
    which = Q(pk=download_key) if download_key is not None else Q(filepath=filepath)
    return _purge_or_mark(downloads().for_user(user_id).filter(which)) > 0


def clear_finished(user_id: Any) -> int:
    """Remove a user's own downloads that are complete or have failed; returns how many.

    What is locked is marked, as by ``clear``.

    Raises:
        DatabaseFault: It is locked, and there is no cache that all processes share.
    """
    return _purge_or_mark(downloads().for_user(user_id).finished())


def _purge_or_mark(rows: DownloadQuerySet) -> int:
    """Delete rows, or mark them as cleared where somebody has them locked; return how many."""
    try:
        with impatient():
            return purge(rows)
    except DatabaseFault:
        locked = list(rows.select_related("collection__user"))
        if not all(entries.mark_cleared(download.download_key) for download in locked):
            raise
        for collection in {download.collection for download in locked}:
            announce(collection, "removed")
        return len(locked)


def purge(queryset: DownloadQuerySet) -> int:
    """Delete downloads in batches, each with its file after the batch has committed.

    Returns:
        The number of downloads that this call deleted.
    """
    return sum(delete(downloads().filter(pk__in=batch)) for batch in in_batches(queryset))


def in_batches(queryset: DownloadQuerySet) -> Iterator[list[uuid.UUID]]:
    """Yield the keys of downloads, at most ``BATCH_SIZE`` at a time, whatever becomes of them."""
    keys = queryset.using(database()).order_by("pk").values_list("pk", flat=True)
    batch = list(keys[:BATCH_SIZE])
    while batch:
        yield batch
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH_SIZE])


def collections_by_key(collection_key: str) -> list[DownloadCollection]:
    """Return the collections that go by a collection key.

    A text can have the same key as the user whose primary key it spells.
    """
    return list(DownloadCollection.objects.using(database()).filter(key=collection_key))


def delete(queryset: DownloadQuerySet) -> int:
    """Delete rows in one transaction, tell their owners' pages, and return how many there were."""
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


_files_first: ContextVar[bool] = ContextVar("files_first", default=False)


@contextmanager
def files_first() -> Iterator[None]:
    """Delete files before the rows' deletion commits, inside this context.

    For rows that nobody can see any more. A process that is killed half-way then
    leaves rows without files, which the next clean-up finds, and never a file
    without a row, which it does not.
    """
    token = _files_first.set(True)
    try:
        yield
    finally:
        _files_first.reset(token)


def discard(download: Download, *, using: str) -> None:
    """Remove the file and the entry of a row that was deleted, once that is committed.

    Args:
        download: The deleted row.
        using: The database that it was deleted from.
    """
    key, path = download.download_key, download.filepath
    expired = _files_first.get()
    change = "expired" if expired else "cancelled" if download.unfinished else "cleared"
    # The caller forgets the primary key of what it deletes.
    gone = copy(download)

    def remove_file() -> None:
        files.sweep(path, download_key=key)

    def remove_entry() -> None:
        entries.delete_entry(key)
        if gone.unfinished:
            entries.note_cancelled(key)

    if expired:
        remove_file()
    steps = (*(() if expired else (remove_file,)), remove_entry, lambda: tell(gone, change))
    after_commit(lambda: each_of(*steps), using=using)
