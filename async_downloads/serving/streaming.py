"""Files sent by Django in pieces, whole or in part, in constant memory."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from http import HTTPStatus
from typing import IO, Any, Final

from asgiref.sync import sync_to_async
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response

from async_downloads.files import storage
from async_downloads.serving.attachment import Attachment
from async_downloads.serving.ranges import UnsatisfiableRangeError, requested_range

__all__ = ["StoredFileResponse", "stream"]

#: Bytes to read at a time. Under ASGI each piece costs a thread switch.
PIECE_BYTES: Final = 1 << 16


class StoredFileResponse(FileResponse):
    """A file in pieces, under WSGI and ASGI.

    Under ASGI, Django's FileResponse reads the whole file into memory, because its
    iterator is synchronous.

    Attributes:
        source: The open file, or the requested range of it.
    """

    block_size = PIECE_BYTES

    def __init__(self, source: "IO[Any] | Part"):
        self.source = source
        super().__init__(source)

    def has_header(self, header: str) -> bool:
        """Return whether there is such a header, and for an encoding that there is one.

        So GZipMiddleware leaves the response alone: it would remove the length, by which browsers
        show progress, ask for ranges, and find out that a transfer was cut. The header itself is
        not sent, as Firefox ignores the length of a response that has it, even with ``identity``,
        and takes a part of the file for the whole.
        """
        return header.lower() == "content-encoding" or super().has_header(header)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, each read in a thread."""
        pieces = iter(self)
        read = sync_to_async(partial(next, pieces, None), thread_sensitive=False)
        while (piece := await read()) is not None:
            yield piece


class Part:
    """A range of the bytes of an open file; closing it closes the file."""

    def __init__(self, stored: IO[Any], positions: range):
        self.close = stored.close
        self._stored = stored
        self._positions = positions

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in pieces."""
        left = len(self._positions)
        _skip(self._stored, self._positions.start)
        while left and (piece := self._stored.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def stream(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Return a response with the file or its requested range, or 304 if it has not changed.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    size, headers = storage.size_of(attachment.path, default=attachment.size), attachment.headers
    stored = storage.storage().open(attachment.path, "rb")
    response = _response(request, attachment, stored, size)
    if not response.streaming:
        stored.close()
    for name, value in headers.items():
        response.headers[name] = value
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = attachment.etag
    return response


def _response(
    request: HttpRequest, attachment: Attachment, stored: IO[Any], size: int
) -> HttpResponseBase:
    """Return the response; only a streaming one reads the file."""
    unchanged = get_conditional_response(request, etag=attachment.etag)
    if unchanged is not None:
        return unchanged
    try:
        positions = requested_range(request, size=size, etag=attachment.etag)
    except UnsatisfiableRangeError:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return HttpResponse(status=status, headers={"Content-Range": f"bytes */{size}"})
    if request.method == "HEAD":
        return HttpResponse(headers={"Content-Length": str(size)})
    # A web server's sendfile cannot stop before the end, so a part is not a file.
    response = StoredFileResponse(stored if positions is None else Part(stored, positions))
    response.headers["Content-Length"] = str(size if positions is None else len(positions))
    if positions is not None:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Content-Range"] = f"bytes {positions[0]}-{positions[-1]}/{size}"
    return response


def _skip(stored: IO[Any], count: int) -> None:
    """Skip the first bytes of a file that was just opened, by seek() or else by reading."""
    if count and stored.seekable():
        stored.seek(count)
        return
    while count and (piece := stored.read(min(count, PIECE_BYTES))):
        count -= len(piece)
