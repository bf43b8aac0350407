"""ODS with typed cells, for LibreOffice and other spreadsheets."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import IO, Any, Final
from xml.sax.saxutils import escape

from async_downloads.formats import opendocument
from async_downloads.formats.base import Options
from async_downloads.formats.opendocument import Document
from async_downloads.formats.rows import Batches
from async_downloads.formats.sheets import ILLEGAL, LATE, UNNAMED, Sheets, milliseconds

__all__ = ["write"]

#: Text with one of these must be changed before it is written. Of several spaces, and of
#: those at either end, a reader keeps only those that are elements.
_ODD: Final = re.compile("[&<>\r\n\t\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|  |^ | $")

_LINE_END: Final = re.compile("\r\n|\r|\n")

_SPACES: Final = re.compile(" {2,}|^ +| +$")

_CELL: Final = "<table:table-cell"

_EMPTY: Final = f"{_CELL}/>"


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to a spreadsheet document, with the rules of ``xlsx.write`` for cells.

    Raises:
        DownloadError: A row is not iterable, or has more cells than a sheet has columns,
            or the rows are too many.
    """
    batches = Batches.over(rows, options.header)
    with Document(stream, options.title or UNNAMED, options.creator) as document:
        return _Sheets(document, options).write(batches)


class _Sheets(Sheets):
    """The sheets of a document."""

    def __init__(self, document: Document, options: Options):
        super().__init__(options)
        self._document = document
        self._filtered = 0

    @property
    def is_full(self) -> bool:
        return False

    def begin_sheet(self, widths: dict[int, int], *, has_header: bool) -> None:
        self._document.begin_sheet(widths, filtered=self._filtered if has_header else 0)

    def write_row(self, text: str) -> None:
        self._document.write_row(text)

    def header(self, names: Sequence[str]) -> str:
        self._filtered = len(names)
        return _row([_text(name, opendocument.BOLD) for name in names])

    def row(self, number: int, row: Sequence[Any]) -> str:
        if len(row) > self.columns:
            raise self.too_wide()
        writer_of, other = self._writers.get, self._other
        return _row([writer_of(type(cell), other)(cell) for cell in row])

    def empty(self, cell: None) -> str:
        return _EMPTY

    def boolean(self, value: bool) -> str:
        text = "true" if value else "false"
        return f'{_CELL} office:value-type="boolean" office:boolean-value="{text}"/>'

    def text(self, text: str) -> str:
        return _text(text)

    def number(self, text: str, places: int = 0) -> str:
        style = f' table:style-name="{opendocument.DECIMAL}{places}"' if places else ""
        return f'{_CELL}{style} office:value-type="float" office:value="{text}"/>'

    def moment(self, moment: datetime) -> str:
        late = milliseconds(moment) >= LATE
        return _date(
            opendocument.EXACT_DATETIME if late else opendocument.DATETIME,
            moment.isoformat("T", "milliseconds" if moment.microsecond >= 1000 else "seconds"),
        )

    def day(self, day: date) -> str:
        return _date(opendocument.DATE, day.isoformat())

    def clock(self, moment: time) -> str:
        since = milliseconds(moment)
        style = opendocument.EXACT_TIME if since >= LATE else opendocument.TIME
        return _time(style, timedelta(milliseconds=since))

    def duration(self, duration: timedelta) -> str:
        return _time(opendocument.DURATION, duration)


def _row(cells: Sequence[str]) -> str:
    # A row has at least one cell.
    return f"<table:table-row>{''.join(cells) or _EMPTY}</table:table-row>"


def _date(style: str, text: str) -> str:
    return (
        f'{_CELL} table:style-name="{style}" office:value-type="date" office:date-value="{text}"/>'
    )


def _time(style: str, duration: timedelta) -> str:
    minutes, seconds = divmod(duration.days * 86_400 + duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    thousandths = duration.microseconds // 1000
    fraction = f".{thousandths:03}" if thousandths else ""
    return (
        f'{_CELL} table:style-name="{style}" office:value-type="time"'
        f' office:time-value="PT{hours:02}H{minutes:02}M{seconds:02}{fraction}S"/>'
    )


def _text(text: str, style: str = "") -> str:
    """Return a cell of text, without the characters that XML cannot hold."""
    paragraphs = text
    if _ODD.search(text):
        text = escape(ILLEGAL.sub("", text))
        lines = [
            # Spreadsheets drop the element for a tab.
            _SPACES.sub(_spaces, line.replace("\t", " "))
            for line in _LINE_END.split(text)
        ]
        if len(lines) > 1:
            style = style or opendocument.WRAPPED
        paragraphs = "</text:p><text:p>".join(lines)
    if not text:
        return _EMPTY
    styled = f' table:style-name="{style}"' if style else ""
    return (
        f'{_CELL}{styled} office:value-type="string">'
        f"<text:p>{paragraphs}</text:p></table:table-cell>"
    )


def _spaces(match: re.Match[str]) -> str:
    return f'<text:s text:c="{len(match[0])}"/>'
