"""Count downloads by their condition, and report problems that need an operator."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Case, CharField, Count, F, Min, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from async_downloads.models import DownloadQuerySet, DownloadState
from async_downloads.models.conditions import (
    STALLED,
    has_expired,
    has_stalled,
    is_stuck,
    is_waiting,
)
from async_downloads.store.cleanup import last_cleanup
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.transactions import downloads

__all__ = [
    "STALLED",
    "Backlog",
    "Status",
    "Tolerance",
    "Total",
    "read_backlog",
    "read_status",
    "total_by_condition",
]

#: The order in which staff read the totals: first those that need them.
ORDER: Final = (
    STALLED,
    DownloadState.FAILED,
    DownloadState.RUNNING,
    DownloadState.PENDING,
    DownloadState.COMPLETE,
)

#: The most rows whose heartbeat in the cache is read before they are reported as stalled.
MAX_LOOKED_UP: Final = 500


@dataclass(frozen=True, slots=True)
class Total:
    """The number of downloads in one condition.

    Attributes:
        condition: A state, ``"stalled"`` or ``"expired"``.
        count: How many there are.
        size: Bytes of their files, as far as the rows know.
    """

    condition: str
    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The limits above which a problem is reported.

    Attributes:
        stalled: The number of downloads whose worker stopped responding.
        pending: How long one may have waited for a worker.
        expired: How long ago one may have expired and still be there.
        failed: The number of failed downloads that have not expired; None for any number.
    """

    stalled: int = 0
    pending: timedelta = timedelta(minutes=15)
    expired: timedelta = timedelta(hours=25)
    failed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of all downloads at one moment.

    Attributes:
        states: A total for each state, with the expired downloads.
        failed: The number of failed downloads that have not expired.
        stalled: The number of downloads whose worker stopped responding.
        stuck: The number of downloads whose worker is alive, and whose work does not move.
        oldest_pending: When the one that has waited longest for a worker was requested.
        expired: The total of the expired downloads that are still there.
        oldest_expired: When the first of these expired.
        last_cleanup: When a clean-up last finished, if the cache knows.
        read_at: When the rows were read.
    """

    states: dict[str, Total]
    failed: int
    stalled: int
    stuck: int
    oldest_pending: datetime | None
    expired: Total
    oldest_expired: datetime | None
    last_cleanup: datetime | None
    read_at: datetime

    def problems(self, tolerance: Tolerance) -> dict[str, str]:
        """Return the problems by short names, each with a text that says where to look."""
        problems = {}
        if self.stalled > tolerance.stalled:
            problems["stalled"] = f"{self.stalled} stalled: their workers stopped responding."
        if self._is_over(self.oldest_pending, tolerance.pending):
            problems["pending"] = "No worker picks up the waiting downloads: does a worker run?"
        if self._is_over(self.oldest_expired, tolerance.expired):
            problems["cleanup"] = "Expired downloads are not removed: does the clean-up run?"
        if tolerance.failed is not None and self.failed > tolerance.failed:
            problems["failed"] = f"{self.failed} failed: the admin and the log say why."
        return problems

    def _is_over(self, since: datetime | None, limit: timedelta) -> bool:
        return since is not None and self.read_at - since > limit


@dataclass(frozen=True, slots=True)
class Backlog:
    """The unfinished downloads at one moment.

    Attributes:
        waiting: The number of downloads that wait for a worker or for another attempt.
        running: The number of downloads with a worker that gives heartbeats.
        stalled: The number of downloads whose worker stopped responding.
        seconds_waiting: How long ago the one that has waited longest for a worker was requested;
            0 if none waits.
    """

    waiting: int
    running: int
    stalled: int
    seconds_waiting: float

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of downloads, by their condition."""
        return {"waiting": self.waiting, "running": self.running, STALLED: self.stalled}


def total_by_condition(queryset: DownloadQuerySet) -> list[Total]:
    """Count downloads by their state, with the stalled ones apart, in one query."""
    condition = Case(
        When(has_stalled(), then=Value(STALLED)), default=F("state"), output_field=CharField()
    )
    plain: QuerySet[Any, Any] = queryset.select_related(None).order_by()
    rows: Any = (
        plain.annotate(condition=condition)
        .values("condition")
        .annotate(count=Count("pk"), bytes=Sum("size", default=0))
    )
    totals = {
        row["condition"]: Total(row["condition"], row["count"], int(row["bytes"])) for row in rows
    }
    return [totals[name] for name in ORDER if name in totals]


def read_status() -> Status:
    """Read the state of all downloads.

    It takes one query. If something looks stalled, it takes one more, and a read of
    the cache, because an export inside a caller's transaction gives its heartbeats there.
    """
    now = timezone.now()
    expired = has_expired(now)
    stalled = _has_stalled_with_worker()
    rows: Any = downloads().order_by().values("state")  # an order would be grouped by as well
    groups: list[dict[str, Any]] = list(
        rows.annotate(
            count=Count("*"),
            bytes=Sum("size", default=0),
            stalled=Count("pk", filter=stalled),
            stuck=Count("pk", filter=is_stuck()),
            oldest_waiting=Min("timestamp", filter=is_waiting()),
            expired=Count("pk", filter=expired),
            expired_bytes=Sum("size", filter=expired, default=0),
            oldest_expired=Min("expires_at", filter=expired),
        )
    )
    states = {state: Total(state) for state in DownloadState.values}
    failed = 0
    for group in groups:
        state = group["state"]
        states[state] = Total(state, group["count"], int(group["bytes"]))
        if state == DownloadState.FAILED:
            failed = group["count"] - group["expired"]
    stalled_number, stuck_number = _look_up(stalled, sum(group["stalled"] for group in groups))
    return Status(
        states=states,
        failed=failed,
        stalled=stalled_number,
        stuck=stuck_number + sum(group["stuck"] for group in groups),
        oldest_pending=_first(groups, "oldest_waiting"),
        expired=Total(
            "expired",
            sum(group["expired"] for group in groups),
            sum(int(group["expired_bytes"]) for group in groups),
        ),
        oldest_expired=_first(groups, "oldest_expired"),
        last_cleanup=last_cleanup(),
        read_at=now,
    )


def read_backlog() -> Backlog:
    """Read how many downloads are unfinished.

    It takes one query, of unfinished rows alone. If something looks stalled, it takes one more,
    and a read of the cache, as with ``read_status``.
    """
    now = timezone.now()
    stalled = _has_stalled_with_worker()
    numbers = (
        downloads()
        .unfinished()
        .aggregate(
            running=Count("pk", filter=Q(state=DownloadState.RUNNING)),
            pending=Count("pk", filter=Q(state=DownloadState.PENDING)),
            running_stalled=Count("pk", filter=stalled & Q(state=DownloadState.RUNNING)),
            pending_stalled=Count("pk", filter=stalled & Q(state=DownloadState.PENDING)),
            oldest=Min("timestamp", filter=is_waiting()),
        )
    )
    look_stalled = numbers["running_stalled"] + numbers["pending_stalled"]
    stalled_number, _ = _look_up(stalled, look_stalled)
    oldest = numbers["oldest"]
    return Backlog(
        waiting=numbers["pending"] - numbers["pending_stalled"],
        # The cache has the heartbeats of the others.
        running=numbers["running"] + numbers["pending_stalled"] - stalled_number,
        stalled=stalled_number,
        seconds_waiting=0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0),
    )


def _has_stalled_with_worker() -> Q:
    # Without a worker, one that waits has not stalled: it only waits for long.
    return has_stalled() & ~Q(state=DownloadState.PENDING, started_at__isnull=True)


def _look_up(stalled: Q, count: int) -> tuple[int, int]:
    """Return how many of the stalled rows have stalled indeed, and how many are stuck instead.

    The cache may have a later heartbeat, or a deletion.
    """
    if not count:
        return 0, 0
    matching = downloads().filter(stalled).with_database_clock().without_long_columns()
    rows = list(matching.defer("errors")[:MAX_LOOKED_UP])
    unseen = count - len(rows)
    rows = with_live_progress(rows)
    return unseen + sum(row.stalled for row in rows), sum(row.stuck for row in rows)


def _first(groups: list[dict[str, Any]], name: str) -> datetime | None:
    return min((group[name] for group in groups if group[name] is not None), default=None)
