"""The limit on the downloads that one owner has in progress."""

import uuid
from collections import Counter
from collections.abc import Collection

from django.utils.translation import ngettext

from async_downloads import settings
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.models import Download, DownloadState
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.transactions import downloads, has_snapshot, on_separate_connection

__all__ = ["at_active_limit", "check_active_limit"]


def check_active_limit(collection_id: uuid.UUID, *, besides: uuid.UUID | None = None) -> None:
    """Raise if the owner has as many downloads in progress as allowed.

    A pending download counts until it is overdue, a running one until it stalls: its worker
    may never come back.

    Args:
        collection_id: The collection, locked or inserted by this transaction.
        besides: A download that does not count.

    Raises:
        TooManyDownloadsError: ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads are in progress.
    """
    limit: int | None = settings.MAX_ACTIVE
    if limit is None or not at_active_limit([collection_id], besides=besides):
        return
    raise TooManyDownloadsError(
        ngettext(
            "You have %(count)s download in progress. Wait until it has finished, or cancel it.",
            "You have %(count)s downloads in progress. Wait until one has finished, or cancel one.",
            limit,
        )
        % {"count": limit}
    )


def at_active_limit(
    collection_ids: Collection[uuid.UUID], *, besides: uuid.UUID | None = None
) -> set[uuid.UUID]:
    """Return those of some collections that have as many downloads in progress as allowed.

    Args:
        collection_ids: The collections, locked or inserted by this transaction.
        besides: A download that does not count.
    """
    limit: int | None = settings.MAX_ACTIVE
    if limit is None:
        return set()
    rows = downloads().filter(collection__in=collection_ids).unfinished()
    if besides is not None:
        rows = rows.exclude(pk=besides)
    rows = rows.without_long_columns().with_database_clock()
    unfinished = {row.pk: row for row in rows}
    if has_snapshot():
        # The snapshot may be from before the lock on the collection.
        unfinished |= {row.pk: row for row in on_separate_connection(lambda: list(rows.all()))}
    # The heartbeats of an attempt inside a caller's transaction are in the cache alone.
    current = filter(_is_active, with_live_progress(list(unfinished.values())))
    active = Counter(row.collection_id for row in current)
    return {pk for pk in collection_ids if active[pk] >= limit}


def _is_active(download: Download) -> bool:
    if download.state == DownloadState.PENDING:
        return not download.overdue
    return download.in_progress
