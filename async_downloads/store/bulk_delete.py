"""Delete downloads by owner, by state or by the time of their request, for a command."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from django.db.models import Count, Sum

from async_downloads.models import Download, DownloadCollection, DownloadQuerySet, DownloadState
from async_downloads.models.conditions import STALLED
from async_downloads.owners import Owner, resolve
from async_downloads.store.cleanup import Cleanup, Pace, delete_empty, delete_locked
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.transactions import database, downloads, retry_on_deadlock

__all__ = [
    "SELECTABLE",
    "Selection",
    "Survey",
    "collections_of",
    "remove_selected",
    "survey",
]

EXPIRED: Final = "expired"

#: The states of a row, and the conditions that follow from its times.
SELECTABLE: Final = (*DownloadState.values, STALLED, EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The conditions of the downloads to delete; each one that is given must hold.

    Attributes:
        requested_from: Requested then or later.
        requested_before: Requested before then.
        collections: Primary keys of their collections; None for any.
        states: Their states, of ``SELECTABLE``; empty for any.
    """

    requested_from: datetime | None = None
    requested_before: datetime | None = None
    collections: tuple[uuid.UUID, ...] | None = None
    states: frozenset[str] = frozenset()

    def rows(self) -> DownloadQuerySet:
        """Return the rows that match now, without those that staff hold."""
        return self._matching().removable()

    def held(self) -> DownloadQuerySet:
        """Return the rows that match now, and stay because staff hold them."""
        return self._matching().held_back()

    def _matching(self) -> DownloadQuerySet:
        rows = downloads()
        if self.states:
            rows = rows.filter(state__in=self.states)
            if STALLED in self.states:
                rows |= downloads().stalled()
            if EXPIRED in self.states:
                rows |= downloads().expired()
        if self.collections is not None:
            rows = rows.filter(collection_id__in=self.collections)
        if self.requested_from is not None:
            rows = rows.filter(timestamp__gte=self.requested_from)
        if self.requested_before is not None:
            rows = rows.filter(timestamp__lt=self.requested_before)
        return rows

    def alive(self, rows: list[Download]) -> set[uuid.UUID]:
        """Return the keys of rows that only look stalled.

        An export inside a caller's transaction gives its heartbeats in the cache alone.
        """
        doubtful = [
            row for row in rows if self.states and row.unfinished and row.state not in self.states
        ]
        return {row.pk for row in with_live_progress(doubtful) if not row.stalled}


@dataclass(frozen=True, slots=True)
class Survey:
    """The numbers of a selection, for a confirmation.

    Attributes:
        downloads: Rows.
        size: Bytes of their files, as far as the rows know.
        active: How many of the rows have not expired.
        in_progress: How many are unfinished and have not stalled.
        held: How many more match, and stay because staff hold them.
    """

    downloads: int
    size: int
    active: int
    in_progress: int
    held: int = 0


def collections_of(name: str) -> tuple[uuid.UUID, ...]:
    """Return the collections of the user with this name, and of the text itself.

    Raises:
        LookupError: No user has this name, and no download belongs to this text.
        ValueError: The text cannot be a name.
    """
    owner = resolve(name)
    keys = {owner.collection_id, Owner(None, name).collection_id}
    collections = DownloadCollection.objects.using(database())
    existing = tuple(collections.filter(pk__in=keys).values_list("pk", flat=True))
    if owner.user_id is None and not existing:
        raise LookupError(f"no user is called {name!r}, and no download belongs to this text.")
    return existing


def survey(selection: Selection) -> Survey:
    """Count the downloads of a selection."""
    rows = selection.rows()
    totals = rows.aggregate(downloads=Count("*"), size=Sum("size", default=0))
    return Survey(
        downloads=totals["downloads"],
        size=int(totals["size"]),
        active=rows.active().count(),
        in_progress=rows.in_progress().count(),
        held=selection.held().count(),
    )


def remove_selected(
    selection: Selection, *, after_each: Callable[[Cleanup], object] = lambda total: None
) -> Cleanup:
    """Delete the selected downloads with their files, whether they have expired or not.

    Downloads in progress are cancelled. Those that another transaction has locked, and
    those that no longer match when their turn comes, are left.

    Args:
        selection: Which downloads.
        after_each: Called after each batch with the total so far.
    """
    total, pace = Cleanup(), Pace()
    for batch in _batches(selection, pace):
        alive = selection.alive(batch)
        sizes = {row.pk: row.size or 0 for row in batch if row.pk not in alive}
        with pace:
            deleted = retry_on_deadlock(partial(_delete_selected, selection, sizes))
        total.add(deleted, of=len(batch))
        after_each(total)
    total.collections = delete_empty()
    return total


def _delete_selected(selection: Selection, sizes: dict[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    return delete_locked(selection.rows(), sizes, expired=selection.states == {EXPIRED})


def _batches(selection: Selection, pace: Pace) -> Iterator[list[Download]]:
    """Yield the selected rows a batch at a time, each row once, even if batches are deleted."""
    last = uuid.UUID(int=0)
    while True:
        rows = selection.rows().filter(pk__gt=last).order_by("pk")
        batch = list(rows.without_long_columns().defer("errors")[: pace.rows])
        if not batch:
            return
        yield batch
        last = batch[-1].pk
