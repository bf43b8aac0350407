"""The date hierarchy above the lists of downloads and fetch records.

Django's own reads the whole table to leave out days without rows. This one
looks up the first and the last row in an index, and links every day between them.
"""

import calendar
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from django.contrib.admin.views.main import ChangeList
from django.db.models import Max, Min
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

__all__ = ["hierarchy"]

UNITS: Final = ("year", "month", "day")

Link = Callable[..., str]


def hierarchy(changelist: ChangeList) -> dict[str, Any]:
    """Return the context of Django's template ``admin/date_hierarchy.html``."""
    field = str(changelist.date_hierarchy)
    span = _span(changelist, field)
    try:
        year, month, day = (_number(changelist, f"{field}__{unit}") for unit in UNITS)
        shown = date(year or 1, month or 1, day or 1)
    except (OverflowError, ValueError):
        return {"show": False}
    if span is None:
        return {"show": False}

    def link(*numbers: int) -> str:
        units = {f"{field}__{unit}": number for unit, number in zip(UNITS, numbers, strict=False)}
        return changelist.get_query_string(units, [f"{field}__"])

    if year and month and day:
        choices = [{"title": _title(shown, "MONTH_DAY_FORMAT")}]
    else:
        choices = _choices(*span, year, month, link)
    return {
        "show": True,
        "field_name": getattr(changelist.opts.get_field(field), "verbose_name", field),
        "back": _back(shown, year, month, day, link),
        "choices": choices,
    }


def _span(changelist: ChangeList, field: str) -> tuple[date, date] | None:
    """Return the days of the first and the last row, in the current time zone."""
    ends = changelist.model._default_manager.aggregate(first=Min(field), last=Max(field))
    first, last = ends["first"], ends["last"]
    if first is None or last is None:
        return None
    if timezone.is_aware(first):
        first, last = timezone.localtime(first), timezone.localtime(last)
    return first.date(), last.date()


def _number(changelist: ChangeList, name: str) -> int | None:
    value: Any = changelist.params.get(name)
    return int(value) if value else None


def _title(day: date, format_: str) -> str:
    return str(capfirst(date_format(day, format_)))


def _back(
    shown: date, year: int | None, month: int | None, day: int | None, link: Link
) -> dict[str, str] | None:
    """Return the link to the next larger unit."""
    if year and month and day:
        title = _title(shown, "YEAR_MONTH_FORMAT")
        return {"link": link(shown.year, shown.month), "title": title}
    if year and month:
        return {"link": link(shown.year), "title": str(shown.year)}
    return {"link": link(), "title": _("All dates")} if year else None


def _choices(
    first: date, last: date, year: int | None, month: int | None, link: Link
) -> list[dict[str, str]]:
    """Return links for the largest unit with more than one choice."""
    if year is None and first.year == last.year:
        year = first.year
    if year is None:
        years = range(first.year, last.year + 1)
        return [{"link": link(each), "title": str(each)} for each in years]
    months = [
        each
        for each in range(1, 13)
        if (first.year, first.month) <= (year, each) <= (last.year, last.month)
    ]
    if month is None and len(months) != 1:
        return [
            {"link": link(year, each), "title": _title(date(year, each, 1), "YEAR_MONTH_FORMAT")}
            for each in months
        ]
    month = month or months[0]
    days = (date(year, month, each + 1) for each in range(calendar.monthrange(year, month)[1]))
    return [
        {"link": link(*each.timetuple()[:3]), "title": _title(each, "MONTH_DAY_FORMAT")}
        for each in days
        if first <= each <= last
    ]
