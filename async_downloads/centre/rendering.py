"""The list of downloads as markup, for pages, polls and websockets."""

from typing import Any, Final

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django_htmx.middleware import HtmxDetails

from async_downloads import intervals, settings
from async_downloads.centre import htmx_assets
from async_downloads.store import Listing, PageListing

__all__ = [
    "MENU_SIZE",
    "render",
    "render_list",
    "render_page",
    "render_pushed",
    "render_signed_out",
]

PAGE_TEMPLATE: Final = "async_downloads/download_list.html"
PAGE_PART_TEMPLATE: Final = "async_downloads/download_list_part.html"
FRAGMENT_TEMPLATE: Final = "async_downloads/fragment.html"
SIGNED_OUT_TEMPLATE: Final = "async_downloads/signed_out.html"
SOCKET_TEMPLATE: Final = "async_downloads/socket.html"

#: Downloads that the menu shows; the page of all shows the others.
MENU_SIZE: Final = 20


def render(listing: Listing, request: HttpRequest | None = None) -> SafeString:
    """Render a listing as a fragment that keeps itself up to date.

    The fragment has its version, and polls while a download may change; with
    ``WS_MODE``, only while its socket is closed.

    Args:
        listing: The downloads.
        request: The request, for the context processors and the CSRF token of the
            forms; for a websocket, its handshake.
    """
    context = {
        **_list_context(listing, request),
        "in_progress": listing.in_progress,
        "list_template": settings.DOWNLOAD_TEMPLATE,
        "poll_seconds": _poll_seconds(listing),
        "pushed": settings.WS_MODE,
        "version": str(listing.version),
        "running": listing.running,
        "total": listing.total,
        "more": listing.total > len(listing.downloads),
        "finished": listing.finished,
    }
    return render_to_string(FRAGMENT_TEMPLATE, context, request)


def render_list(listing: Listing, request: HttpRequest | None = None) -> SafeString:
    """Render a listing by the site's list template alone."""
    context = _list_context(listing, request)
    if request is not None:
        # The page's script inserts the list, so that its forms return to that page.
        context["page"] = request.headers.get("Referer", "")
    return render_to_string(settings.DOWNLOAD_TEMPLATE, context, request)


def render_page(page_listing: PageListing, request: HttpRequest, *, part: bool) -> SafeString:
    """Render one page of all downloads.

    Args:
        page_listing: The page with its downloads.
        request: The request for the page.
        part: Whether to render only the part that a poll replaces.
    """
    number = page_listing.page.number
    here = f"{request.path}?page={number}"
    context = {
        "page_obj": page_listing.page,
        "downloads": page_listing.listing.downloads,
        "page": here if part else request.get_full_path(),
        "poll_url": here,
        "poll_seconds": _poll_seconds(page_listing.listing),
        "version": str(page_listing.listing.version),
        "centre": {"pushed": settings.WS_MODE, **htmx_assets.urls()},
    }
    return render_to_string(PAGE_PART_TEMPLATE if part else PAGE_TEMPLATE, context, request)


def render_signed_out(request: HttpRequest) -> SafeString:
    """Render the fragment after the end of a session; it does not poll."""
    return render_to_string(SIGNED_OUT_TEMPLATE, {}, request)


def render_pushed(listing: Listing, request: HttpRequest) -> SafeString:
    """Render a listing for a websocket, as an out-of-band swap.

    Args:
        listing: The downloads.
        request: The handshake of the websocket.
    """
    return render_to_string(SOCKET_TEMPLATE, {"fragment": render(listing, request)})


def _list_context(listing: Listing, request: HttpRequest | None) -> dict[str, Any]:
    """Return the context of a list template: the downloads, and the page to return to."""
    if request is None or getattr(request, "scope", {}).get("type") == "websocket":
        # A handshake does not have the URL of its page.
        return {"downloads": listing.downloads, "page": ""}
    # A poll has the URL of its page; any other request is for the page.
    return {"downloads": listing.downloads, "page": _page_of(request) or request.get_full_path()}


def _page_of(request: HttpRequest) -> str | None:
    """Return the page of a poll; None if it is not a page of this site."""
    try:
        return HtmxDetails(request).current_url_abs_path
    except ValueError:
        # The header is not a URL.
        return None


def _poll_seconds(listing: Listing) -> int | None:
    if listing.in_progress:
        return intervals.POLL[listing.polling_tier]
    return intervals.STALLED_POLL if listing.stalled else None
