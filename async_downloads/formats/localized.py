"""Cells of text as people read them: in their language, by the clock of their time zone."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any, Final

from django.template.defaultfilters import yesno
from django.utils import timezone
from django.utils.formats import date_format, get_format, time_format
from django.utils.text import capfirst

from async_downloads.formats.rows import Converter

__all__ = ["NumberText", "by_clock", "for_excel", "for_people", "list_separator"]

#: Where decimals have a comma, it cannot separate the values of a list.
_SEPARATORS: Final[Mapping[str, str]] = {",": ";"}


class NumberText(str):
    """The text of a number, which no spreadsheet takes for a formula."""

    __slots__ = ()


def by_clock(moment: datetime, zone: tzinfo) -> datetime:
    """Return what a clock in a time zone shows, without the zone.

    Raises:
        OverflowError: The moment is at either end of the calendar.
    """
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def list_separator() -> str:
    """Return the separator that a spreadsheet in the active language expects in CSV."""
    return _SEPARATORS.get(_decimal_separator(), ",")


def for_excel(time_zone: tzinfo | None) -> dict[type, Converter]:
    """Return converters to text that a spreadsheet in the active language takes for its types.

    Args:
        time_zone: The zone of the clock; the current one if left out.
    """
    # Without what is less than a millisecond.
    return {datetime: _moments(time_zone, lambda moment: str(moment)[:23]), **_numbers()}


def for_people(time_zone: tzinfo | None) -> dict[type, Converter]:
    """Return converters to the short formats of the active language.

    Args:
        time_zone: The zone of the clock; the current one if left out.
    """
    return {
        bool: lambda value: capfirst(str(yesno(value))),
        datetime: _moments(time_zone, lambda moment: date_format(moment, "SHORT_DATETIME_FORMAT")),
        date: lambda day: date_format(day, "SHORT_DATE_FORMAT"),
        time: lambda moment: str(moment) if moment.tzinfo else time_format(moment, "TIME_FORMAT"),
        **_numbers(),
    }


def _numbers() -> dict[type, Converter]:
    """Return converters of numbers, which change nothing but the decimal sign."""
    sign = _decimal_separator()

    def number_text(number: Any) -> NumberText:
        return NumberText(str(number).replace(".", sign))

    return {} if sign == "." else {float: number_text, Decimal: number_text}


def _decimal_separator() -> str:
    return str(get_format("DECIMAL_SEPARATOR"))


def _moments(time_zone: tzinfo | None, show: Callable[[datetime], str]) -> Converter:
    """Return a converter of moments to the clock of a time zone, the current one if left out."""
    zone = time_zone or timezone.get_current_timezone()

    def moment_text(moment: datetime) -> str:
        try:
            return show(by_clock(moment, zone))
        except OverflowError:
            return str(moment)

    return moment_text
