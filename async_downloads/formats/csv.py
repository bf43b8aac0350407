"""Comma-separated values, byte for byte what ``csv.writer`` writes."""

import codecs
import csv
import io
import itertools
from collections.abc import Iterable
from typing import IO, Any, cast

from async_downloads.exceptions import DownloadError

__all__ = ["check_encoding", "write"]


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


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], *, encoding: str = "utf-8") -> None:
    r"""Write rows to a binary stream with ``csv.writer(lineterminator="\n")``.

    Args:
        rows: Any iterable of rows; it is consumed once and never held.
        stream: Where the bytes go. It is left open, at the end of what was written.
        encoding: Any of Python's text encodings. A byte order mark that the
            encoding calls for is written once.

    Raises:
        DownloadError: A cell holds a character that the encoding lacks; the
            message names the row, counted from 1.
    """
    # A seekable stream is what TextIOWrapper looks at to write one byte order mark.
    text = io.TextIOWrapper(cast("io.BytesIO", stream), encoding=encoding, newline="")
    seen = itertools.count(1)
    try:
        # compress() with selectors that are all true counts rows without a Python frame each.
        csv.writer(text, lineterminator="\n").writerows(itertools.compress(rows, seen))
        text.flush()
    except UnicodeEncodeError as error:
        if _came_from_the_rows(error):
            raise
        row = next(seen) - 1
        raise DownloadError(
            f"Row {row} has a character that {encoding} cannot write: "
            f"{error.object[error.start : error.end]!r}."
        ) from error
    finally:
        text.detach()


def _came_from_the_rows(error: UnicodeEncodeError) -> bool:
    """Return whether the rows raised this while they were made, rather than the writer.

    The writer is written in C and has no frames; a codec may have some.
    """
    raised_in = error.__traceback__ and error.__traceback__.tb_next
    if raised_in is None:
        return False
    module = raised_in.tb_frame.f_globals.get("__name__", "")
    return module != "codecs" and not module.startswith("encodings")
