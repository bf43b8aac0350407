"""Text to a binary stream."""

import codecs
import io
from collections.abc import Iterable
from typing import IO, Final, cast

from async_downloads.exceptions import DownloadError

__all__ = ["detach", "encoding_error", "text_layer", "without_surrogates"]

#: Encodings whose byte order mark Python writes only if the stream knows its position.
MARKED: Final = frozenset({"utf-16", "utf-32"})


def text_layer(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Return a text layer over a stream; ``detach`` it at the end.

    Args:
        stream: Receives the bytes. A byte order mark is written only at its beginning,
            which is where a stream that cannot seek is.
        encoding: Any of Python's text encodings.
    """
    if not stream.seekable() and codecs.lookup(encoding).name in MARKED:
        stream.write("".encode(encoding))
    return io.TextIOWrapper(cast("io.BytesIO", _Target(stream)), encoding=encoding, newline="")


def detach(layer: io.TextIOWrapper) -> None:
    """Flush a layer to its stream, and leave the stream open.

    Raises:
        BaseException: The stream raised it. The rest of the text is lost, and not written
            again when the layer is garbage-collected.
    """
    target = layer.buffer
    try:
        layer.detach()
    except BaseException:
        cast("_Target", target).closed = True
        raise


def encoding_error(lines: Iterable[str], encoding: str, before: int | None) -> DownloadError:
    """Return the error for the first line that an encoding cannot write.

    Args:
        lines: The text of each row.
        encoding: The encoding of the file.
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
    raise AssertionError("The encoding can write each line.")


def without_surrogates(text: str) -> str:
    """Return a text with surrogate pairs as single characters, and halves as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _Target:
    """A stream with the few attributes that ``TextIOWrapper`` looks up at each write.

    If the stream were readable, its decoder would be reset each time, and many streams compute
    ``closed`` in Python: together a third of the time that a row of a CSV file takes.
    """

    closed = False

    def __init__(self, stream: IO[bytes]):
        self.write, self.flush = stream.write, stream.flush
        self.seekable, self.tell = stream.seekable, stream.tell

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True
