"""The ledger: a record of each file, written before the file is handed out.

A file whose record cannot be written is not handed out. See ``ASYNC_DOWNLOADS_AUDIT``.
"""

from ipaddress import ip_address, ip_network
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from async_downloads import serving, settings, store
from async_downloads.models import Download
from async_downloads.utils.log import get_logger
from async_downloads.utils.site_functions import site_function

__all__ = ["record", "remote_address", "remote_network"]

logger = get_logger(__name__)

#: The bits that ``remote_network`` keeps, by the version of the address: a network of IPv4
#: with 256 addresses, and the IPv6 addresses that one customer gets at most.
NETWORK_BITS: Final = {4: 24, 6: 48}


def allows(request: HttpRequest, download: Download, response: HttpResponseBase) -> bool:
    """Record the file that a response hands out, if it hands out any.

    Args:
        request: The request, whose user may fetch the file.
        download: The row.
        response: The response of ``serving.serve``.

    Returns:
        Whether to send the response: not if the record could not be written.
    """
    if not settings.AUDIT or not serving.hands_out(request, response):
        return True
    begins = request.method == "GET" and serving.begins(request, response)
    try:
        if begins or not store.was_handed_out_lately(download, request.user):
            record(request, download)
    except Exception:
        logger.exception("Download %s is not handed out: its record failed", download.pk)
        return False
    return True


def record(request: HttpRequest, download: Download) -> None:
    """Write that a file is handed out, in the ledger and in the log.

    ``async_downloads:download`` calls it. A view of the site's own that sends the file of a
    download calls it first, and lets what it raises pass. It does nothing if
    ``ASYNC_DOWNLOADS_AUDIT`` is off.

    Args:
        request: The request, with its user.
        download: The row of a complete download.

    Raises:
        Exception: The record was not written: the database failed, or the function that
            ``ASYNC_DOWNLOADS_AUDIT_ADDRESS`` names. Do not hand out the file.
    """
    if not settings.AUDIT:
        return
    address = ""
    if settings.AUDIT_ADDRESS:
        address = str(site_function("AUDIT_ADDRESS")(request))
    written = store.write_fetch_record(download, request.user, address)
    fields = {
        name: getattr(written, name)
        for name in (
            *("fetched_at", "user_key", "user_name", "download_key", "download_name"),
            *("file_name", "owner", "size", "address"),
        )
    }
    fields["download_key"] = str(written.download_key)
    logger.info(
        "The file of download %s is handed out to user %s",
        fields["download_key"],
        fields["user_key"],
        extra=fields,
    )


def remote_address(request: HttpRequest) -> str:
    """Return the address that the connection of a request comes from; empty if unknown.

    Behind a proxy that is the proxy, unless the web server or a middleware of the site puts
    the person's address into ``REMOTE_ADDR``. No header is read, because anyone can send one.

    Args:
        request: The request.
    """
    return str(request.META.get("REMOTE_ADDR") or "")


def remote_network(request: HttpRequest) -> str:
    """Return the network of ``remote_address``, such as ``"192.0.2.0/24"``; empty if unknown.

    It keeps 24 bits of an IPv4 address and 48 bits of an IPv6 address.

    Args:
        request: The request.
    """
    try:
        address = ip_address(remote_address(request).partition("%")[0])
    except ValueError:
        return ""
    # A socket for both versions has the addresses of the older one in this form.
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ip_network((address, NETWORK_BITS[address.version]), strict=False))
