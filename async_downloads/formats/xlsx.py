"""XLSX with typed cells: numbers, dates and booleans."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import chain
from typing import IO, Any, Final
from xml.sax.saxutils import escape

from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches
from async_downloads.formats.sheets import (
    DAY_ZERO,
    ILLEGAL,
    LATE,
    MILLISECONDS,
    UNNAMED,
    Sheets,
    letters_of,
    milliseconds,
)
from async_downloads.formats.workbooks import BOLD, FORMATS, WRAPPED, Workbook

__all__ = ["write"]

#: Styles, in the order of their formats.
DATETIME, EXACT_DATETIME, DATE, TIME, EXACT_TIME, DURATION = range(
    BOLD + 1, BOLD + 1 + len(FORMATS)
)

#: Behind them, the styles of decimal numbers with 1 place and more.
DECIMAL: Final = BOLD + len(FORMATS)

#: Text with one of these must be changed before it is written, or have a style.
ODD: Final = re.compile("[&<>\r\n\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|_x")

#: The beginning of text that Excel would read as a character code, such as "_x0041_".
NUMBERED: Final = re.compile("_(?=x[0-9A-Fa-f]{4}_)")


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to a workbook, on as many sheets as they need, each with the header.

    Values that a sheet cannot hold become text: integers and decimals of more than 15
    digits, dates before March 1900, negative durations, infinity and NaN. A float keeps all
    of its 17 digits, and a decimal shows up to 6 places, such as 6.30. Times are in the time
    zone of the options, else in the current one, to the millisecond. Text is never a formula
    or a link; text that is too long for a cell is truncated and ends with "…". The rows go to
    the stream as they come.

    Raises:
        DownloadError: A row is not iterable, or has more cells than a sheet has columns.
    """
    batches = Batches.over(rows, options.header)
    with Workbook(stream, options.title or UNNAMED, options.creator) as book:
        return _Sheets(book, options).write(batches)


class _Sheets(Sheets):
    """The sheets of a workbook.

    A cell's XML begins after its address, with the closing quote.
    """

    def __init__(self, book: Workbook, options: Options):
        super().__init__(options)
        self._book = book
        self._letters = letters_of(self.columns)
        self._last = ""

    @property
    def is_full(self) -> bool:
        return self._book.is_full

    def begin_sheet(self, widths: dict[int, int], *, has_header: bool) -> None:
        self._book.begin_sheet(widths, filtered=self._last if has_header else "")

    def write_row(self, text: str) -> None:
        self._book.write_row(text)

    def header(self, names: Sequence[str]) -> str:
        addresses = self._letters[: len(names)]
        self._last = addresses[-1] if addresses else ""
        texts = [
            f'<c r="{letters}1" s="{BOLD}{text}'
            for name, letters in zip(names, addresses, strict=True)
            if (text := _inline(name, ""))
        ]
        return f'<row r="1">{"".join(texts)}</row>'

    def row(self, number: int, row: Sequence[Any]) -> str:
        writer_of, other = self._writers.get, self._other
        texts = [
            f'<c r="{letters}{number}{text}'
            for cell, letters in zip(row, chain(self._letters, self._no_column()))  # noqa: B905
            if (text := writer_of(type(cell), other)(cell))
        ]
        return f'<row r="{number}">{"".join(texts)}</row>'

    def empty(self, cell: None) -> str:
        return ""

    def boolean(self, value: bool) -> str:
        return '" t="b"><v>1</v></c>' if value else '" t="b"><v>0</v></c>'

    def text(self, text: str) -> str:
        return _inline(text, f'" s="{WRAPPED}')

    def number(self, text: str, places: int = 0) -> str:
        return f'" s="{DECIMAL + places}"><v>{text}</v></c>' if places else f'"><v>{text}</v></c>'

    def moment(self, moment: datetime) -> str:
        since = milliseconds(moment)
        style = EXACT_DATETIME if since >= LATE else DATETIME
        return _serial(style, moment.toordinal() - DAY_ZERO, since)

    def day(self, day: date) -> str:
        return _serial(DATE, day.toordinal() - DAY_ZERO)

    def clock(self, moment: time) -> str:
        since = milliseconds(moment)
        return _serial(EXACT_TIME if since >= LATE else TIME, 0, since)

    def duration(self, duration: timedelta) -> str:
        return _serial(
            DURATION, duration.days, duration.seconds * 1000 + duration.microseconds // 1000
        )

    def _no_column(self) -> Iterator[str]:
        """Raise instead of yielding the letters of a column that a sheet does not have."""
        raise self.too_wide()
        yield


def _serial(style: int, days: int, milliseconds: int = 0) -> str:
    """Return a number of days."""
    number = repr(days + milliseconds / MILLISECONDS) if milliseconds else days
    return f'" s="{style}"><v>{number}</v></c>'


def _inline(text: str, style_of_lines: str) -> str:
    """Return a cell of text, without the characters that XML cannot hold.

    Args:
        text: The text.
        style_of_lines: The style of text with several lines.
    """
    style = ""
    if ODD.search(text):
        text = NUMBERED.sub("_x005F_", ILLEGAL.sub("", text))
        if "\n" in text or "\r" in text:
            style = style_of_lines
        # XML readers take a plain carriage return for the end of a line.
        text = escape(text, {"\r": "&#13;"})
    if not text:
        return ""
    space = "" if text == text.strip() else ' xml:space="preserve"'
    return f'{style}" t="inlineStr"><is><t{space}>{text}</t></is></c>'
