"""A file in pieces, read by Django: the whole or a part of it, in constant memory."""

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
from async_downloads.serving.ranges import UnsatisfiableRangeError, wanted

__all__ = ["StoredFileResponse", "stream"]

#: Bytes that are read at a time. Under ASGI each piece costs a change of threads.
PIECE_BYTES: Final = 1 << 16


class StoredFileResponse(FileResponse):
    """A file in pieces, under WSGI and ASGI alike.

    Django's own class reads the whole file into memory under ASGI, because its
    iterator is a synchronous one.
    """

    block_size = PIECE_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, each read in a thread."""
        pieces = iter(self)
        read = sync_to_async(partial(next, pieces, None), thread_sensitive=False)
        while (piece := await read()) is not None:
            yield piece


class Part:
    """Some of the bytes of an open file, which is closed with it."""

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
    """Answer with the file, with the part that is asked for, or that nothing has changed.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    size, headers = storage.size_of(attachment.path, default=attachment.size), attachment.headers
    stored = storage.storage().open(attachment.path, "rb")
    response = _without_bytes(request, attachment, size)
    if response is None:
        response = _bytes(stored, wanted(request, size=size, etag=attachment.etag), size)
    else:
        stored.close()
    for name, value in headers.items():
        response.headers[name] = value
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = attachment.etag
    return response


def _without_bytes(
    request: HttpRequest, attachment: Attachment, size: int
) -> HttpResponseBase | None:
    """Return the answer if it is one that needs no byte of the file."""
    response = get_conditional_response(request, etag=attachment.etag)
    if response is not None:
        return response
    try:
        wanted(request, size=size, etag=attachment.etag)
    except UnsatisfiableRangeError:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return HttpResponse(status=status, headers={"Content-Range": f"bytes */{size}"})
    return HttpResponse(headers={"Content-Length": str(size)}) if request.method == "HEAD" else None


def _bytes(stored: IO[Any], positions: range | None, size: int) -> HttpResponseBase:
    # Only a whole file may be read by the web server itself, which knows no end but the last.
    response = StoredFileResponse(stored if positions is None else Part(stored, positions))
    response.headers["Content-Length"] = str(size if positions is None else len(positions))
    if positions is not None:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Content-Range"] = f"bytes {positions[0]}-{positions[-1]}/{size}"
    # Or GZipMiddleware would compress it: no length to show progress by, and no ranges.
    response.headers["Content-Encoding"] = "identity"
    return response


def _skip(stored: IO[Any], count: int) -> None:
    """Go to a position of a file that was just opened, whether it can be sought in or not."""
    if count and stored.seekable():
        stored.seek(count)
        return
    while count and (piece := stored.read(min(count, PIECE_BYTES))):
        count -= len(piece)
