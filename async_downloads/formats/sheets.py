"""Rows on the sheets of a spreadsheet, the same way for each kind of file.

A spreadsheet keeps numbers as floats, and dates as numbers of days. What it cannot keep
becomes text, as CSV has it.
"""

import functools
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, count, islice, product
from numbers import Real
from string import ascii_uppercase
from typing import Any, Final, cast

from django.utils import timezone
from django.utils.translation import gettext as _

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells
from async_downloads.formats.base import Options
from async_downloads.formats.localized import by_clock
from async_downloads.formats.rows import Batches
from async_downloads.utils.log import get_logger

__all__ = [
    "DAY_ZERO",
    "ILLEGAL",
    "LATE",
    "MAX_PLACES",
    "MAX_WIDTH",
    "MILLISECONDS",
    "UNNAMED",
    "Sheets",
    "letters_of",
    "milliseconds",
    "quoted_title",
    "sheet_title",
]

logger = get_logger(__name__)

#: The limits of a sheet, and of the text of a cell in UTF-16 code units.
MAX_ROWS: Final = 1_048_576
MAX_COLUMNS: Final = 16_384
MAX_TEXT: Final = 32_767

#: From here, a spreadsheet would round: it keeps 15 digits.
TOO_LONG: Final = 10**15

#: The most places with which a decimal number is shown.
MAX_PLACES: Final = 6

#: The smallest and the largest absolute value of a number in a spreadsheet.
SMALLEST: Final = 2.23e-308
LARGEST: Final = 9.99999999999999e307

#: The first day that has the same number in every spreadsheet.
FIRST_DAY: Final = date(1900, 3, 1)

#: Day 0 of spreadsheets, and the number of the last day that Python has.
DAY_ZERO: Final = date(1899, 12, 30).toordinal()
MAX_DAYS: Final = date.max.toordinal() - DAY_ZERO

#: Milliseconds of a day.
MILLISECONDS: Final = 24 * 60 * 60 * 1000

#: From here, a spreadsheet that rounds to seconds would show the next day.
LATE: Final = MILLISECONDS - 500

#: Characters that XML cannot hold.
ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: The widths, in characters, that kinds of cells need: in a narrower column, a spreadsheet
#: shows "####". A decimal number has up to 15 digits, a sign and a point.
WIDTHS: Final[Mapping[type, int]] = {
    bool: 6,
    datetime: 19,
    date: 11,
    time: 9,
    timedelta: 11,
    Decimal: 17,
}

#: What milliseconds add to the width.
WIDTH_OF_MILLISECONDS: Final = 4

#: The widest column of text, in characters. More lines of a cell are read more easily.
MAX_WIDTH: Final = 50

#: The width of a column without a width of its own.
USUAL_WIDTH: Final = 8

#: Rows, and characters of them, whose cells decide the width of the columns.
SAMPLE_ROWS: Final = 500
SAMPLE_SIZE: Final = 1 << 17

#: The name of the sheet of rows without a name.
UNNAMED: Final = "Sheet1"

#: Characters that the name of a sheet cannot have, and its length in UTF-16 code units.
_NOT_IN_TITLES: Final = re.compile(r"[\[\]:*?/\\\s]+")
MAX_TITLE: Final = 31

#: Returns the XML of a cell; empty for an empty cell.
Cell = Callable[[Any], str]


class Sheets(ABC):
    """The sheets of a file; rows go to the last one. Subclasses print cells as XML.

    Attributes:
        columns: The most columns of a sheet.
        written: The number of rows without headers.
    """

    def __init__(self, options: Options):
        """Prepare the sheets."""
        self.columns = MAX_COLUMNS
        self.written = 0
        self._name = options.name
        self._zone = options.time_zone or timezone.get_current_timezone()
        self._truncated = 0
        self._first_truncated = 0
        self._widths: dict[int, int] = {}
        self._header: str | None = None
        self._writers: dict[type, Cell] = {
            str: self._text,
            int: self._integer,
            float: self._float,
            Decimal: self._decimal,
            bool: self.boolean,
            type(None): self.empty,
            datetime: self._datetime,
            date: self._date,
            time: self._time,
            timedelta: self._duration,
        }

    def write(self, batches: Batches) -> int:
        """Write the header and the rows, and return the number of rows.

        Raises:
            DownloadError: A row is not iterable, or has more cells than a sheet has columns.
        """
        heading = batches.heading(cells.flat)
        if heading is not None:
            names = [
                self.shortened(ILLEGAL.sub("", "" if cell is None else str(cell)))
                for cell in heading
            ]
            if len(names) > self.columns:
                raise self.too_wide()
            for column, name in enumerate(names):
                self._widen(column, min(_width(name) + 2, MAX_WIDTH))
            self._header = self.header(names)
        self._begin()
        for row in chain.from_iterable(batches.of(cells.flat)):
            if self._row >= MAX_ROWS or self.is_full:
                self._open()
                self._begin()
            self._row += 1
            text = self.row(self._row, row)
            self.written += 1
            if self._sample is None:
                self.write_row(text)
            else:
                self._measure(row, text, self._sample)
        self._open()
        if self._truncated:
            logger.warning(
                "%s has %s texts that were truncated to %s characters, the first in row %s",
                *(self._name, self._truncated, MAX_TEXT, self._first_truncated),
            )
        return self.written

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether the next row should begin another sheet."""

    @abstractmethod
    def begin_sheet(self, widths: dict[int, int], *, has_header: bool) -> None:
        """Begin the next sheet.

        Args:
            widths: The widths, in characters, of columns without the usual width.
            has_header: Whether the first row is a header.
        """

    @abstractmethod
    def write_row(self, text: str) -> None:
        """Write the XML of a row."""

    @abstractmethod
    def header(self, names: Sequence[str]) -> str:
        """Return the XML of the header."""

    @abstractmethod
    def row(self, number: int, row: Sequence[Any]) -> str:
        """Return the XML of a row, given its number on the sheet."""

    @abstractmethod
    def empty(self, cell: None) -> str:
        """Return the XML of an empty cell."""

    @abstractmethod
    def boolean(self, value: bool) -> str:
        """Return the XML of a boolean."""

    @abstractmethod
    def text(self, text: str) -> str:
        """Return the XML of a text."""

    @abstractmethod
    def number(self, text: str, places: int = 0) -> str:
        """Return the XML of a number, which is shown with so many places; 0 for all of them."""

    @abstractmethod
    def moment(self, moment: datetime) -> str:
        """Return the XML of a date and time."""

    @abstractmethod
    def day(self, day: date) -> str:
        """Return the XML of a date."""

    @abstractmethod
    def clock(self, moment: time) -> str:
        """Return the XML of a time of day."""

    @abstractmethod
    def duration(self, duration: timedelta) -> str:
        """Return the XML of a duration."""

    def too_wide(self) -> DownloadError:
        """Return the error for a row with too many cells."""
        text = _(
            "A row has more than %(limit)s cells, the limit of a sheet. "
            "Please request fewer columns, or another format."
        )
        return DownloadError(text % {"limit": self.columns})

    @staticmethod
    def shortened(text: str) -> str:
        """Return the same text if a cell can hold it, else its beginning and "…"."""
        units = text.encode("utf-16-le")
        if len(units) <= 2 * MAX_TEXT:
            return text
        return units[: 2 * (MAX_TEXT - 1)].decode("utf-16-le", "ignore") + "…"

    def _begin(self) -> None:
        """Prepare a sheet, whose first rows decide the width of the columns."""
        self._row = 0 if self._header is None else 1
        self._sample: list[str] | None = []
        self._sample_size = 0
        self._filled: set[int] = set()

    def _measure(self, row: Sequence[Any], text: str, sample: list[str]) -> None:
        """Keep one of the first rows of a sheet until the width of the columns is known."""
        sample.append(text)
        self._sample_size += len(text)
        for column, cell in enumerate(row):
            if cell is not None and cell != "":
                self._filled.add(column)
                self._widen(column, _width_of(cell))
        if len(sample) >= SAMPLE_ROWS or self._sample_size >= SAMPLE_SIZE:
            for column in set(range(max(self._filled, default=0))) - self._filled:
                # An empty column may get dates later.
                self._widen(column, WIDTHS[datetime] + WIDTH_OF_MILLISECONDS)
            self._open()

    def _open(self) -> None:
        """Write the beginning of the sheet and its first rows, if they are not written yet."""
        if self._sample is None:
            return
        self.begin_sheet(self._widths, has_header=self._header is not None)
        for text in [*([] if self._header is None else [self._header]), *self._sample]:
            self.write_row(text)
        self._sample = None

    def _widen(self, column: int, width: int) -> None:
        if width > self._widths.get(column, USUAL_WIDTH):
            self._widths[column] = width

    def _text(self, text: str) -> str:
        if len(text) > MAX_TEXT // 2:
            whole = ILLEGAL.sub("", text)
            text = self.shortened(whole)
            if text is not whole:
                self._truncated += 1
                self._first_truncated = self._first_truncated or self.written + 1
        return self.text(text)

    def _integer(self, number: int) -> str:
        text = int.__repr__(number)
        return self.number(text) if -TOO_LONG < number < TOO_LONG else self._text(text)

    def _float(self, number: float) -> str:
        if SMALLEST <= abs(number) <= LARGEST or number == 0:
            return self.number(float.__repr__(number).removesuffix(".0"))
        return self._text(float.__repr__(number))

    def _decimal(self, number: Decimal) -> str:
        value = float(number) if number.is_finite() else math.inf
        in_range = SMALLEST <= abs(value) <= LARGEST or value == 0
        if not in_range or Decimal(f"{value:.15G}") != number:
            # A spreadsheet would not keep all of its digits.
            return self._text(str(number))
        places = -cast("int", number.as_tuple().exponent)
        text = float.__repr__(value).removesuffix(".0")
        return self.number(text, places if 0 < places <= MAX_PLACES else 0)

    def _datetime(self, moment: datetime) -> str:
        try:
            shown = by_clock(moment, self._zone)
        except OverflowError:
            # It is at either end of the calendar.
            return self._text(str(moment))
        return self._text(str(shown)) if shown.date() < FIRST_DAY else self.moment(shown)

    def _date(self, day: date) -> str:
        return self._text(str(day)) if day < FIRST_DAY else self.day(day)

    def _time(self, moment: time) -> str:
        # Without a day, it cannot be converted to another zone.
        return self.clock(moment) if moment.tzinfo is None else self._text(str(moment))

    def _duration(self, duration: timedelta) -> str:
        # A spreadsheet shows neither negative durations nor those after its last day.
        fits = 0 <= duration.days <= MAX_DAYS
        return self.duration(duration) if fits else self._text(str(duration))

    def _other(self, cell: Any) -> str:
        """Return a value of a subclass of a plain kind."""
        for kind in (int, float, Decimal, datetime, date, time, timedelta):
            if isinstance(cell, kind):
                return self._writers[kind](cell)
        return self._float(float(cell)) if isinstance(cell, Real) else self._text(str(cell))


def milliseconds(moment: datetime | time) -> int:
    """Return the milliseconds since midnight.

    Microseconds are dropped: a spreadsheet could round them up to the next day.
    """
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1000 + moment.microsecond // 1000


@functools.cache
def letters_of(columns: int) -> list[str]:
    """Return the letters of columns: A to Z, AA to ZZ, and so on."""
    letters = (
        "".join(each) for length in count(1) for each in product(ascii_uppercase, repeat=length)
    )
    return list(islice(letters, columns))


def sheet_title(title: str, suffix: str = "") -> str:
    """Return a name of a sheet that each spreadsheet takes.

    Args:
        title: The name of the export.
        suffix: The end of the name, which is never truncated.
    """
    clean = _NOT_IN_TITLES.sub(" ", ILLEGAL.sub("", title)).strip(" '") or "Sheet"
    if clean.casefold() == "history":
        # Excel keeps this name for itself.
        clean = f"{clean}_"
    units = clean.encode("utf-16-le")[: 2 * MAX_TITLE - len(suffix.encode("utf-16-le"))]
    return units.decode("utf-16-le", "ignore").rstrip(" '") + suffix


def quoted_title(title: str) -> str:
    """Return the name of a sheet as it stands before the address of a cell."""
    return "'" + title.replace("'", "''") + "'"


def _width_of(cell: Any) -> int:
    """Return the width that a cell needs, in characters."""
    kind = type(cell)
    if kind is Decimal and not (cell.is_finite() and cell.as_tuple().exponent < 0):
        return min(_width(str(cell)) + 1, MAX_WIDTH)
    if kind in WIDTHS:
        return WIDTHS[kind] + bool(getattr(cell, "microsecond", 0)) * WIDTH_OF_MILLISECONDS
    text = cell if kind is str else str(cell)
    return min(max(map(_width, text[: 4 * MAX_TEXT].splitlines()), default=0) + 1, MAX_WIDTH)


def _width(text: str) -> int:
    """Return the width of a line; some signs are as wide as two letters."""
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(sign) in "WF" for sign in text[:MAX_WIDTH])
