"""How many downloads an owner may have in progress at once."""

import uuid
from typing import Any

from django.db import connections
from django.utils.translation import ngettext

from async_downloads import settings
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadCollectionQuerySet,
    DownloadState,
)
from async_downloads.store.listing import with_live_progress
from async_downloads.store.transactions import database, downloads

__all__ = ["check_active_limit", "insert_collection", "lock_collection"]


def lock_collection(
    collections: DownloadCollectionQuerySet, pk: uuid.UUID
) -> DownloadCollection | None:
    """Return a collection that stays until the transaction ends, or None.

    Where downloads in progress are limited, no other start for the same owner gets
    past here before the transaction has ended, so that each counts what is there.
    """
    if settings.MAX_ACTIVE is None:
        return collections.lock(pk)
    # Where it can be told apart, a lock that lets a foreign key be checked. An SQLite has
    # only the one lock of its transaction.
    no_key = connections[database()].features.has_select_for_no_key_update
    return collections.select_for_update(no_key=no_key).filter(pk=pk).first()


def insert_collection(
    collections: DownloadCollectionQuerySet, **columns: Any
) -> DownloadCollection:
    """Insert a collection, and return it.

    Raises:
        IntegrityError: Somebody else was faster; or the owner is gone.
    """
    if settings.MAX_ACTIVE is None or connections[database()].vendor != "mysql":
        return collections.create(**columns)
    # There, all who were slower would be left with a shared lock on the row, and could only
    # fail when each of them asks for the one that nobody shares.
    collection = DownloadCollection(**columns)
    collections.bulk_create([collection], update_conflicts=True, update_fields=["key"])
    return collection


def check_active_limit(collection: DownloadCollection) -> None:
    """Let one more download of a collection begin, or not.

    A download counts while it waits for a worker, for however long, and while a run is
    alive. One whose run has stalled does not, as its worker may never come back; nor one
    that is overdue, which fails as soon as it is read.

    Args:
        collection: As ``hold`` has returned it, or made in the same transaction.

    Raises:
        TooManyDownloadsError: ``ASYNC_DOWNLOADS_MAX_ACTIVE`` of them are in progress.
    """
    most: int | None = settings.MAX_ACTIVE
    if most is None:
        return
    rows = downloads().filter(collection=collection).unfinished()
    # A run inside a caller's transaction gives its heartbeats in the entry alone.
    if sum(map(_counts, with_live_progress(list(rows.defer("error_detail"))))) < most:
        return
    raise TooManyDownloadsError(
        ngettext(
            "You have %(count)s download in progress. Wait until it has finished, or cancel it.",
            "You have %(count)s downloads in progress. Wait until one has finished, or cancel one.",
            most,
        )
        % {"count": most}
    )


def _counts(row: Download) -> bool:
    return row.in_progress or (row.state == DownloadState.PENDING and not row.overdue)
