"""A stored file to a response, in the way that ``ASYNC_DOWNLOADS_SERVE`` names.

``attachment`` says what every way has in common. Django reads the file itself
(``streaming``), or leaves that to the web server or the storage (``handover``).
"""

from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from async_downloads import settings
from async_downloads.serving.attachment import Attachment
from async_downloads.serving.handover import by_redirect, by_x_accel, by_x_sendfile
from async_downloads.serving.ranges import leaves_out_the_beginning
from async_downloads.serving.streaming import stream

__all__ = ["WAYS", "Attachment", "begins", "serve"]

#: The values of ``ASYNC_DOWNLOADS_SERVE``.
WAYS = {
    "stream": stream,
    "x-accel": by_x_accel,
    "x-sendfile": by_x_sendfile,
    "redirect": by_redirect,
}


def serve(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Answer with a stored file, once it is clear that the caller may have it.

    It is always an attachment, never sniffed and never kept by a cache, so that
    markup in an export cannot run and nobody else is handed it.

    Args:
        request: GET or HEAD, which may ask for a range.
        attachment: The file.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    return WAYS[settings.SERVE](request, attachment)


def begins(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether an answer hands a file out from its beginning, and not the rest of it.

    Args:
        request: What was asked.
        response: What ``serve`` has answered.
    """
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        return response.headers["Content-Range"].startswith("bytes 0-")
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.FOUND):
        return False
    # What is handed over is cut into ranges by whoever sends it.
    return response.streaming or not leaves_out_the_beginning(request)
