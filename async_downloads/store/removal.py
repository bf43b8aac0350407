"""Remove downloads: their owner clears them, or staff purge them.

However a row is deleted, its file goes with it: ``discard`` is called for
each deleted row, those of a cascade included.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from async_downloads.files import storage
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from async_downloads.store.team_downloads import of_teams
from async_downloads.store.transactions import (
    DatabaseFault,
    after_commit,
    database,
    downloads,
    retry_on_deadlock,
    short_lock_timeout,
)
from async_downloads.store.write_through import publish_change, run_all, send_signal
from async_downloads.utils.error_text import storable
from async_downloads.utils.log import get_logger

__all__ = [
    "BATCH_SIZE",
    "HeldError",
    "clear",
    "clear_finished",
    "clear_of_teams",
    "collections_by_key",
    "delete",
    "discard",
    "files_first",
    "in_batches",
    "purge",
]

logger = get_logger(__name__)

#: Rows that are deleted in one transaction, at the most.
BATCH_SIZE: Final = 500

#: Seconds for which a request that clears finished downloads deletes files, and the number of
#: files in its first batch.
CLEAR_SECONDS: Final = 0.3
FIRST_CLEARED: Final = 8


class HeldError(Exception):
    """Staff hold a download, so it cannot be cleared."""


def clear(user_id: Any, *, download_key: uuid.UUID | None = None, filepath: str = "") -> bool:
    """Remove one of a user's own downloads, running or not.

    An attempt that is still writing finds its row gone and stops. If another
    transaction has locked the row (or an SQLite) for longer than a person waits, the
    download is marked instead: it leaves the list at once, and is deleted at the end
    of its attempt or, without one, by the next clean-up after it expires; if it never
    does, by the next one.

    Args:
        user_id: The user who clears it.
        download_key: Which download.
        filepath: Which download, by the path on its row, which is only compared.

    Returns:
        Whether the user had such a download.

    Raises:
        DatabaseFault: It is locked, and the processes do not share a cache.
        HeldError: Staff hold it.
    """
    return _clear(downloads().for_user(user_id), download_key, filepath)


def clear_of_teams(
    owner: Owner, *, download_key: uuid.UUID | None = None, filepath: str = ""
) -> bool:
    """Remove a download of the owner's teams as ``clear`` does; return whether there was one.

    Args:
        owner: The owner, with their teams.
        download_key: Which download.
        filepath: Which download, by the path on its row.

    Raises:
        DatabaseFault: It is locked, and the processes do not share a cache.
        HeldError: Staff hold it.
        PermissionDenied: There is one, and the owner may only fetch it.
    """
    if not owner.teams:
        return False
    rows = of_teams(owner)
    if owner.may_change_teams:
        return _clear(rows, download_key, filepath)
    if _named(rows.active(), download_key, filepath).exists():
        raise PermissionDenied
    return False


def _clear(rows: DownloadQuerySet, download_key: uuid.UUID | None, filepath: str) -> bool:
    named = _named(rows.removable(), download_key, filepath)
    try:
        with short_lock_timeout():
            # Not repeated after a deadlock, as a person waits.
            cleared = sum(map(_delete_removable, in_batches(named))) > 0
    except DatabaseFault as fault:
        cleared = _mark(named, fault) > 0
    if not cleared and _named(rows.held_back(), download_key, filepath).exists():
        raise HeldError
    return cleared


def _named(
    rows: DownloadQuerySet, download_key: uuid.UUID | None, filepath: str
) -> DownloadQuerySet:
    """Return those of some downloads that a request names, by its key or its path."""
    keys = [download_key] if download_key is not None else _keys_by_path(rows, filepath)
    return rows.filter(pk__in=keys)


def _keys_by_path(rows: DownloadQuerySet, filepath: str) -> list[uuid.UUID]:
    """Return the keys of downloads with exactly this path, whatever a collation takes for equal.

    A text that a database cannot compare is the path of none.
    """
    if storable(filepath) != filepath:
        return []
    paths = dict(rows.filter(filepath=filepath).values_list("pk", "filepath"))
    return [pk for pk, path in paths.items() if path == filepath]


def clear_finished(user_id: Any, until: datetime | None = None) -> int:
    """Remove a user's own downloads that are complete or have failed, and return how many.

    They leave the list with one statement, however many they are. Their rows and
    files are then deleted for ``CLEAR_SECONDS``; the next clean-up deletes the others.
    If rows are locked, they are marked, as by ``clear``.

    Args:
        user_id: The primary key of the user.
        until: When the last one finished that the user has seen; later ones stay. None for all.

    Raises:
        DatabaseFault: They are locked, and the processes do not share a cache.
    """
    finished = downloads().for_user(user_id).finished().removable()
    if until is not None:
        finished = finished.filter(heard_at__lte=until)
    # The clock of another machine may be behind.
    moment = timezone.now() - cache_entries.CLOCK_DIFFERENCE
    try:
        with short_lock_timeout():
            cleared = finished.active().retire(moment)
    except DatabaseFault as fault:
        return _mark(finished, fault)
    if cleared:
        for collection in DownloadCollection.objects.using(database()).filter(user_id=user_id):
            publish_change(collection, "removed")
        _purge_for_a_while(finished.expired())
    return cleared


def _purge_for_a_while(rows: DownloadQuerySet) -> None:
    """Delete rows and files until ``CLEAR_SECONDS`` are over.

    The batches grow, so that the last one takes about as long as all before it,
    whether a file is deleted in a hundred microseconds or in a tenth of a second.
    """
    deadline, size = time.monotonic() + CLEAR_SECONDS, FIRST_CLEARED
    keys = rows.order_by("pk").values_list("pk", flat=True)
    while time.monotonic() < deadline and (batch := list(keys[:size])):
        try:
            with short_lock_timeout():
                # Without the join that selects those of the user: all tables are locked.
                delete(downloads().filter(pk__in=batch).expired())
        except DatabaseFault:
            logger.info("Cleared downloads are left to the next clean-up", exc_info=True)
            return
        size = min(size * 2, BATCH_SIZE)


def _mark(rows: DownloadQuerySet, fault: DatabaseFault) -> int:
    """Mark rows as cleared that are locked, and return how many.

    Those that staff hold by then, which may be what has locked them, are not marked.

    Raises:
        DatabaseFault: The given one, if other processes could not see the marks.
    """
    marked = dict(rows.values_list("pk", "collection_id"))
    if not cache_entries.mark_cleared(str(pk) for pk in marked):
        raise fault
    # Either this sees the hold, or the hold removes the mark.
    held = downloads().held_back().filter(pk__in=list(marked)).values_list("pk", flat=True)
    for key in held:
        cache_entries.unmark([str(key)])
        del marked[key]
    collections = DownloadCollection.objects.using(database())
    for collection in collections.filter(pk__in=set(marked.values())):
        publish_change(collection, "removed")
    return len(marked)


def purge(queryset: DownloadQuerySet) -> int:
    """Delete downloads in batches, each with its file after the batch has committed.

    Those that staff hold stay.

    Returns:
        The number of downloads that this call deleted.
    """
    batches = in_batches(queryset.removable())
    return sum(retry_on_deadlock(partial(_delete_removable, batch)) for batch in batches)


def _delete_removable(batch: list[uuid.UUID]) -> int:
    return delete(downloads().filter(pk__in=batch).removable())


def in_batches(queryset: QuerySet[Any]) -> Iterator[list[uuid.UUID]]:
    """Yield primary keys, at most ``BATCH_SIZE`` at a time, even if their rows are deleted."""
    keys = queryset.using(database()).order_by("pk").values_list("pk", flat=True)
    batch = list(keys[:BATCH_SIZE])
    while batch:
        yield batch
        batch = list(keys.filter(pk__gt=batch[-1])[:BATCH_SIZE])


def collections_by_key(collection_key: str) -> list[DownloadCollection]:
    """Return the collections with this collection key.

    A text can have the same key as the user whose primary key it spells.
    """
    collections = DownloadCollection.objects.using(database())
    # A collation may take another key for this one.
    return [each for each in collections.filter(key=collection_key) if each.key == collection_key]


def delete(queryset: DownloadQuerySet) -> int:
    """Delete rows in one transaction, publish the change, and return how many there were."""
    with transaction.atomic(using=database()):
        # Django reads rows before it deletes them, and staff may begin to hold one in between.
        locked = dict(queryset.select_for_update().values_list("pk", "collection_id"))
        collections = list(
            DownloadCollection.objects.using(database()).filter(pk__in=set(locked.values()))
        )
        rows = downloads().filter(pk__in=locked)
        removed = rows.delete()[1].get(Download._meta.label, 0)

        def publish() -> None:
            for collection in collections:
                publish_change(collection, "removed")

        if removed:
            after_commit(publish)
    return removed


_files_first: ContextVar[bool] = ContextVar("files_first", default=False)


@contextmanager
def files_first() -> Iterator[None]:
    """Delete files before the deletion of their rows commits, inside this context.

    For rows that no list shows. A process that is killed half-way then leaves rows
    without files, which the next clean-up finds, and never a file without a row,
    which it does not.
    """
    token = _files_first.set(True)
    try:
        yield
    finally:
        _files_first.reset(token)


def discard(download: Download, *, using: str) -> None:
    """Remove the file and the cache entry of a deleted row, once the deletion is committed."""
    key, path = download.download_key, download.filepath
    expired = _files_first.get()
    change = "expired" if expired else "cancelled" if download.unfinished else "cleared"
    # Django resets the primary key of a deleted instance.
    deleted = copy(download)

    def remove_file() -> None:
        storage.sweep(path, download_key=key)

    def remove_entry() -> None:
        cache_entries.delete_entry(key)
        if deleted.unfinished:
            cache_entries.mark_cancelled(key)

    steps: list[Callable[[], object]] = [remove_entry, lambda: send_signal(deleted, change)]
    if expired:
        remove_file()
    else:
        steps.insert(0, remove_file)
    after_commit(lambda: run_all(*steps), using=using)
