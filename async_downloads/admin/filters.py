"""By what the list of downloads is narrowed; none reads the table to know its choices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_downloads.models import DownloadCollection
from async_downloads.owners import MAX_LABEL_LENGTH

__all__ = ["AgeFilter", "ConditionFilter", "OwnerFilter", "SizeFilter", "owned_by"]

MEGABYTE: Final = 1024**2

#: Owners whose keys are sent along in a query, at the most.
MANY_OWNERS: Final = 1000


def owned_by(text: str) -> Q:
    """Return the condition that a download's owner has this text in the name, or label.

    The owners are looked up first: where the database knows how few they are, it
    goes to their downloads rather than through all of them.
    """
    if len(text) > MAX_LABEL_LENGTH or "\0" in text:
        # No name is like that, and a database may refuse to look for it.
        return Q(collection__in=[])
    owners = DownloadCollection.objects.named_like(text).values_list("pk", flat=True)
    found = list(owners[: MANY_OWNERS + 1])
    if len(found) > MANY_OWNERS:
        return Q(collection__in=owners)
    return Q(collection__in=found)


class ConditionFilter(admin.SimpleListFilter):
    """What is derived from the time when one looks, rather than kept in a column."""

    title = _("condition")
    parameter_name = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the conditions."""
        return [("stalled", _("Stalled")), ("expired", _("Expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep what is in the chosen condition."""
        rows: Any = queryset
        conditions = {"stalled": rows.stalled, "expired": rows.expired}
        condition = conditions.get(self.value() or "")
        return None if condition is None else condition()


class AgeFilter(admin.SimpleListFilter):
    """How long ago it was asked for."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the ages."""
        return [
            ("hour", _("Less than an hour")),
            ("day", _("Less than a day")),
            ("week", _("Less than a week")),
            ("older", _("More than a week")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep what is of the chosen age."""
        now = timezone.now()
        week = now - timedelta(weeks=1)
        ages = {
            "hour": Q(timestamp__gt=now - timedelta(hours=1)),
            "day": Q(timestamp__gt=now - timedelta(days=1)),
            "week": Q(timestamp__gt=week),
            "older": Q(timestamp__lte=week),
        }
        chosen = ages.get(self.value() or "")
        return None if chosen is None else queryset.filter(chosen)


class SizeFilter(admin.SimpleListFilter):
    """How large the file is."""

    title = _("size")
    parameter_name = "size"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the sizes."""
        return [
            ("none", _("No file")),
            ("small", _("Up to 1 MB")),
            ("medium", _("1 MB to 100 MB")),
            ("large", _("More than 100 MB")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep what is of the chosen size."""
        large = 100 * MEGABYTE
        sizes = {
            "none": Q(size=None),
            "small": Q(size__lte=MEGABYTE),
            "medium": Q(size__gt=MEGABYTE, size__lte=large),
            "large": Q(size__gt=large),
        }
        chosen = sizes.get(self.value() or "")
        return None if chosen is None else queryset.filter(chosen)


class OwnerFilter(admin.SimpleListFilter):
    """Whose it is, by a part of the name: a site may have too many people to list them."""

    title = _("owner")
    parameter_name = "owner"
    template = "async_downloads/admin/owner_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Have the filter shown; what is typed takes the place of choices."""
        return [("", "")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep what belongs to somebody whose name, or label, has the text in it."""
        text = (self.value() or "").strip()
        if not text:
            return None
        return queryset.filter(owned_by(text))

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return what the form has to send along, and where to go without an owner."""
        kept = {
            name: values
            for name, values in changelist.filter_params.items()
            if name != self.parameter_name
        }
        yield {
            "kept": [(name, value) for name, values in kept.items() for value in values],
            "without": changelist.get_query_string(remove=[self.parameter_name]),
        }
