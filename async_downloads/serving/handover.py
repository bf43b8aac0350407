"""A file that somebody else sends: the web server, or the storage by a signed URL."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from async_downloads import settings
from async_downloads.files import storage
from async_downloads.serving.attachment import Attachment

__all__ = ["by_redirect", "by_x_accel", "by_x_sendfile"]


def by_x_accel(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Have nginx send the file, from the location that stands for the storage's folder.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    storage.require(attachment.path)
    # nginx decodes it once.
    where = settings.SERVE_LOCATION + quote(attachment.path)
    return HttpResponse(headers={**attachment.headers, "X-Accel-Redirect": where})


def by_x_sendfile(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Have Apache (mod_xsendfile) or lighttpd send the file, by its path on the disk.

    Raises:
        FileNotFoundError: The storage no longer has the file.
        NotImplementedError: The storage is not a folder of this machine.
    """
    storage.require(attachment.path)
    where = quote(storage.storage().path(attachment.path))
    return HttpResponse(headers={**attachment.headers, "X-Sendfile": where})


def by_redirect(request: HttpRequest, attachment: Attachment) -> HttpResponseBase:
    """Send the caller to the storage, with a URL that is signed anew for each click.

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
