"""How things stand, for whoever watches over a site."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from async_downloads.models import DownloadState
from async_downloads.models.conditions import has_expired
from async_downloads.models.timing import stalled_before
from async_downloads.store.cleanup import last_cleanup
from async_downloads.store.listing import overlaid
from async_downloads.store.transactions import downloads

__all__ = ["Amount", "Status", "Tolerance", "read_status"]

#: Rows that are looked up in the cache, at the most, before they are called stalled.
MAX_LOOKED_UP: Final = 500


@dataclass(frozen=True, slots=True)
class Amount:
    """So many downloads, and the bytes of their files as far as the rows know."""

    downloads: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much of what goes wrong is put up with.

    Attributes:
        stalled: Downloads whose worker has fallen silent.
        pending: For how long one may have waited for a worker.
        expired: For how long one may have been expired and still be there.
        failed: Downloads that have failed and not expired yet; None for any number.
    """

    stalled: int = 0
    pending: timedelta = timedelta(minutes=15)
    expired: timedelta = timedelta(hours=25)
    failed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How things stand.

    Attributes:
        states: What there is in each state, expired or not.
        failed: Downloads that have failed and not expired yet.
        stalled: Downloads that a worker took up and has fallen silent on.
        oldest_pending: When the one was asked for that has waited longest for a worker.
        expired: What is there and has expired.
        oldest_expired: When the first of these expired.
        last_cleanup: When a clean-up last came to its end, if the cache knows.
        read_at: When all this was so.
    """

    states: dict[str, Amount]
    failed: int
    stalled: int
    oldest_pending: datetime | None
    expired: Amount
    oldest_expired: datetime | None
    last_cleanup: datetime | None
    read_at: datetime

    def problems(self, tolerance: Tolerance) -> dict[str, str]:
        """Return what is wrong, each by a short name with a text that says what to look at."""
        found = {}
        if self.stalled > tolerance.stalled:
            found["stalled"] = f"{self.stalled} stalled: a worker took them up and fell silent."
        if self._is_over(self.oldest_pending, tolerance.pending):
            found["pending"] = "Nothing picks up what is waiting: does a worker run?"
        if self._is_over(self.oldest_expired, tolerance.expired):
            found["cleanup"] = "What has expired is not removed: does the clean-up run?"
        if tolerance.failed is not None and self.failed > tolerance.failed:
            found["failed"] = f"{self.failed} failed: the admin and the log say why."
        return found

    def _is_over(self, since: datetime | None, tolerated: timedelta) -> bool:
        return since is not None and self.read_at - since > tolerated


def read_status() -> Status:
    """Read how things stand.

    It takes one query, and one more with a read of the cache where something
    looks stalled: an export inside a caller's transaction is heard there alone.
    """
    now = timezone.now()
    expired = has_expired(now)
    waiting = Q(state=DownloadState.PENDING, started_at__isnull=True, percentage=0)
    taken_up = Q(state=DownloadState.RUNNING) | Q(
        state=DownloadState.PENDING, started_at__isnull=False
    )
    silent = taken_up & Q(heard_at__lt=stalled_before())
    # No order of the model's, by which it would group as well.
    rows = downloads().order_by().values("state")
    found: Any = rows.annotate(
        count=Count("*"),
        bytes=Sum("size", default=0),
        silent=Count("pk", filter=silent),
        oldest_waiting=Min("timestamp", filter=waiting),
        gone=Count("pk", filter=expired),
        gone_bytes=Sum("size", filter=expired, default=0),
        oldest_gone=Min("expires_at", filter=expired),
    )
    groups: list[dict[str, Any]] = list(found)
    of_state = {group["state"]: group for group in groups}
    failed = of_state.get(DownloadState.FAILED, {"count": 0, "gone": 0})
    looks_stalled = sum(group["silent"] for group in groups)
    return Status(
        states={
            state: Amount(of_state[state]["count"], int(of_state[state]["bytes"]))
            if state in of_state
            else Amount()
            for state in DownloadState.values
        },
        failed=failed["count"] - failed["gone"],
        stalled=looks_stalled - _heard_of(silent) if looks_stalled else 0,
        oldest_pending=_first(groups, "oldest_waiting"),
        expired=Amount(
            sum(group["gone"] for group in groups),
            sum(int(group["gone_bytes"]) for group in groups),
        ),
        oldest_expired=_first(groups, "oldest_gone"),
        last_cleanup=last_cleanup(),
        read_at=now,
    )


def _heard_of(silent: Q) -> int:
    """Return how many of those that look stalled are none: heard, or cleared and locked."""
    rows = list(downloads().filter(silent).defer("error_detail", "errors")[:MAX_LOOKED_UP])
    looked_up = len(rows)
    return looked_up - sum(row.stalled for row in overlaid(rows))


def _first(groups: list[dict[str, Any]], name: str) -> datetime | None:
    return min((group[name] for group in groups if group[name] is not None), default=None)
