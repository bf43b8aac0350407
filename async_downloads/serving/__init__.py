"""A stored file as a response, by the method of ``ASYNC_DOWNLOADS_SERVE``.

Django sends the file itself (``streaming``), or leaves that to the web server or the
storage (``handover``). The headers of ``attachment`` are common to all methods.
"""

from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from async_downloads import settings
from async_downloads.serving.attachment import Attachment
from async_downloads.serving.handover import by_redirect, by_x_accel, by_x_sendfile
from async_downloads.serving.ranges import skips_the_beginning
from async_downloads.serving.streaming import StoredFileResponse, stream

__all__ = ["METHODS", "Attachment", "begins", "discard", "hands_out", "serve"]

#: The values of ``ASYNC_DOWNLOADS_SERVE``.
METHODS = {
    "stream": stream,
    "x-accel": by_x_accel,
    "x-sendfile": by_x_sendfile,
    "redirect": by_redirect,
}


def serve(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Return a response with a stored file. The caller checks permissions first.

    The file is an attachment that browsers neither sniff nor cache, so that markup in
    an export cannot run and no cache hands it to another person.

    Args:
        request: GET or HEAD, with or without a Range header.
        attachment: The file.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    return METHODS[settings.SERVE](request, attachment)


def discard(response: HttpResponseBase) -> None:
    """Close the file of a response that is not sent.

    Args:
        response: The response of ``serve``.
    """
    # close() would announce the end of the request.
    if isinstance(response, StoredFileResponse):
        response.source.close()


def hands_out(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether a response has any byte of the file, or a URL for all of them.

    Args:
        request: The request.
        response: The response of ``serve``.
    """
    if response.status_code == HTTPStatus.FOUND:
        # The signed URL is in the headers, which HEAD gets too.
        return True
    sent = response.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
    return sent and request.method == "GET"


def begins(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether a response begins at the first byte of the file.

    Args:
        request: The request.
        response: The response of ``serve``.
    """
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        return response.headers["Content-Range"].startswith("bytes 0-")
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.FOUND):
        return False
    # The web server or the storage applies the Range header.
    return response.streaming or not skips_the_beginning(request)
