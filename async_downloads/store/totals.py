"""How many downloads there are, and how large they are together."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Case, CharField, Count, F, Q, QuerySet, Sum, Value, When

from async_downloads.models import DownloadQuerySet, DownloadState
from async_downloads.models.conditions import UNFINISHED
from async_downloads.models.timing import stalled_before

__all__ = ["STALLED", "Total", "total_by_condition"]

#: What is shown of unfinished downloads of which nothing was heard for long.
STALLED: Final = "stalled"

#: The order in which staff read them: what needs them first.
ORDER: Final = (
    STALLED,
    DownloadState.FAILED,
    DownloadState.RUNNING,
    DownloadState.PENDING,
    DownloadState.COMPLETE,
)


@dataclass(frozen=True, slots=True)
class Total:
    """How many downloads of a kind there are.

    Attributes:
        condition: A state, or ``STALLED``.
        count: How many.
        size: Bytes of their files, as far as the rows know.
    """

    condition: str
    count: int
    size: int


def total_by_condition(queryset: DownloadQuerySet) -> list[Total]:
    """Count downloads by their state, the stalled ones apart, in one query."""
    silent = Q(state__in=UNFINISHED, heard_at__lt=stalled_before())
    condition = Case(
        When(silent, then=Value(STALLED)), default=F("state"), output_field=CharField()
    )
    plain: QuerySet[Any, Any] = queryset.select_related(None).order_by()
    rows: Iterable[dict[str, Any]] = (
        plain.annotate(condition=condition)
        .values("condition")
        .annotate(count=Count("pk"), bytes=Sum("size"))
    )
    found = {
        row["condition"]: Total(row["condition"], row["count"], int(row["bytes"] or 0))
        for row in rows
    }
    return [found[name] for name in ORDER if name in found]
