"""A file to send, and the headers of every method."""

import mimetypes
import re
from pathlib import Path
from typing import Final, NamedTuple

from django.utils.http import content_disposition_header

from async_downloads.files.names import shortened, shown_name
from async_downloads.formats import registry

__all__ = ["Attachment"]

#: Bytes of the name in a header, each up to three characters: nginx limits all headers of
#: a response to four kilobytes. Most file systems have the same limit for a name.
MAX_NAME_BYTES: Final = 255

#: The length and the characters of a media type.
MAX_TYPE_LENGTH: Final = 255
TYPE: Final = re.compile(r"[!-~]+/[ -~]+")

UNKNOWN_TYPE: Final = "application/octet-stream"

#: Types of compressed files, which a browser must not decompress.
COMPRESSED_TYPES: Final = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


class Attachment(NamedTuple):
    """A file to send as an attachment.

    Attributes:
        path: The path in the storage.
        filename: The name to save it under, any Unicode.
        size: The stored size in bytes.
        etag: A strong entity tag, in quotes.
    """

    path: str
    filename: str
    size: int
    etag: str

    @property
    def content_type(self) -> str:
        """The media type, by the file name's extension."""
        name = self._type_by_name()
        # A site may register any text as a type, even one that no header can hold.
        return name if len(name) <= MAX_TYPE_LENGTH and TYPE.fullmatch(name) else UNKNOWN_TYPE

    @property
    def disposition(self) -> str:
        """The Content-Disposition header, by RFC 6266."""
        # A line break would end the header; old rows may have one.
        name = shortened(shown_name(self.filename), MAX_NAME_BYTES)
        return content_disposition_header(True, name) or "attachment"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every response with the file."""
        return {
            "Content-Type": self.content_type,
            "Content-Disposition": self.disposition,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }

    def _type_by_name(self) -> str:
        # Not every machine's MIME database has all of them.
        if known := registry.content_type_of(self.filename):
            return known
        # The whole name could be parsed as a URL, so only its extensions are used.
        guessed, encoding = mimetypes.guess_type("".join(["file", *Path(self.filename).suffixes]))
        if encoding:
            return COMPRESSED_TYPES.get(encoding, UNKNOWN_TYPE)
        return guessed or UNKNOWN_TYPE
