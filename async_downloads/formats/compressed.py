"""Any format, compressed with gzip while it is written."""

import gzip
from collections.abc import Iterable
from dataclasses import replace
from typing import IO, Any, Final, cast

from async_downloads.files.names import with_stored_end
from async_downloads.formats.base import Options, Writer
from async_downloads.formats.sinks import Sink

__all__ = ["CONTENT_TYPE", "EXTENSION", "compressing"]

#: What is appended to the name of what is compressed.
EXTENSION: Final = ".gz"

CONTENT_TYPE: Final = "application/gzip"

#: gzip's own default; Python's is 9, which takes twice as long for next to nothing.
LEVEL: Final = 6


def compressing(write: Writer) -> Writer:
    """Return a writer of the same format, compressed.

    Neither a time nor a name is kept, so that the same rows are the same bytes.

    Args:
        write: The writer of the format.
    """

    def write_compressed(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
        sink = cast("IO[bytes]", Sink(stream))
        name = with_stored_end(options.name)
        if name.lower().endswith(EXTENSION):
            # A writer that looks at it would find itself compressed again.
            options = replace(options, name=name[: -len(EXTENSION)])
        with gzip.GzipFile("", "wb", LEVEL, fileobj=sink, mtime=0) as file:
            # It says that it can seek, and then cannot seek back.
            return write(
                rows, cast("IO[bytes]", Sink(cast("IO[bytes]", file), seekable=False)), options
            )

    return write_compressed
