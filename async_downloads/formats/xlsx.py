"""XLSX with typed cells: numbers, dates and booleans."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, count, islice, product
from numbers import Real
from string import ascii_uppercase
from typing import IO, Any, Final, cast

from django.utils import timezone
from django.utils.translation import gettext as _

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells
from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches
from async_downloads.formats.workbooks import BOLD, DECIMAL_FORMATS, FORMATS, Workbook
from async_downloads.utils.log import get_logger

__all__ = ["write"]

logger = get_logger(__name__)

#: The limits of a sheet, and of the text of a cell in UTF-16 code units.
MAX_ROWS: Final = 1_048_576
MAX_COLUMNS: Final = 16_384
MAX_TEXT: Final = 32_767

#: From here, a spreadsheet would round: it keeps 15 digits.
TOO_LONG: Final = 10**15

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

#: Styles, in the order of their formats.
DATETIME, EXACT_DATETIME, DATE, TIME, EXACT_TIME, DURATION = range(
    BOLD + 1, BOLD + 1 + len(FORMATS)
)

#: Behind them, the styles of decimal numbers with 1 place and more.
DECIMAL: Final = BOLD + len(FORMATS)

#: From here, a spreadsheet that rounds to seconds would show the next day.
LATE: Final = MILLISECONDS - 500

#: Characters that XML cannot hold.
ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: Text with one of these must be changed before it is written.
ODD: Final = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|_x")

#: The beginning of text that Excel would read as a character code, such as "_x0041_".
NUMBERED: Final = re.compile("_(?=x[0-9A-Fa-f]{4}_)")

#: The widths, in characters, that styles need: in a narrower column, Excel shows "####". A
#: decimal number has up to 15 digits, a sign and a point.
WIDTHS: Final = {BOLD: 0} | dict(
    enumerate((19, 23, 11, 9, 13, 11, *(17 for _ in DECIMAL_FORMATS)), BOLD + 1)
)

#: The width of a column with a long header.
MAX_WIDTH: Final = 40

#: The width of a column without a width of its own.
USUAL_WIDTH: Final = 8

#: Rows, and characters of them, whose cells decide the width of the columns.
SAMPLE_ROWS: Final = 500
SAMPLE_SIZE: Final = 1 << 17

#: A cell in the XML of a row, with its style if it has one.
_CELLS: Final = re.compile(r'<c r="([A-Z]+)\d+"(?: s="(\d+)")?')

#: Returns the XML of a cell after its address, from the closing quote; empty for an empty cell.
Cell = Callable[[Any], str]


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to a workbook, on as many sheets as they need, each with the header.

    Values that a sheet cannot hold become text: integers and decimals of more than 15
    digits, dates before March 1900, negative durations, infinity and NaN. A float keeps all
    of its 17 digits, and a decimal shows up to 6 places, such as 6.30. Times are in the
    current time zone, to the millisecond. Text is never a formula or a link; text that is
    too long for a cell is truncated and ends with "…". The rows go to the stream as they come.

    Raises:
        DownloadError: A row is not iterable, or has more cells than a sheet has columns.
    """
    batches = Batches.over(rows, options.header)
    with Workbook(stream) as book:
        sheets = _Sheets(book, batches.heading(cells.flat))
        sheets.write(chain.from_iterable(batches.of(cells.flat)))
    sheets.log_truncated(options.name)
    return sheets.written


class _Sheets:
    """The sheets of a workbook; rows go to the last one."""

    def __init__(self, book: Workbook, header: Sequence[Any] | None):
        self.written = 0
        self._book = book
        self._columns = _columns(MAX_COLUMNS)
        self._zone = timezone.get_current_timezone()
        self._truncated = 0
        self._first_truncated = 0
        self._widths: dict[int, int] = {}
        self._header = None if header is None else self._header_of(header)
        self._writers: dict[type, Cell] = {
            str: self._text,
            int: self._integer,
            float: self._number,
            Decimal: self._decimal,
            bool: _boolean,
            type(None): _empty,
            datetime: self._datetime,
            date: self._date,
            time: self._time,
            timedelta: self._duration,
        }

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write the rows."""
        self._begin()
        for row in rows:
            if self._row >= MAX_ROWS or self._book.is_full:
                self._open()
                self._begin()
            self._row += 1
            text = self._row_of(row)
            self.written += 1
            if self._sample is None:
                self._book.write(text)
            else:
                self._measure(text, self._sample)
        self._open()

    def log_truncated(self, name: str) -> None:
        """Log how many texts were truncated."""
        if self._truncated:
            logger.warning(
                "%s has %s texts that were truncated to %s characters, the first in row %s",
                *(name, self._truncated, MAX_TEXT, self._first_truncated),
            )

    def _begin(self) -> None:
        """Prepare a sheet, whose first rows decide the width of the columns."""
        self._row = 0 if self._header is None else 1
        self._sample: list[str] | None = []
        self._sample_size = 0
        self._filled: set[int] = set()

    def _measure(self, text: str, sample: list[str]) -> None:
        """Keep one of the first rows of a sheet until the width of the columns is known."""
        sample.append(text)
        self._sample_size += len(text)
        for letters, style in _CELLS.findall(text):
            column = self._columns[letters]
            self._filled.add(column)
            if style:
                self._widen(column, WIDTHS[int(style)])
        if len(sample) >= SAMPLE_ROWS or self._sample_size >= SAMPLE_SIZE:
            for column in set(range(max(self._filled, default=0))) - self._filled:
                # An empty column may get dates later.
                self._widen(column, max(WIDTHS.values()))
            self._open()

    def _open(self) -> None:
        """Write the beginning of the sheet and its first rows, if they are not written yet."""
        if self._sample is None:
            return
        self._book.begin_sheet(self._widths, frozen=self._header is not None)
        for text in [self._header or "", *self._sample]:
            self._book.write(text)
        self._sample = None

    def _header_of(self, header: Sequence[Any]) -> str:
        """Return the first row of each sheet."""
        if len(header) > len(self._columns):
            raise _too_wide()
        texts = []
        for cell, (letters, column) in zip(header, self._columns.items(), strict=False):
            name = _truncate(ILLEGAL.sub("", "" if cell is None else str(cell)))
            self._widen(column, min(len(name) + 2, MAX_WIDTH))
            if name:
                texts.append(f'<c r="{letters}1" s="{BOLD}{_inline(name)}')
        return f'<row r="1">{"".join(texts)}</row>'

    def _row_of(self, row: Sequence[Any]) -> str:
        number, writer_of, other = self._row, self._writers.get, self._other
        texts = [
            f'<c r="{letters}{number}{text}'
            for cell, letters in zip(row, chain(self._columns, _no_column()))  # noqa: B905
            if (text := writer_of(type(cell), other)(cell))
        ]
        return f'<row r="{number}">{"".join(texts)}</row>'

    def _widen(self, column: int, width: int) -> None:
        if width > self._widths.get(column, USUAL_WIDTH):
            self._widths[column] = width

    def _text(self, text: str) -> str:
        if len(text) > MAX_TEXT // 2:
            whole = ILLEGAL.sub("", text)
            text = _truncate(whole)
            if text is not whole:
                self._truncated += 1
                self._first_truncated = self._first_truncated or self.written + 1
        return _inline(text)

    def _integer(self, number: int) -> str:
        if -TOO_LONG < number < TOO_LONG:
            return f'"><v>{int.__repr__(number)}</v></c>'
        return self._text(int.__repr__(number))

    def _number(self, number: float) -> str:
        if SMALLEST <= abs(number) <= LARGEST or number == 0:
            return f'"><v>{float.__repr__(number).removesuffix(".0")}</v></c>'
        return self._text(float.__repr__(number))

    def _decimal(self, number: Decimal) -> str:
        if not number.is_finite() or Decimal(f"{float(number):.15G}") != number:
            # A spreadsheet would not keep all of its digits.
            return self._text(str(number))
        places = -cast("int", number.as_tuple().exponent)
        style = f'" s="{DECIMAL + places}' if 0 < places <= len(DECIMAL_FORMATS) else ""
        return style + self._number(float(number))

    def _datetime(self, moment: datetime) -> str:
        if moment.tzinfo is not None:
            try:
                moment = moment.astimezone(self._zone).replace(tzinfo=None)
            except OverflowError:
                # It is at either end of the calendar.
                return self._text(str(moment))
        if moment.date() < FIRST_DAY:
            return self._text(str(moment))
        since = _milliseconds(moment)
        style = EXACT_DATETIME if since >= LATE else DATETIME
        return _serial(style, moment.toordinal() - DAY_ZERO, since)

    def _date(self, day: date) -> str:
        if day < FIRST_DAY:
            return self._text(str(day))
        return _serial(DATE, day.toordinal() - DAY_ZERO)

    def _time(self, moment: time) -> str:
        # Without a day, it cannot be converted to another zone.
        if moment.tzinfo is not None:
            return self._text(str(moment))
        since = _milliseconds(moment)
        return _serial(EXACT_TIME if since >= LATE else TIME, 0, since)

    def _duration(self, duration: timedelta) -> str:
        # A spreadsheet shows neither negative durations nor those after its last day.
        if not 0 <= duration.days <= MAX_DAYS:
            return self._text(str(duration))
        return _serial(
            DURATION, duration.days, duration.seconds * 1000 + duration.microseconds // 1000
        )

    def _other(self, cell: Any) -> str:
        """Return a value of a subclass of a plain kind."""
        for kind in (int, float, Decimal, datetime, date, time, timedelta):
            if isinstance(cell, kind):
                return self._writers[kind](cell)
        if isinstance(cell, Real):
            return self._number(float(cell))
        return self._text(str(cell))


def _serial(style: int, days: int, milliseconds: int = 0) -> str:
    """Return a number of days, to the millisecond.

    Microseconds are dropped: a spreadsheet could round them up to the next day.
    """
    number = repr(days + milliseconds / MILLISECONDS) if milliseconds else days
    return f'" s="{style}"><v>{number}</v></c>'


def _milliseconds(moment: datetime | time) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1000 + moment.microsecond // 1000


def _boolean(value: bool) -> str:
    return '" t="b"><v>1</v></c>' if value else '" t="b"><v>0</v></c>'


def _empty(cell: None) -> str:
    return ""


def _inline(text: str) -> str:
    """Return a cell of text, without the characters that XML cannot hold."""
    if ODD.search(text):
        text = NUMBERED.sub("_x005F_", ILLEGAL.sub("", text))
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        # XML readers take a plain one for the end of a line.
        text = text.replace("\r", "&#13;")
    if not text:
        return ""
    space = "" if text == text.strip() else ' xml:space="preserve"'
    return f'" t="inlineStr"><is><t{space}>{text}</t></is></c>'


def _truncate(text: str) -> str:
    """Return the same text if a cell can hold it, else its beginning and "…"."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MAX_TEXT:
        return text
    return units[: 2 * (MAX_TEXT - 1)].decode("utf-16-le", "ignore") + "…"


@functools.cache
def _columns(count_of_columns: int) -> dict[str, int]:
    """Return the numbers of columns by their letters: A to Z, AA to ZZ, and so on."""
    letters = (
        "".join(each) for length in count(1) for each in product(ascii_uppercase, repeat=length)
    )
    return {each: column for column, each in enumerate(islice(letters, count_of_columns))}


def _no_column() -> Iterator[str]:
    """Raise instead of yielding the letters of a column that a sheet does not have."""
    raise _too_wide()
    yield


def _too_wide() -> DownloadError:
    text = _(
        "A row has more than %(limit)s cells, the limit of an Excel sheet. "
        "Please request fewer columns, or another format."
    )
    return DownloadError(text % {"limit": MAX_COLUMNS})
