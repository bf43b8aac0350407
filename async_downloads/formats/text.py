"""Text to a binary stream."""

import codecs
import io
from collections.abc import Iterable
from typing import IO, Final, cast

from async_downloads.exceptions import DownloadError

__all__ = ["layer_over", "let_go", "unencodable"]

#: What begins with a byte order mark that Python writes only where it can ask a stream
#: for its position.
MARKED: Final = frozenset({"utf-16", "utf-32"})


def layer_over(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Return a layer for text over a stream, to be let go at the end.

    Args:
        stream: Where the bytes go. A byte order mark that the encoding calls for is
            written at its beginning only; one that cannot seek is at its beginning.
        encoding: Any of Python's text encodings.
    """
    if not stream.seekable() and codecs.lookup(encoding).name in MARKED:
        stream.write("".encode(encoding))
    return io.TextIOWrapper(cast("io.BytesIO", _Target(stream)), encoding=encoding, newline="")


def let_go(layer: io.TextIOWrapper) -> None:
    """Detach a layer from its stream, which gets what is left.

    Raises:
        BaseException: What the stream raised; the rest is lost, and not offered again
            when nobody knows the layer any more.
    """
    target = layer.buffer
    try:
        layer.detach()
    except BaseException:
        cast("_Target", target).closed = True
        raise


def unencodable(lines: Iterable[str], encoding: str, before: int | None) -> DownloadError:
    """Return the error of the first of some lines that an encoding cannot write.

    Args:
        lines: The text of each row.
        encoding: Of the file.
        before: How many rows came before them; None for the header.
    """
    for row, line in enumerate(lines, (before or 0) + 1):
        try:
            line.encode(encoding)
        except UnicodeEncodeError as error:
            place = "The header" if before is None else f"Row {row}"
            return DownloadError(
                f"{place} has a character that {encoding} cannot write: "
                f"{error.object[error.start : error.end]!r}."
            )
    raise AssertionError("Each line can be written.")


class _Target:
    """A stream as a layer for text needs it, which asks much of it at each write.

    One that could be read from would have its decoder reset each time, and one that
    computes whether it is closed would do so each time: a third of the time that a
    row of a CSV file takes.
    """

    closed = False

    def __init__(self, stream: IO[bytes]):
        self.write, self.flush = stream.write, stream.flush
        self.seekable, self.tell = stream.seekable, stream.tell

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True
