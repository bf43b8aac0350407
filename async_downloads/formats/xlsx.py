"""XLSX, with numbers, dates and truths as such."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, count, islice, product
from numbers import Real
from string import ascii_uppercase
from typing import IO, Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells
from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches
from async_downloads.formats.workbooks import BOLD, FORMATS, Workbook
from async_downloads.utils.log import get_logger

__all__ = ["write"]

logger = get_logger(__name__)

#: What a sheet holds, a column and a cell. A cell counts as UTF-16 does.
MAX_ROWS: Final = 1_048_576
MAX_COLUMNS: Final = 16_384
MAX_TEXT: Final = 32_767

#: Above it, a spreadsheet rounds: it keeps 15 digits.
TOO_LONG: Final = 10**15

#: How near to nothing, and how far from it, a number of a spreadsheet can be.
SMALLEST: Final = 2.23e-308
LARGEST: Final = 9.99999999999999e307

#: The first day that every spreadsheet gives the same number.
FIRST_DAY: Final = date(1900, 3, 1)

#: Spreadsheets count days from here, and up to the last day of Python's calendar.
DAY_ZERO: Final = date(1899, 12, 30).toordinal()
MAX_DAYS: Final = date.max.toordinal() - DAY_ZERO

#: Of a day, and the styles of what is counted in them.
MILLISECONDS: Final = 24 * 60 * 60 * 1000
DATETIME, EXACT_DATETIME, DATE, TIME, EXACT_TIME, DURATION = range(
    BOLD + 1, BOLD + 1 + len(FORMATS)
)

#: From here, a spreadsheet would show the next day if it had to round to seconds.
LATE: Final = MILLISECONDS - 500

#: What XML has no way to write.
ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: What text must not have as it is.
ODD: Final = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|_x")

#: Where text begins that Excel would take for a character by its number, such as "_x0041_".
NUMBERED: Final = re.compile("_(?=x[0-9A-Fa-f]{4}_)")

#: What the style of a date needs to be seen, in characters; "####" is seen else.
WIDTHS: Final = {BOLD: 0} | dict(enumerate((19, 23, 11, 9, 13, 11), BOLD + 1))

#: The widest that a column becomes for its header.
MAX_WIDTH: Final = 40

#: How wide a column is if nothing is said.
USUAL_WIDTH: Final = 8

#: Rows, and characters of them, that are looked at for the width of the columns.
SAMPLE_ROWS: Final = 500
SAMPLE_SIZE: Final = 1 << 17

#: A cell of a row as it is written, with the style of a date if it has one.
_CELLS: Final = re.compile(r'<c r="([A-Z]+)\d+"(?: s="(\d)")?')

#: Returns what is behind the address of a cell, from its closing quotation mark; nothing for none.
Cell = Callable[[Any], str]


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to a workbook, on as many sheets as they need, each with the header.

    What a sheet cannot hold as such is text: whole and decimal numbers of more than 15
    digits, dates before March 1900, durations below zero, what is infinite or not a number.
    A float keeps all of its 17 digits. Times are those of the current time zone, to the
    millisecond. Text is never a formula or a link; one that is too long for a cell is cut
    and ends with "…". The rows go to the stream as they come.

    Raises:
        DownloadError: A row is not one, or has more cells than a sheet has columns.
    """
    batches = Batches.over(rows, options.header)
    with Workbook(stream) as book:
        pages = _Pages(book, batches.heading(cells.flat))
        pages.write(chain.from_iterable(batches.of(cells.flat)))
    pages.log_cuts(options.name)
    return pages.written


class _Pages:
    """The sheets of a workbook, of which the last is written to."""

    def __init__(self, book: Workbook, header: Sequence[Any] | None):
        self.written = 0
        self._book = book
        self._columns = _columns(MAX_COLUMNS)
        self._zone = timezone.get_current_timezone()
        self._cuts = 0
        self._first_cut = 0
        self._widths: dict[int, int] = {}
        self._header = None if header is None else self._header_of(header)
        self._writers: dict[type, Cell] = {
            str: self._text,
            int: self._whole,
            float: self._number,
            Decimal: self._decimal,
            bool: _truth,
            type(None): _nothing,
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
                self._look_at(text, self._sample)
        self._open()

    def log_cuts(self, name: str) -> None:
        """Log how many texts were too long for their cells."""
        if self._cuts:
            logger.warning(
                "%s has %s texts that were cut to %s characters, the first in row %s",
                *(name, self._cuts, MAX_TEXT, self._first_cut),
            )

    def _begin(self) -> None:
        """Begin a sheet, whose columns become as wide as its first rows need."""
        self._row = 0 if self._header is None else 1
        self._sample: list[str] | None = []
        self._sample_size = 0
        self._filled: set[int] = set()

    def _look_at(self, text: str, sample: list[str]) -> None:
        """Keep one of the first rows of a sheet until it is known how wide the columns are."""
        sample.append(text)
        self._sample_size += len(text)
        for letters, style in _CELLS.findall(text):
            column = self._columns[letters]
            self._filled.add(column)
            if style:
                self._widen(column, WIDTHS[int(style)])
        if len(sample) >= SAMPLE_ROWS or self._sample_size >= SAMPLE_SIZE:
            for column in set(range(max(self._filled, default=0))) - self._filled:
                # There may be dates in it yet.
                self._widen(column, max(WIDTHS.values()))
            self._open()

    def _open(self) -> None:
        """Write the beginning of a sheet, if it is not written yet."""
        if self._sample is None:
            return
        self._book.begin_sheet(self._widths, frozen=self._header is not None)
        for text in [self._header or "", *self._sample]:
            self._book.write(text)
        self._sample = None

    def _header_of(self, header: Sequence[Any]) -> str:
        """Return the row on top of each sheet."""
        if len(header) > len(self._columns):
            raise _too_wide()
        found = []
        for cell, (letters, column) in zip(header, self._columns.items(), strict=False):
            name = _shortened(ILLEGAL.sub("", "" if cell is None else str(cell)))
            self._widen(column, min(len(name) + 2, MAX_WIDTH))
            if name:
                found.append(f'<c r="{letters}1" s="{BOLD}{_inline(name)}')
        return f'<row r="1">{"".join(found)}</row>'

    def _row_of(self, row: Sequence[Any]) -> str:
        number, writer_of, other = self._row, self._writers.get, self._other
        found = [
            f'<c r="{letters}{number}{text}'
            for cell, letters in zip(row, chain(self._columns, _no_more()))  # noqa: B905
            if (text := writer_of(type(cell), other)(cell))
        ]
        return f'<row r="{number}">{"".join(found)}</row>'

    def _widen(self, column: int, width: int) -> None:
        if width > self._widths.get(column, USUAL_WIDTH):
            self._widths[column] = width

    def _text(self, text: str) -> str:
        if len(text) > MAX_TEXT // 2:
            whole = ILLEGAL.sub("", text)
            text = _shortened(whole)
            if text is not whole:
                self._cuts += 1
                self._first_cut = self._first_cut or self.written + 1
        return _inline(text)

    def _whole(self, number: int) -> str:
        if -TOO_LONG < number < TOO_LONG:
            return f'"><v>{int.__repr__(number)}</v></c>'
        return self._text(int.__repr__(number))

    def _number(self, number: float) -> str:
        if SMALLEST <= abs(number) <= LARGEST or number == 0:
            return f'"><v>{float.__repr__(number).removesuffix(".0")}</v></c>'
        return self._text(float.__repr__(number))

    def _decimal(self, number: Decimal) -> str:
        # A float gives these digits back, if there are no more of them.
        if number.is_finite() and Decimal(f"{float(number):.15G}") == number:
            return self._number(float(number))
        return self._text(str(number))

    def _datetime(self, moment: datetime) -> str:
        if moment.tzinfo is not None:
            try:
                moment = moment.astimezone(self._zone).replace(tzinfo=None)
            except OverflowError:
                # At either end of the calendar.
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
        # Without a day, there is no telling what it is in another zone.
        if moment.tzinfo is not None:
            return self._text(str(moment))
        since = _milliseconds(moment)
        return _serial(EXACT_TIME if since >= LATE else TIME, 0, since)

    def _duration(self, duration: timedelta) -> str:
        # A spreadsheet shows none below zero, and none behind its last day.
        if not 0 <= duration.days <= MAX_DAYS:
            return self._text(str(duration))
        return _serial(
            DURATION, duration.days, duration.seconds * 1000 + duration.microseconds // 1000
        )

    def _other(self, cell: Any) -> str:
        """Write what is of no plain kind, but made from one."""
        for kind in (int, float, Decimal, datetime, date, time, timedelta):
            if isinstance(cell, kind):
                return self._writers[kind](cell)
        if isinstance(cell, Real):
            return self._number(float(cell))
        return self._text(str(cell))


def _serial(style: int, days: int, milliseconds: int = 0) -> str:
    """Return a number of days, to the millisecond.

    A spreadsheet is not more exact: more could round up to the next day.
    """
    number = repr(days + milliseconds / MILLISECONDS) if milliseconds else days
    return f'" s="{style}"><v>{number}</v></c>'


def _milliseconds(moment: datetime | time) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1000 + moment.microsecond // 1000


def _truth(value: bool) -> str:
    return '" t="b"><v>1</v></c>' if value else '" t="b"><v>0</v></c>'


def _nothing(cell: None) -> str:
    """Leave a cell empty."""
    return ""


def _inline(text: str) -> str:
    """Return a cell of text, less what XML cannot hold."""
    if ODD.search(text):
        text = NUMBERED.sub("_x005F_", ILLEGAL.sub("", text))
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        # As it is, it would be read as the end of a line.
        text = text.replace("\r", "&#13;")
    if not text:
        return ""
    space = "" if text == text.strip() else ' xml:space="preserve"'
    return f'" t="inlineStr"><is><t{space}>{text}</t></is></c>'


def _shortened(text: str) -> str:
    """Return a text itself if a cell can hold it, else what a cell can hold, with "…" behind."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MAX_TEXT:
        return text
    return units[: 2 * (MAX_TEXT - 1)].decode("utf-16-le", "ignore") + "…"


@functools.cache
def _columns(most: int) -> dict[str, int]:
    """Return the columns of a sheet by their letters: A to Z, AA to ZZ, and so on."""
    letters = (
        "".join(each) for length in count(1) for each in product(ascii_uppercase, repeat=length)
    )
    return {each: column for column, each in enumerate(islice(letters, most))}


def _no_more() -> Iterator[str]:
    """Refuse a cell for which there is no column, when it is asked where that would be."""
    raise _too_wide()
    yield


def _too_wide() -> DownloadError:
    text = _(
        "A row has more than %(limit)s cells, the limit of an Excel sheet. "
        "Please request fewer columns, or another format."
    )
    return DownloadError(text % {"limit": MAX_COLUMNS})
