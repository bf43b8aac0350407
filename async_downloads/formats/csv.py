"""Separated values, byte for byte what ``csv.writer`` writes."""

import codecs
import csv
import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Number
from typing import IO, Any, Final

from async_downloads.exceptions import DownloadError
from async_downloads.formats import text
from async_downloads.formats.base import Options

__all__ = [
    "FORMULA_STARTS",
    "check_encoding",
    "escaped",
    "write",
    "write_csv",
    "write_for_excel",
    "write_tsv",
]

#: What a cell must not begin with if a spreadsheet is to take it for text, as OWASP
#: lists it under "CSV injection": some languages of Excel read the wide forms as well.
FORMULA_STARTS: Final = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 (that is why)

#: Where in a text an apostrophe belongs. csv.writer may leave a carriage return unquoted,
#: and then a spreadsheet begins a new cell behind it. Windows' line ends are quoted.
_BEFORE_FORMULAS: Final = re.compile(
    rf"(?:\A|(?<=\r)(?!\n))(?=[{re.escape(''.join(FORMULA_STARTS))}])"
)

#: What is no text, whatever it begins with once it is printed: -5 stays a number.
TYPED: Final = (Number, type(None), date, time, timedelta)

#: The commonest of them, for a look that costs next to nothing.
_TYPED_EXACTLY: Final = frozenset({int, float, bool, Decimal, type(None), date, datetime, time})


def check_encoding(encoding: str) -> None:
    """Refuse an encoding that cannot make bytes of text.

    Raises:
        ValueError: Python knows no text encoding by this name.
    """
    try:
        # Some codecs (base64, zlib) are known but take bytes: only an attempt tells.
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
) -> int:
    r"""Write rows to a binary stream with ``csv.writer(lineterminator="\n")``.

    Args:
        rows: Any iterable of rows; it is consumed once and never held.
        stream: Where the bytes go. It is left open, at the end of what was written.
        encoding: Any of Python's text encodings. A byte order mark that the
            encoding calls for is written once.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            gets an apostrophe in front. Numbers and dates are no text.
        delimiter: Between two cells.
        line_end: Behind each row.

    Returns:
        The number of rows.

    Raises:
        DownloadError: A cell holds a character that the encoding lacks; the
            message names the row, counted from 1.
    """
    layer = text.layer_over(stream, encoding)
    seen = itertools.count(1)
    if escape_formulas:
        rows = map(_escaped, rows)
    try:
        # compress() with selectors that are all true counts rows without a Python frame each.
        writer = csv.writer(layer, delimiter=delimiter, lineterminator=line_end)
        writer.writerows(itertools.compress(rows, seen))
        layer.flush()
        return next(seen) - 1
    except UnicodeEncodeError as error:
        if _came_from_the_rows(error):
            raise
        row = next(seen) - 1
        raise DownloadError(
            f"Row {row} has a character that {encoding} cannot write: "
            f"{error.object[error.start : error.end]!r}."
        ) from error
    finally:
        text.let_go(layer)


def write_csv(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write comma-separated values, as ``write`` does."""
    return _with_header(rows, stream, options)


def write_tsv(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write values with tabs between them; a value with a tab or a line break is quoted."""
    return _with_header(rows, stream, options, delimiter="\t")


def write_for_excel(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write what Excel opens by a double click: UTF-8 with its mark, and Windows' line ends."""
    encoding = options.encoding
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return _with_header(rows, stream, replace(options, encoding=encoding), line_end="\r\n")


def _with_header(
    rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options, **dialect: str
) -> int:
    header = () if options.header is None else (options.header,)
    written = write(
        itertools.chain(header, rows),
        stream,
        encoding=options.encoding,
        escape_formulas=options.escape_formulas,
        **dialect,
    )
    return written - len(header)


def _escaped(row: Iterable[Any]) -> Iterable[Any]:
    """Return a row in which no text is taken for a formula."""
    if not isinstance(row, (list, tuple)):
        # It may be there to be read once.
        row = list(row)
    for cell in row:
        if type(cell) is str:
            if cell[:1] in FORMULA_STARTS or "\r" in cell:
                break
        elif type(cell) not in _TYPED_EXACTLY:
            break
    else:
        # As nearly all rows are: nothing to change, and no copy to be made.
        return row
    return [escaped(cell) for cell in row]


def escaped(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: itself, unless it is text.

    Args:
        cell: As a row has it, before it is printed.
    """
    if isinstance(cell, TYPED):
        return cell
    # As csv.writer would print it: also what is marked as safe, translated late, a choice.
    text = cell if isinstance(cell, str) else str(cell)
    safe = _BEFORE_FORMULAS.sub("'", text)
    return cell if safe == text else safe


def _came_from_the_rows(error: UnicodeEncodeError) -> bool:
    """Return whether the rows raised this while they were made, rather than the writer.

    The writer is written in C and has no frames; a codec may have some.
    """
    raised_in = error.__traceback__ and error.__traceback__.tb_next
    if raised_in is None:
        return False
    module = raised_in.tb_frame.f_globals.get("__name__", "")
    return module != "codecs" and not module.startswith("encodings")
