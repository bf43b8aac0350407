"""Filters of the list of downloads; none reads the table for its choices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_downloads import settings
from async_downloads.models import DownloadCollection
from async_downloads.models.conditions import has_expired, has_stalled, is_stuck
from async_downloads.owners import MAX_LABEL_LENGTH

__all__ = ["AgeFilter", "ConditionFilter", "OwnerFilter", "SizeFilter", "TextFilter", "owned_by"]

MEGABYTE: Final = 1024**2

#: Owners whose keys a query names, at most.
MANY_OWNERS: Final = 1000


def owned_by(text: str) -> Q:
    """Return the condition that the name or label of a download's owner contains a text.

    The owners are looked up first: a database that knows how few they are reads
    their downloads rather than the whole table.
    """
    if len(text) > MAX_LABEL_LENGTH or "\0" in text:
        # No name matches, and a database may refuse the comparison.
        return Q(collection__in=[])
    owners = DownloadCollection.objects.named_like(text).values_list("pk", flat=True)
    keys = list(owners[: MANY_OWNERS + 1])
    return Q(collection__in=owners if len(keys) > MANY_OWNERS else keys)


class ChoiceFilter(admin.SimpleListFilter):
    """A filter with a condition for each choice."""

    labels: ClassVar[dict[str, Any]]

    def conditions(self) -> dict[str, Q]:
        """Return the condition of each choice, at this moment."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return list(self.labels.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep the downloads that meet the condition."""
        condition = self.conditions().get(self.value() or "")
        return None if condition is None else queryset.filter(condition)


class ConditionFilter(ChoiceFilter):
    """A condition beside the state: stalled, not moving, expired or held."""

    title = _("condition")
    parameter_name = "condition"
    labels = {
        "stalled": _("Stalled"),
        "stuck": _("Not moving"),
        "expired": _("Expired"),
        "held": _("Held"),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the conditions that there may be."""
        choices = super().lookups(request, model_admin)
        return [each for each in choices if each[0] != "stuck" or settings.STUCK_AFTER is not None]

    def conditions(self) -> dict[str, Q]:
        """Return the conditions at this moment."""
        return {
            "stalled": has_stalled(),
            "stuck": is_stuck(),
            "expired": has_expired(timezone.now()),
            "held": Q(held=True),
        }


class AgeFilter(ChoiceFilter):
    """The time since the request."""

    title = _("age")
    parameter_name = "age"
    labels = {
        "hour": _("Less than an hour"),
        "day": _("Less than a day"),
        "week": _("Less than a week"),
        "older": _("More than a week"),
    }

    def conditions(self) -> dict[str, Q]:
        """Return the ages from now on back."""
        now = timezone.now()
        week = now - timedelta(weeks=1)
        return {
            "hour": Q(timestamp__gt=now - timedelta(hours=1)),
            "day": Q(timestamp__gt=now - timedelta(days=1)),
            "week": Q(timestamp__gt=week),
            "older": Q(timestamp__lte=week),
        }


class SizeFilter(ChoiceFilter):
    """The size of the file."""

    title = _("size")
    parameter_name = "size"
    labels = {
        "none": _("No file"),
        "small": _("Up to 1 MB"),
        "medium": _("1 MB to 100 MB"),
        "large": _("More than 100 MB"),
    }

    def conditions(self) -> dict[str, Q]:
        """Return the sizes."""
        large = 100 * MEGABYTE
        return {
            "none": Q(size=None),
            "small": Q(size__lte=MEGABYTE),
            "medium": Q(size__gt=MEGABYTE, size__lte=large),
            "large": Q(size__gt=large),
        }


class TextFilter(admin.SimpleListFilter):
    """A name by a part of it, as a site may have too many people for a list.

    Attributes:
        label: Says what to type.
        remove: The link to the list without this filter.
    """

    template = "async_downloads/admin/owner_filter.html"
    parameter_name: str
    label: ClassVar[Any]
    remove: ClassVar[Any]

    def matching(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Return the rows whose name contains the text."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return one choice, or Django would hide the filter; its template has a text field."""
        return [("", "")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Keep the rows whose name contains the text."""
        text = (self.value() or "").strip()
        if "\0" in text:
            # No name has it, and a database may refuse the comparison.
            return queryset.none()
        return self.matching(queryset, text) if text else None

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the hidden fields of the form, and the URL without this filter."""
        kept = {
            name: values
            for name, values in changelist.filter_params.items()
            if name != self.parameter_name
        }
        yield {
            "kept": [(name, value) for name, values in kept.items() for value in values],
            "without": changelist.get_query_string(remove=[self.parameter_name]),
        }


class OwnerFilter(TextFilter):
    """The owner by a part of the name."""

    title = _("owner")
    parameter_name = "owner"
    label = _("Part of the owner’s name")  # noqa: RUF001 (an apostrophe)
    remove = _("All owners")

    def matching(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Keep the downloads of owners whose name or label contains the text."""
        return queryset.filter(owned_by(text))
