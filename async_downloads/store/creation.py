"""Create a download: the owner's collection, the limit on active downloads, the row."""

import uuid
from functools import partial
from typing import Any

from django.db import IntegrityError, OperationalError, connections, transaction
from django.utils.translation import ngettext

from async_downloads import settings
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.files.names import path_for
from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadCollectionQuerySet,
    DownloadState,
)
from async_downloads.models.texts import as_underscore, write_text
from async_downloads.models.timing import expiry
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from async_downloads.store.listing import with_live_progress
from async_downloads.store.transactions import (
    after_commit,
    database,
    downloads,
    retry_on_deadlock,
)
from async_downloads.store.write_through import (
    cache_entry_of,
    publish_change,
    run_all,
    send_signal,
)

__all__ = ["create", "get_or_create_collection"]


def create(owner: Owner, *, filename: str, name: str) -> Download:
    """Insert the row of a new download, and set its cache entry at once.

    The cache entry makes a worker wait for the row if it starts before the transaction
    around this call has committed.

    Args:
        owner: The owner of the download.
        filename: The name that the file is saved under.
        name: The name in the list.

    Raises:
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
    """
    # Two requests that insert one collection while it is being deleted can deadlock.
    download = retry_on_deadlock(partial(_create_row, owner, filename, name))
    run_all(lambda: cache_entries.set_entry(cache_entry_of(download, user=owner.name)))
    after_commit(
        lambda: run_all(
            lambda: publish_change(download.collection, "created", download.download_key),
            lambda: send_signal(download, "created"),
        )
    )
    return download


def get_or_create_collection(owner: Owner) -> DownloadCollection:
    """Return the owner's collection, which stays until the caller's transaction ends."""
    label = owner.name if owner.user_id is None else ""
    fields: dict[str, Any] = {"key": owner.collection_key, "user_id": owner.user_id, "label": label}
    collections = DownloadCollection.objects.using(database())
    collection = _lock_collection(collections, owner.collection_id)
    while collection is None:
        try:
            with transaction.atomic(using=database()):
                return _insert_collection(collections, pk=owner.collection_id, **fields)
        except IntegrityError:
            collection = _lock_collection(collections, owner.collection_id)
            if collection is None and not collections.filter(pk=owner.collection_id).exists():
                # Another request has not inserted it either: the owner is gone.
                raise
    if collection.key != owner.collection_key:
        # COLLECTION_KEY_FORMAT has changed; the key that init_download returns must lead here.
        collections.filter(pk=collection.pk).update(key=owner.collection_key)
        collection.key = owner.collection_key
    return collection


def _create_row(owner: Owner, filename: str, name: str) -> Download:
    try:
        insert = partial(_insert, owner)
        return write_text(insert, filename, name, using=database(), replacement=as_underscore)
    except IntegrityError as error:
        if not DownloadCollection.objects.using(database()).filter(pk=owner.collection_id).exists():
            raise
        # Under REPEATABLE READ, only a new transaction sees the collection of another request.
        raise OperationalError(
            "Another transaction has inserted the owner's collection."
        ) from error


def _insert(owner: Owner, filename: str, name: str) -> Download:
    download = Download(name=name, filename=filename)
    download.filepath = path_for(download.download_key, filename)
    with transaction.atomic(using=database()):
        download.collection = get_or_create_collection(owner)
        _check_active_limit(download.collection)
        download.expires_at = expiry()
        download.save(using=database(), force_insert=True)
    return download


def _lock_collection(
    collections: DownloadCollectionQuerySet, pk: uuid.UUID
) -> DownloadCollection | None:
    """Return a collection, locked against deletion until the transaction ends, or None.

    If active downloads are limited, the lock is exclusive: the next request of the same
    owner waits for it, and so counts every download that is already there.
    """
    if settings.MAX_ACTIVE is None:
        return collections.lock(pk)
    # PostgreSQL has an exclusive lock that does not block checks of foreign keys. SQLite
    # locks nothing here: its transaction has locked the database.
    no_key = connections[database()].features.has_select_for_no_key_update
    return collections.select_for_update(no_key=no_key).filter(pk=pk).first()


def _insert_collection(
    collections: DownloadCollectionQuerySet, **columns: Any
) -> DownloadCollection:
    """Insert a collection, and return it.

    Raises:
        IntegrityError: Another request has inserted it, or the owner is gone.
    """
    if settings.MAX_ACTIVE is None or connections[database()].vendor != "mysql":
        return collections.create(**columns)
    # A plain INSERT that meets an existing row leaves a shared lock on it. Several requests
    # with shared locks deadlock as soon as each wants the exclusive one.
    collection = DownloadCollection(**columns)
    collections.bulk_create([collection], update_conflicts=True, update_fields=["key"])
    return collection


def _check_active_limit(collection: DownloadCollection) -> None:
    """Raise if the owner has as many downloads in progress as allowed.

    A pending download counts until it is overdue, a running one until it stalls: its worker
    may never come back.

    Args:
        collection: Locked or inserted by this transaction.

    Raises:
        TooManyDownloadsError: ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads are in progress.
    """
    limit: int | None = settings.MAX_ACTIVE
    if limit is None:
        return
    rows = downloads().filter(collection=collection).unfinished()
    # The heartbeats of an attempt inside a caller's transaction are in the cache alone.
    if sum(map(_is_active, with_live_progress(list(rows.defer("error_detail"))))) < limit:
        return
    raise TooManyDownloadsError(
        ngettext(
            "You have %(count)s download in progress. Wait until it has finished, or cancel it.",
            "You have %(count)s downloads in progress. Wait until one has finished, or cancel one.",
            limit,
        )
        % {"count": limit}
    )


def _is_active(download: Download) -> bool:
    if download.state == DownloadState.PENDING:
        return not download.overdue
    return download.in_progress
