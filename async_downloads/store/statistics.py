"""Count downloads by their condition, and report problems that need an operator."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Case, CharField, Count, F, Min, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from async_downloads.models import DownloadQuerySet, DownloadState
from async_downloads.models.conditions import STALLED, has_expired, has_stalled
from async_downloads.store.cleanup import last_cleanup
from async_downloads.store.listing import with_live_progress
from async_downloads.store.transactions import downloads

__all__ = ["STALLED", "Status", "Tolerance", "Total", "read_status", "total_by_condition"]

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
        oldest_pending: When the one that has waited longest for a worker was requested.
        expired: The total of the expired downloads that are still there.
        oldest_expired: When the first of these expired.
        last_cleanup: When a clean-up last finished, if the cache knows.
        read_at: When the rows were read.
    """

    states: dict[str, Total]
    failed: int
    stalled: int
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
    waiting = Q(state=DownloadState.PENDING, started_at__isnull=True)
    # Without a worker, one that waits has not stalled: it only waits for long.
    stalled = has_stalled() & ~waiting
    rows: Any = downloads().order_by().values("state")  # an order would be grouped by as well
    groups: list[dict[str, Any]] = list(
        rows.annotate(
            count=Count("*"),
            bytes=Sum("size", default=0),
            stalled=Count("pk", filter=stalled),
            oldest_waiting=Min("timestamp", filter=waiting & Q(percentage=0)),
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
    return Status(
        states=states,
        failed=failed,
        stalled=_count_stalled(stalled, sum(group["stalled"] for group in groups)),
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


def _count_stalled(stalled: Q, count: int) -> int:
    """Return how many have stalled, less those with a heartbeat or a deletion in the cache."""
    if not count:
        return 0
    rows = list(downloads().filter(stalled).defer("error_detail", "errors")[:MAX_LOOKED_UP])
    looked_up = len(rows)
    return count - looked_up + sum(row.stalled for row in with_live_progress(rows))


def _first(groups: list[dict[str, Any]], name: str) -> datetime | None:
    return min((group[name] for group in groups if group[name] is not None), default=None)
