"""Text and rows on their way from a cursor into a stream."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from async_downloads.formats import csv
from async_downloads.formats.text import layer_over, let_go, unencodable

__all__ = ["BLOCK_ROWS", "FETCH_ROWS", "beside", "is_djangos", "write_blocks", "write_rows"]

#: Rows of text between two looks at the time. More would not stay in the processor's cache:
#: a COPY in blocks of 1000 takes half as long again.
BLOCK_ROWS: Final = 250

#: Rows of cells that a cursor is asked for at a time, each time with a word to the server.
FETCH_ROWS: Final = 2000


def write_blocks(
    blocks: Iterable[list[str] | list[bytes]],
    stream: IO[bytes],
    encoding: str,
    beat: Callable[[int], None],
) -> int:
    """Write rows that are text already.

    Args:
        blocks: Rows, each with its line end, and in UTF-8 if it is bytes.
        stream: Where they go.
        encoding: In which.
        beat: Called with the number of rows after each block.

    Returns:
        The number of rows.

    Raises:
        DownloadError: The encoding lacks a character.
    """
    rows = 0
    if codecs.lookup(encoding).name == "utf-8":
        for block in blocks:
            stream.write(_joined(block))
            rows += len(block)
            beat(rows)
        return rows
    # It writes one byte order mark, and none where the stream has begun.
    text = layer_over(stream, encoding)
    try:
        for block in blocks:
            lines = [line if isinstance(line, str) else str(line, "utf-8") for line in block]
            try:
                text.write("".join(lines))
            except UnicodeEncodeError as error:
                raise unencodable(lines, encoding, rows) from error
            rows += len(block)
            beat(rows)
        text.flush()
        return rows
    finally:
        let_go(text)


def _joined(block: Sequence[Any]) -> bytes:
    if isinstance(block[0], str):
        return "".join(block).encode()
    return b"".join(block)


def write_rows(
    fetch: Callable[[int], Iterable[Any]],
    stream: IO[bytes],
    encoding: str,
    beat: Callable[[int], None],
    change: Callable[[Any], Any] | None = None,
    *,
    escape_formulas: bool = False,
) -> int:
    """Write rows whose cells are as the driver gives them.

    Args:
        fetch: A cursor's ``fetchmany``.
        stream: Where they go.
        encoding: In which.
        beat: Called with the number of rows after each block.
        change: What to make of each row.
        escape_formulas: Whether text must not be taken for a formula.

    Returns:
        The number of rows.

    Raises:
        DownloadError: The encoding lacks a character.
    """

    def blocks() -> Iterator[list[Any]]:
        rows = 0
        while block := list(fetch(FETCH_ROWS)):
            yield block
            rows += len(block)
            beat(rows)

    rows: Iterable[Any] = chain.from_iterable(blocks())
    return csv.write(
        map(change, rows) if change else rows,
        stream,
        encoding=encoding,
        escape_formulas=escape_formulas,
    )


def is_djangos(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a new connection of this kind finds what this one does.

    Other kinds may know in which schema or of which tenant the rows of downloads are.
    """
    return type(connection).__module__.startswith("django.")


@contextmanager
def beside(
    connection: BaseDatabaseWrapper, beat: Callable[[int], None]
) -> Iterator[Callable[[int], None]]:
    """Give a ``beat`` that can make queries while the connection is taken up by a result.

    It makes them on a connection of its own, which is opened for the first of
    them. The result itself stays on the caller's: a site may have set a schema
    or a tenant there, and would read other rows elsewhere.

    Args:
        connection: Is being read from, outside a transaction.
        beat: What makes queries.
    """
    other = connection.copy()

    def call(rows: int) -> None:
        connections[connection.alias] = other
        try:
            beat(rows)
        finally:
            connections[connection.alias] = connection

    try:
        yield call
    finally:
        other.close()
