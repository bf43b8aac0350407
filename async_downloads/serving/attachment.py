"""What is handed out, and the headers that go with it in every way of doing so."""

import mimetypes
import re
from pathlib import Path
from typing import Final, NamedTuple

from django.utils.http import content_disposition_header

from async_downloads.files.names import shortened, shown_name
from async_downloads.formats import registry

__all__ = ["Attachment"]

#: Bytes of the name in a header, which takes up to three characters for each: nginx has four
#: kilobytes for all headers of an answer. It is also where most file systems end a name.
MAX_NAME_BYTES: Final = 255

#: Characters of a type, and what they may be.
MAX_TYPE_LENGTH: Final = 255
TYPE: Final = re.compile(r"[!-~]+/[ -~]+")

UNKNOWN_TYPE: Final = "application/octet-stream"

#: Types of what is compressed, which a browser must not unpack on the way.
COMPRESSED_TYPES: Final = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


class Attachment(NamedTuple):
    """A file to be saved by whoever fetches it.

    Attributes:
        path: Where it lies in the storage.
        filename: The name to save it under, any Unicode.
        size: Its bytes, as they were stored.
        etag: What no other content has, in quotes: a strong entity tag.
    """

    path: str
    filename: str
    size: int
    etag: str

    @property
    def content_type(self) -> str:
        """The type, by the ending of the name."""
        found = self._type_by_name()
        # The site may have registered anything, also what no header can hold.
        return found if len(found) <= MAX_TYPE_LENGTH and TYPE.fullmatch(found) else UNKNOWN_TYPE

    @property
    def disposition(self) -> str:
        """The header that has it saved, under its name, rather than shown (RFC 6266)."""
        # A line break would end the header; rows of old may hold one.
        name = shortened(shown_name(self.filename), MAX_NAME_BYTES)
        return content_disposition_header(True, name) or "attachment"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every answer that leads to its bytes."""
        return {
            "Content-Type": self.content_type,
            "Content-Disposition": self.disposition,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }

    def _type_by_name(self) -> str:
        # Not every machine knows them all.
        if known := registry.content_type_of(self.filename):
            return known
        # Of the endings alone: a whole name may look like a URL, and like a broken one.
        guessed, encoding = mimetypes.guess_type("".join(["file", *Path(self.filename).suffixes]))
        if encoding:
            return COMPRESSED_TYPES.get(encoding, UNKNOWN_TYPE)
        return guessed or UNKNOWN_TYPE
