"""Any format, compressed with gzip while it is written."""

import gzip
from collections.abc import Iterable
from dataclasses import replace
from typing import IO, Any, Final, cast

from async_downloads.files.names import with_stored_end
from async_downloads.formats.base import Options, Writer
from async_downloads.formats.sinks import Sink

__all__ = ["CONTENT_TYPE", "EXTENSION", "compressing"]

#: Appended to the name of a compressed file.
EXTENSION: Final = ".gz"

CONTENT_TYPE: Final = "application/gzip"

#: gzip's own default; Python's is 9, which takes twice as long for almost no gain.
LEVEL: Final = 6


def compressing(write: Writer) -> Writer:
    """Return a writer that compresses the bytes of another one.

    The file holds neither a time nor a name, so that the same rows are the same bytes.
    """

    def write_compressed(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
        sink = cast("IO[bytes]", Sink(stream))
        name = with_stored_end(options.name)
        if name.lower().endswith(EXTENSION):
            # Otherwise a writer that reads the name would compress a second time.
            options = replace(options, name=name[: -len(EXTENSION)])
        with gzip.GzipFile("", "wb", LEVEL, fileobj=sink, mtime=0) as file:
            # GzipFile claims to be seekable, but cannot seek back.
            return write(
                rows, cast("IO[bytes]", Sink(cast("IO[bytes]", file), seekable=False)), options
            )

    return write_compressed
