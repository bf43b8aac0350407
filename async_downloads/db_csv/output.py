"""Text and rows on their way from a cursor into a stream."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from async_downloads.db_csv.dialect import Report
from async_downloads.formats import csv
from async_downloads.formats.text import detach, encoding_error, text_layer

__all__ = [
    "BLOCK_ROWS",
    "FETCH_ROWS",
    "is_builtin_backend",
    "report_beside",
    "write_blocks",
    "write_rows",
]

#: Rows of text in a block. More would not stay in the processor's cache:
#: a COPY in blocks of 1000 takes half as long again.
BLOCK_ROWS: Final = 250

#: Rows of cells that a cursor fetches at a time, each time with a message to the server.
FETCH_ROWS: Final = 2000


def write_blocks(
    blocks: Iterable[list[str] | list[bytes]], stream: IO[bytes], encoding: str, report: Report
) -> int:
    """Write rows that are text already, and return their number.

    Args:
        blocks: Rows, each with its line end; bytes are UTF-8.
        stream: Receives the bytes.
        encoding: The encoding of the file.
        report: Called with the number of rows after each block.

    Raises:
        DownloadError: The encoding lacks a character.
    """
    rows = 0
    if codecs.lookup(encoding).name == "utf-8":
        for block in blocks:
            stream.write(_joined(block))
            rows += len(block)
            report(rows)
        return rows
    # It writes one byte order mark, and none if something is in the stream already.
    layer = text_layer(stream, encoding)
    try:
        for block in blocks:
            lines = [line if isinstance(line, str) else str(line, "utf-8") for line in block]
            try:
                layer.write("".join(lines))
            except UnicodeEncodeError as error:
                raise encoding_error(lines, encoding, rows) from error
            rows += len(block)
            report(rows)
        layer.flush()
        return rows
    finally:
        detach(layer)


def _joined(block: Sequence[Any]) -> bytes:
    if isinstance(block[0], str):
        return "".join(block).encode()
    return b"".join(block)


def write_rows(
    fetch: Callable[[int], Iterable[Any]],
    stream: IO[bytes],
    encoding: str,
    report: Report,
    convert: Callable[[Any], Any] | None = None,
    *,
    escape_formulas: bool = False,
) -> int:
    """Write rows of cells as the driver returns them, and return their number.

    Args:
        fetch: A cursor's ``fetchmany``.
        stream: Receives the bytes.
        encoding: The encoding of the file.
        report: Called with the number of rows after each block.
        convert: Applied to each row.
        escape_formulas: Whether text must not be taken for a formula.

    Raises:
        DownloadError: The encoding lacks a character.
    """

    def blocks() -> Iterator[list[Any]]:
        rows = 0
        while block := list(fetch(FETCH_ROWS)):
            yield block
            rows += len(block)
            report(rows)

    rows: Iterable[Any] = chain.from_iterable(blocks())
    return csv.write(
        map(convert, rows) if convert else rows,
        stream,
        encoding=encoding,
        escape_formulas=escape_formulas,
    )


def is_builtin_backend(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the connection's class is Django's own.

    A new connection then sees the same rows. Other classes may set a schema or a tenant on
    each connection, in which the rows of downloads are.
    """
    return type(connection).__module__.startswith("django.")


@contextmanager
def report_beside(connection: BaseDatabaseWrapper, report: Report) -> Iterator[Report]:
    """Yield a ``report`` that can make queries while the connection still sends a result.

    It makes them on a separate connection, which opens with the first query. The result
    stays on the caller's connection: a site may have set a schema or a tenant there, and
    would read other rows elsewhere.

    Args:
        connection: Is being read from, outside a transaction.
        report: Makes queries.
    """
    other = connection.copy()

    def report_on_other(rows: int) -> None:
        connections[connection.alias] = other
        try:
            report(rows)
        finally:
            connections[connection.alias] = connection

    try:
        yield report_on_other
    finally:
        other.close()
