"""What somebody at a shell wants gone: by owner, by state, by when it was asked for."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from django.db.models import Count, Sum

from async_downloads.models import Download, DownloadCollection, DownloadQuerySet, DownloadState
from async_downloads.models.timing import stalled_before
from async_downloads.owners import Owner, resolve
from async_downloads.store.cleanup import Cleanup, Pace, delete_empty, delete_locked
from async_downloads.store.listing import overlaid
from async_downloads.store.transactions import database, downloads, persistently

__all__ = [
    "SELECTABLE",
    "Selection",
    "Survey",
    "collections_of",
    "remove_selected",
    "survey",
]

STALLED: Final = "stalled"
EXPIRED: Final = "expired"

#: The states of a row, and what is derived from its times.
SELECTABLE: Final = (*DownloadState.values, STALLED, EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which downloads; each condition that is given must hold.

    Attributes:
        asked_from: Asked for then or later.
        asked_before: Asked for before then.
        collections: Primary keys of the collections they are in; None for any.
        states: In one of these of ``SELECTABLE``; empty for any.
    """

    asked_from: datetime | None = None
    asked_before: datetime | None = None
    collections: tuple[uuid.UUID, ...] | None = None
    states: frozenset[str] = frozenset()

    def rows(self) -> DownloadQuerySet:
        """Return them, as things stand now."""
        rows = downloads()
        if self.states:
            rows = rows.filter(state__in=self.states)
            if STALLED in self.states:
                rows |= downloads().stalled()
            if EXPIRED in self.states:
                rows |= downloads().expired()
        if self.collections is not None:
            rows = rows.filter(collection_id__in=self.collections)
        if self.asked_from is not None:
            rows = rows.filter(timestamp__gte=self.asked_from)
        if self.asked_before is not None:
            rows = rows.filter(timestamp__lt=self.asked_before)
        return rows

    def alive(self, rows: list[Download]) -> set[uuid.UUID]:
        """Return those that only look stalled, as their writer is at work.

        An export inside a caller's transaction is heard through the cache alone.
        """
        doubtful = [
            row for row in rows if self.states and row.unfinished and row.state not in self.states
        ]
        return {row.pk for row in overlaid(doubtful) if not row.stalled}


@dataclass(frozen=True, slots=True)
class Survey:
    """What a selection comes to.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
        active: How many of the rows have not expired.
        in_progress: How many a worker is at, or may be soon.
    """

    downloads: int
    size: int
    active: int
    in_progress: int


def collections_of(name: str) -> tuple[uuid.UUID, ...]:
    """Return the collections of a user, by user name, and of the text that it is.

    Raises:
        LookupError: No user is called so, and no download belongs to such a text.
        ValueError: Nobody can be called so.
    """
    owner = resolve(name)
    keys = {owner.collection_id, Owner(None, name).collection_id}
    collections = DownloadCollection.objects.using(database())
    found = tuple(collections.filter(pk__in=keys).values_list("pk", flat=True))
    if owner.user_id is None and not found:
        raise LookupError(f"there is no user {name!r}, and no download belongs to such a text.")
    return found


def survey(selection: Selection) -> Survey:
    """Count what a selection comes to."""
    rows = selection.rows()
    found = rows.aggregate(downloads=Count("*"), size=Sum("size", default=0))
    progressing = rows.unfinished().filter(heard_at__gte=stalled_before())
    return Survey(
        downloads=found["downloads"],
        size=int(found["size"]),
        active=rows.active().count(),
        in_progress=progressing.count(),
    )


def remove_selected(
    selection: Selection, *, after_each: Callable[[Cleanup], object] = lambda total: None
) -> Cleanup:
    """Delete what is selected, file and all, whether it has expired or not.

    What a worker is at is cancelled. What somebody has locked, and what is no
    longer selected when its turn comes, is left.

    Args:
        selection: Which downloads.
        after_each: Called after each batch with what was done so far.
    """
    total, pace = Cleanup(), Pace()
    for batch in _batches(selection, pace):
        alive = selection.alive(batch)
        sizes = {row.pk: row.size or 0 for row in batch if row.pk not in alive}
        with pace:
            gone = persistently(partial(_delete_selected, selection, sizes))
        total.downloads += len(gone)
        total.size += sum(gone.values())
        total.left += len(batch) - len(gone)
        after_each(total)
    total.collections = delete_empty()
    return total


def _delete_selected(selection: Selection, sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    return delete_locked(selection.rows(), sizes, expired=selection.states == {EXPIRED})


def _batches(selection: Selection, pace: Pace) -> Iterator[list[Download]]:
    """Yield the selected rows a batch at a time, each row once, whatever becomes of the batches."""
    last = uuid.UUID(int=0)
    while True:
        rows = selection.rows().filter(pk__gt=last).order_by("pk")
        batch = list(rows.defer("error_detail", "errors")[: pace.rows])
        if not batch:
            return
        yield batch
        last = batch[-1].pk
