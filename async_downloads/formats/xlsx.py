"""XLSX, with numbers, dates and truths as such; the one door to XlsxWriter."""

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import IO, Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from async_downloads.exceptions import DownloadError
from async_downloads.formats.base import Options
from async_downloads.formats.sinks import Sink
from async_downloads.logs import get_logger

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

#: What XML has no way to write.
ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: What a format of dates needs to be seen, in characters; "####" is seen else.
WIDTHS: Final = {"yyyy-mm-dd hh:mm:ss": 19, "yyyy-mm-dd": 11, "hh:mm:ss": 9, "[h]:mm:ss": 11}

#: The widest that a column becomes for its header.
MAX_WIDTH: Final = 40

Cell = Callable[[int, int, Any], object]


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to a workbook, on as many sheets as they need, each with the header.

    What a sheet cannot hold as such is text: whole and decimal numbers of more than 15
    digits, dates before March 1900, what is infinite or no number. Times are those of the current
    time zone. Text is never a formula or a link; one that is too long for a cell is cut
    and ends with "…". The rows lie on disk until the last one is there, as much as four
    times the size of the file and more.

    Raises:
        DownloadError: A row has more cells than a sheet has columns.
    """
    import xlsxwriter

    with tempfile.TemporaryDirectory(prefix="async_downloads_") as folder:
        book = xlsxwriter.Workbook(Sink(stream), {"constant_memory": True, "tmpdir": folder})
        book.use_zip64()
        try:
            pages = _Pages(book, options.header)
            count = pages.write(rows)
            book.close()
        except xlsxwriter.exceptions.FileCreateError as error:
            # What the file system has said, and everybody else knows how to read.
            raise error.args[0] from None
        finally:
            for sheet in book.worksheets():
                sheet.row_data_fh.close()
    pages.tell_of_cuts(options.name)
    return count


class _Pages:
    """The sheets of a workbook, of which the last is written to."""

    def __init__(self, book: Any, header: Sequence[Any] | None):
        self._book = book
        self._header = header
        self._zone = timezone.get_current_timezone()
        self._bold = book.add_format({"bold": True})
        self._formats = {text: book.add_format({"num_format": text}) for text in WIDTHS}
        self._widths: dict[int, int] = {}
        self._cuts = 0
        self._first_cut = 0
        self._written = 0
        self._begin()

    def _begin(self) -> None:
        """Begin a sheet, with the header on top."""
        self._sheet = self._book.add_worksheet()
        self._writers: dict[type, Cell] = {
            str: self._text,
            int: self._whole,
            float: self._number,
            Decimal: self._decimal,
            bool: self._sheet.write_boolean,
            type(None): _nothing,
            datetime: self._datetime,
            date: self._date,
            time: self._time,
            timedelta: self._duration,
        }
        self._row = 0
        if self._header is None:
            return
        if len(self._header) > MAX_COLUMNS:
            raise _too_wide()
        for column, cell in enumerate(self._header):
            name = str(cell)
            self._sheet.write_string(0, column, ILLEGAL.sub("", name)[:MAX_TEXT], self._bold)
            self._widen(column, min(len(name) + 2, MAX_WIDTH))
        self._sheet.freeze_panes(1, 0)
        self._row = 1

    def write(self, rows: Iterable[Iterable[Any]]) -> int:
        """Write the rows, and return how many they were."""
        for row in rows:
            if self._row >= MAX_ROWS:
                self._end()
                self._begin()
            at, column = self._row, -1
            writer_of = self._writers.get
            for column, cell in enumerate(row):
                writer_of(type(cell), self._other)(at, column, cell)
            self._written += 1
            self._row = at + 1
            if column >= MAX_COLUMNS:
                raise _too_wide()
        self._end()
        return self._written

    def tell_of_cuts(self, name: str) -> None:
        """Log how many texts were too long for their cells."""
        if self._cuts:
            logger.warning(
                "%s has %s texts that were cut to %s characters, the first in row %s",
                *(name, self._cuts, MAX_TEXT, self._first_cut),
            )

    def _end(self) -> None:
        for column, width in self._widths.items():
            self._sheet.set_column(column, column, width)

    def _widen(self, column: int, width: int) -> None:
        if column < MAX_COLUMNS and width > self._widths.get(column, 8):
            self._widths[column] = width

    def _text(self, row: int, column: int, text: str) -> None:
        if ILLEGAL.search(text):
            text = ILLEGAL.sub("", text)
        if len(text) > MAX_TEXT // 2:
            text = self._cut(text)
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter would take it for markup of its own, and write it as it is.
            self._sheet.write_rich_string(row, column, text[0], text[1:-1], text[-1])
        elif text:
            self._sheet.write_string(row, column, text)

    def _cut(self, text: str) -> str:
        units = text.encode("utf-16-le")
        if len(units) <= 2 * MAX_TEXT:
            return text
        self._cuts += 1
        self._first_cut = self._first_cut or self._written + 1
        return units[: 2 * (MAX_TEXT - 1)].decode("utf-16-le", "ignore") + "…"

    def _whole(self, row: int, column: int, number: int) -> None:
        if -TOO_LONG < number < TOO_LONG:
            self._sheet.write_number(row, column, number)
        else:
            self._text(row, column, str(number))

    def _number(self, row: int, column: int, number: float) -> None:
        if SMALLEST <= abs(number) <= LARGEST or number == 0:
            self._sheet.write_number(row, column, number)
        else:
            self._text(row, column, str(number))

    def _decimal(self, row: int, column: int, number: Decimal) -> None:
        # A float gives these digits back, if there are no more of them.
        if number.is_finite() and Decimal(repr(float(number))) == number and self._is_short(number):
            self._number(row, column, float(number))
        else:
            self._text(row, column, str(number))

    @staticmethod
    def _is_short(number: Decimal) -> bool:
        return len(number.normalize().as_tuple().digits) < len(str(TOO_LONG))

    def _datetime(self, row: int, column: int, moment: datetime) -> None:
        if moment.tzinfo is not None:
            try:
                moment = moment.astimezone(self._zone).replace(tzinfo=None)
            except OverflowError:
                # At either end of the calendar.
                self._text(row, column, str(moment))
                return
        if moment.date() < FIRST_DAY:
            self._text(row, column, str(moment))
        else:
            # As exact as a spreadsheet is: more could round up to a day after the last.
            exact = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
            self._dated(row, column, exact, "yyyy-mm-dd hh:mm:ss")

    def _date(self, row: int, column: int, day: date) -> None:
        if day < FIRST_DAY:
            self._text(row, column, str(day))
        else:
            self._dated(row, column, day, "yyyy-mm-dd")

    def _time(self, row: int, column: int, moment: time) -> None:
        # Without a day, there is no telling what it is in another zone.
        if moment.tzinfo is not None:
            self._text(row, column, str(moment))
        else:
            self._dated(row, column, moment, "hh:mm:ss")

    def _duration(self, row: int, column: int, duration: timedelta) -> None:
        # A spreadsheet shows none below zero.
        if duration < timedelta(0):
            self._text(row, column, str(duration))
        else:
            self._dated(row, column, duration, "[h]:mm:ss")

    def _dated(self, row: int, column: int, value: Any, shown: str) -> None:
        self._sheet.write_datetime(row, column, value, self._formats[shown])
        self._widen(column, WIDTHS[shown])

    def _other(self, row: int, column: int, cell: Any) -> None:
        """Write what is of a kind of a site's own, such as the choice of a field."""
        for kind in (str, int, float, Decimal, datetime, date, time, timedelta):
            if isinstance(cell, kind):
                self._writers[kind](row, column, str(cell) if kind is str else cell)
                return
        if isinstance(cell, Real):
            self._number(row, column, float(cell))
        else:
            self._text(row, column, str(cell))


def _nothing(row: int, column: int, cell: None) -> None:
    """Leave a cell empty."""


def _too_wide() -> DownloadError:
    text = _("A row has more cells than a sheet of a workbook has columns, which is %(most)s.")
    return DownloadError(text % {"most": MAX_COLUMNS})
