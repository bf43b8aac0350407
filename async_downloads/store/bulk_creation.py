"""Create downloads of many owners in few statements, such as the reports of a schedule.

One transaction locks or inserts the collections, finds the owners that get nothing, and inserts
the rows of all others. An owner whose collection is locked waits no longer than that.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models import Q

from async_downloads import owners, settings
from async_downloads.models import Download, DownloadState
from async_downloads.models.conditions import UNFINISHED
from async_downloads.models.texts import as_underscore, write_text
from async_downloads.store import cache_entries
from async_downloads.store.active_limit import at_active_limit
from async_downloads.store.collections import get_or_create_collections, remember
from async_downloads.store.creation import RequestedFile, is_same, new_row, with_calls
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.transactions import (
    after_commit,
    database,
    downloads,
    has_snapshot,
    on_separate_connection,
    retry_on_deadlock,
)
from async_downloads.store.write_through import cache_entry_of, publish_created, run_all

__all__ = ["Creation", "create_all"]


@dataclass(slots=True)
class Creation:
    """The outcome of a bulk creation.

    Attributes:
        created: The new downloads, with the files that they were created for.
        skipped: The owners that have the file already, or will.
        at_limit: The owners with ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        unknown: The owners that were deleted meanwhile.
    """

    created: list[tuple[Download, RequestedFile]] = field(default_factory=list)
    skipped: list[owners.Owner] = field(default_factory=list)
    at_limit: list[owners.Owner] = field(default_factory=list)
    unknown: list[owners.Owner] = field(default_factory=list)


def create_all(
    requests: Sequence[RequestedFile], *, unless_unfinished: bool, fresh_for: float
) -> Creation:
    """Insert the rows of new downloads, and set their cache entries at once.

    Args:
        requests: Files with the same names, task and lifetime, one for each owner, as many as
            fit into one query.
        unless_unfinished: Whether to skip the owners that have one which is unfinished, of the
            same call and file format. Of two calls at once, the second one skips.
        fresh_for: With ``unless_unfinished``, seconds for which a complete one will do, too.
    """
    if not requests:
        return Creation()
    filename, name = requests[0].filename, requests[0].name
    present, unknown = list(requests), list[owners.Owner]()

    def write() -> Creation:
        def insert(filename: str, name: str) -> Creation:
            with transaction.atomic(using=database()):
                return _insert(present, filename, name, unless_unfinished, fresh_for)

        return write_text(insert, filename, name, using=database(), replacement=as_underscore)

    while True:
        try:
            creation = retry_on_deadlock(write)
            break
        except IntegrityError:
            gone = owners.deleted(request.owner for request in present)
            if not gone:
                raise
            unknown += gone
            present = [request for request in present if request.owner not in gone]
    creation.unknown = unknown
    _publish(creation)
    return creation


def _insert(
    requests: Sequence[RequestedFile],
    filename: str,
    name: str,
    unless_unfinished: bool,
    fresh_for: float,
) -> Creation:
    creation = Creation()
    exclusive = unless_unfinished or settings.MAX_ACTIVE is not None
    collections = get_or_create_collections(
        (request.owner for request in requests), exclusive=exclusive
    )
    same = _collections_with_same(requests, fresh_for=fresh_for) if unless_unfinished else set()
    full = at_active_limit(collections)
    for request in requests:
        collection = collections[request.owner.collection_id]
        if collection.pk in same:
            creation.skipped.append(request.owner)
        elif collection.pk in full:
            creation.at_limit.append(request.owner)
        else:
            creation.created.append((new_row(collection, request, filename, name), request))
    downloads().bulk_create([download for download, _ in creation.created])
    return creation


def _collections_with_same(
    requests: Sequence[RequestedFile], *, fresh_for: float
) -> set[uuid.UUID]:
    """Return the collections with a download that builds, or has built, what is requested."""
    same = _read_same(requests, fresh_for=fresh_for)
    if has_snapshot():
        # The snapshot may be from before the lock on the collections.
        same |= on_separate_connection(lambda: _read_same(requests, fresh_for=fresh_for))
    return same


def _read_same(requests: Sequence[RequestedFile], *, fresh_for: float) -> set[uuid.UUID]:
    by_collection = {request.owner.collection_id: request for request in requests}
    rows = with_calls(requests, Q(state__in=UNFINISHED), fresh_for=fresh_for)
    return {
        row.collection_id
        for row in with_live_progress(list(rows))
        if is_same(row, by_collection[row.collection_id]) and _has_or_will_have_file(row)
    }


def _has_or_will_have_file(download: Download) -> bool:
    """Return whether a complete or unfinished download needs no other one.

    A pending one may wait in a long queue, and a stalled one may be rescued.
    """
    if download.complete:
        return True
    waits = download.state == DownloadState.PENDING or download.rescuable
    return download.in_progress or (waits and not download.overdue)


def _publish(creation: Creation) -> None:
    """Publish new rows: their cache entries at once, all else once they are committed."""
    created = creation.created
    if not created:
        return
    run_all(
        lambda: cache_entries.set_entries(
            (cache_entry_of(download, user=request.owner.name) for download, request in created),
            created[0][0].timeout,
        )
    )

    def make_visible() -> None:
        for _, request in created:
            remember(request.owner)
        publish_created([download for download, _ in created])

    after_commit(make_visible)
