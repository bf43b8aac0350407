"""CSV and TSV with the same bytes as Python 3.13's ``csv.writer``."""

import codecs
import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, time, timedelta
from numbers import Number
from types import SimpleNamespace
from typing import IO, Any, Final

from async_downloads.formats import cells, localized, text
from async_downloads.formats.base import Options
from async_downloads.formats.rows import NO_CONVERTERS, Batches, Converter

__all__ = [
    "BEFORE_FORMULAS",
    "FORMULA_STARTS",
    "SEPARATORS",
    "check_encoding",
    "escaped",
    "line",
    "write",
    "write_csv",
    "write_for_excel",
    "write_tsv",
]

#: Signs that begin a formula; some languages of Excel also read the wide forms.
_SIGNS: Final = "=+-@＝＋－＠"  # noqa: RUF001 (the wide forms are meant)

#: A spreadsheet may take a cell for a formula if it begins with one of these (OWASP, "CSV
#: injection").
FORMULA_STARTS: Final = frozenset(f"{_SIGNS}\t\r\n")

#: A spreadsheet may begin another cell after one of these, whatever the delimiter is:
#: LibreOffice splits at all of them but the last, which it drops.
SEPARATORS: Final = frozenset(';,\t|"\r\n\ufeff')

#: The places in a text that need an apostrophe.
BEFORE_FORMULAS: Final = re.compile(
    rf"\A(?=[{re.escape(''.join(sorted(FORMULA_STARTS)))}])"
    rf"|(?<=[{re.escape(''.join(sorted(SEPARATORS)))}])(?=[{re.escape(_SIGNS)}])"
)

#: Never taken for formulas, whatever they begin with when printed: -5 stays a number.
TYPED: Final = (Number, type(None), date, time, timedelta)


def check_encoding(encoding: str) -> None:
    """Check that a name is that of a text encoding.

    Raises:
        ValueError: It is not.
    """
    try:
        # Some codecs (base64, zlib) have a name but take bytes, which only an attempt shows.
        "".encode(encoding)
        codecs.lookup(encoding)
    except (LookupError, TypeError) as error:
        raise ValueError(f"encoding {encoding!r} is not a text encoding: {error}") from error


def write(
    rows: Iterable[Iterable[Any]],
    stream: IO[bytes],
    *,
    encoding: str = "utf-8",
    escape_formulas: bool = False,
    delimiter: str = ",",
    line_end: str = "\n",
    header: Iterable[Any] | None = None,
    adjust: Mapping[type, Converter] = NO_CONVERTERS,
) -> int:
    r"""Write rows to a binary stream, as Python 3.13's ``csv.writer(lineterminator="\n")`` does.

    Args:
        rows: Any iterable of rows; consumed once and never held in memory.
        stream: Receives the bytes. It is left open, at the end of what was written.
        encoding: Any of Python's text encodings. A byte order mark is written once, if
            the encoding has one.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            gets an apostrophe in front. Numbers and dates are not text.
        delimiter: Separates two cells.
        line_end: Ends each row.
        header: A row before the others, which is not counted.
        adjust: Called for cells of these plain kinds.

    Returns:
        The number of rows.

    Raises:
        DownloadError: A row is not iterable, or a cell cannot be written, or holds a
            character that the encoding lacks; the message names the row, counted from 1.
    """
    batches = Batches.over(rows, header)
    printer = _Printer(escape_formulas, delimiter, line_end)
    layer = text.text_layer(stream, encoding)

    def write_batch(batch: Iterable[Iterable[Any]], before: int | None) -> None:
        printed = printer.print(batch)
        try:
            layer.write(printed)
        except UnicodeEncodeError as error:
            raise text.encoding_error(printer.lines, encoding, before) from error

    count = 0
    try:
        heading = batches.heading(cells.flat)
        if heading is not None:
            write_batch([heading], None)
        for batch in batches.of(cells.flat, adjust):
            write_batch(batch, count)
            count += len(batch)
        layer.flush()
        return count
    finally:
        text.detach(layer)


def write_csv(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write comma-separated values, as ``write`` does."""
    return _with_options(rows, stream, options)


def write_tsv(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write values with tabs between them; a value with a tab or a line break is quoted."""
    return _with_options(rows, stream, options, delimiter="\t")


def write_for_excel(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write CSV for a double click in an Excel of the active language.

    It is UTF-8 with a byte order mark and CRLF line ends. Values have the list separator of
    the language between them, and its decimal sign. Times are those of a clock in the time
    zone of the options, without an offset, which Excel would take for text.
    """
    encoding = options.encoding
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return _with_options(
        rows,
        stream,
        replace(options, encoding=encoding),
        localized.for_excel(options.time_zone),
        delimiter=localized.list_separator(),
        line_end="\r\n",
    )


def _with_options(
    rows: Iterable[Iterable[Any]],
    stream: IO[bytes],
    options: Options,
    adjust: Mapping[type, Converter] = NO_CONVERTERS,
    **dialect: str,
) -> int:
    return write(
        rows,
        stream,
        encoding=options.encoding,
        escape_formulas=options.escape_formulas,
        header=options.header,
        adjust=localized.for_people(options.time_zone) if options.localize else adjust,
        **dialect,
    )


def line(row: Iterable[Any], *, escape_formulas: bool = False) -> str:
    """Return a row as ``write`` prints it.

    Raises:
        CellError: A cell cannot be written.
    """
    return _Printer(escape_formulas, ",", "\n").print([map(cells.flat, row)])


class _Printer:
    """Prints rows as text.

    Attributes:
        lines: The text of each row of the last batch, before quotes are added for carriage
            returns.
    """

    def __init__(self, escape_formulas: bool, delimiter: str, line_end: str):
        self.lines: list[str] = []
        self._escapes = escape_formulas
        self._writer = csv.writer(
            SimpleNamespace(write=self.lines.append), delimiter=delimiter, lineterminator=line_end
        )
        self._unquoted: re.Pattern[str] | None = None
        # Before Python 3.13, csv.writer quotes a carriage return only if lines end with one.
        self.print([["\r", ""]])
        if self.lines[0][0] != '"':
            other = re.escape(f'{delimiter}"\n')
            self._unquoted = re.compile(
                rf'"[^"]*"|(?:\A|(?<=[{re.escape(delimiter)}\n]))[^{other}\r]*\r[^{other}]*'
            )

    def print(self, batch: Iterable[Iterable[Any]]) -> str:
        """Return the text of rows."""
        self.lines.clear()
        self._writer.writerows(map(_escaped, batch) if self._escapes else batch)
        printed = "".join(self.lines)
        if "\r" in printed and self._unquoted:
            printed = self._unquoted.sub(_quoted, printed)
        return printed


def _quoted(match: re.Match[str]) -> str:
    cell = match[0]
    return cell if cell[0] == '"' else f'"{cell}"'


def _escaped(row: Iterable[Any]) -> list[Any]:
    """Return a row whose text a spreadsheet does not take for formulas."""
    return [
        escaped(cell) if type(cell) is not str else BEFORE_FORMULAS.sub("'", cell) for cell in row
    ]


def escaped(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; only text is changed."""
    if isinstance(cell, localized.NumberText):
        return cell
    value = cells.flat(cell)
    if isinstance(value, TYPED):
        return value
    return BEFORE_FORMULAS.sub("'", str(value))
