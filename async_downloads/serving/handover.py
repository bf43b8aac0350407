"""Files sent by the web server, or by the storage through a signed URL."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from async_downloads import settings
from async_downloads.files import storage
from async_downloads.serving.attachment import Attachment

__all__ = ["by_redirect", "by_x_accel", "by_x_sendfile"]


def by_x_accel(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Let nginx send the file, from the location of the storage's folder.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    storage.require(attachment.path)
    # nginx decodes the path once.
    target = settings.SERVE_LOCATION + quote(attachment.path)
    return HttpResponse(headers={**attachment.headers, "X-Accel-Redirect": target})


def by_x_sendfile(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Let Apache (mod_xsendfile) or lighttpd send the file, by its path on the disk.

    Raises:
        FileNotFoundError: The storage no longer has the file.
        NotImplementedError: The storage is not a folder of this machine.
    """
    storage.require(attachment.path)
    target = quote(storage.storage().path(attachment.path))
    return HttpResponse(headers={**attachment.headers, "X-Sendfile": target})


def by_redirect(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Redirect to the storage, with a newly signed URL.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    storage.require(attachment.path)
    url = storage.signed_url(
        attachment.path,
        content_type=attachment.content_type,
        disposition=attachment.disposition,
    )
    response = HttpResponseRedirect(url)
    response.headers["Cache-Control"] = attachment.headers["Cache-Control"]
    return response
