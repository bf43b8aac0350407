"""A ZIP file with XML parts, written as a stream: what XLSX and ODS are."""

import zipfile
from collections.abc import Mapping
from contextlib import closing, nullcontext
from typing import IO, ClassVar, Final, Self, cast
from xml.sax.saxutils import escape

from async_downloads.formats.sheets import ILLEGAL
from async_downloads.formats.sinks import Sink

__all__ = ["PIECE_SIZE", "XmlPackage"]

#: Characters that are compressed at a time.
PIECE_SIZE: Final = 1 << 16


class XmlPackage:
    """Writes a spreadsheet; a context manager that writes the end of the file.

    Its larger parts go to the stream as they come, one after the other. A subclass says how the
    sheets and the other parts look.
    """

    #: The first line of each part.
    declaration: ClassVar[str]

    def __init__(self, stream: IO[bytes], title: str, creator: str = ""):
        """Begin the file.

        Args:
            stream: Receives the bytes. It need not be seekable, and is left open.
            title: The title of the document, after which the sheets are named.
            creator: The creator of the document; empty for none.
        """
        self._file = zipfile.ZipFile(cast("IO[bytes]", Sink(stream)), "w", zipfile.ZIP_DEFLATED)
        self._title = title
        self._creator = creator
        #: The part that is being written.
        self._part: IO[bytes] | None = None
        self._pieces: list[str] = []
        self._buffered = 0
        #: The bytes of the part, and the rows of the sheet.
        self._size = self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if error is None:
                self._end()
        finally:
            with closing(self._file), self._part or nullcontext():
                self._part = None

    def write_row(self, text: str) -> None:
        """Write a row of the sheet, as XML."""
        self._rows += 1
        self._write(text)

    def _end(self) -> None:
        """Write what comes after the last row."""
        raise NotImplementedError

    def _begin_part(self, name: str) -> None:
        self._part = self._file.open(_member(name), "w")
        self._size = 0
        self._write(self.declaration)

    def _write(self, text: str) -> None:
        self._pieces.append(text)
        self._buffered += len(text)
        if self._buffered >= PIECE_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._part:
            self._size += self._part.write("".join(self._pieces).encode())
        self._pieces.clear()
        self._buffered = 0

    def _end_part(self) -> None:
        self._flush()
        if self._part:
            # A part is closed once, even if that fails.
            part, self._part = self._part, None
            part.close()

    def _write_parts(self, parts: Mapping[str, str]) -> None:
        """Write parts that are small, by their names."""
        for name, text in parts.items():
            self._file.writestr(_member(name), self.declaration + text)

    def _properties(self) -> tuple[str, str]:
        """Return the title and the creator as XML."""
        title, creator = (escape(ILLEGAL.sub("", text)) for text in (self._title, self._creator))
        return title, creator


def _member(name: str) -> zipfile.ZipInfo:
    """Return a part without a time, so that the same rows are the same bytes."""
    part = zipfile.ZipInfo(name)
    part.compress_type = zipfile.ZIP_DEFLATED
    return part
