"""The list of downloads as markup, the same for every way that it travels."""

from typing import Any, Final

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django_htmx.middleware import HtmxDetails

from async_downloads import settings
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

#: Seconds between two polls while a worker is at something, by ``Listing.polling_tier``.
POLL_SECONDS: Final = (1, 3, 10)

#: Seconds between two polls while all that is left has stalled: it may yet finish.
STALLED_POLL_SECONDS: Final = 30


def render(listing: Listing, request: HttpRequest | None = None) -> SafeString:
    """Render a listing with what it takes to stay up to date.

    The fragment carries its version, and polls as long as something may change
    by itself; where changes are pushed, only as long as the socket is lost.

    Args:
        listing: What to show.
        request: The request that asked, for the context processors and the
            CSRF token of the forms; over a websocket its handshake.
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
        # It is for a page's own script to insert, so that page is the one to come back to.
        context["page"] = request.headers.get("Referer", "")
    return render_to_string(settings.DOWNLOAD_TEMPLATE, context, request)


def render_page(found: PageListing, request: HttpRequest, *, part: bool) -> SafeString:
    """Render one page of all downloads.

    Args:
        found: What to show.
        request: The request for the page.
        part: Whether to render only what changes, to be swapped into the page.
    """
    number = found.page.number
    here = f"{request.path}?page={number}"
    context = {
        "page_obj": found.page,
        "downloads": found.listing.downloads,
        "page": here if part else request.get_full_path(),
        "poll_url": here,
        "poll_seconds": _poll_seconds(found.listing),
        "version": str(found.listing.version),
        "centre": {"pushed": settings.WS_MODE, **htmx_assets.urls()},
    }
    return render_to_string(PAGE_PART_TEMPLATE if part else PAGE_TEMPLATE, context, request)


def render_signed_out(request: HttpRequest) -> SafeString:
    """Render what stands in for the list once the session has ended; it does not poll."""
    return render_to_string(SIGNED_OUT_TEMPLATE, {}, request)


def render_pushed(listing: Listing, request: HttpRequest) -> SafeString:
    """Render a listing for a websocket, which swaps it in by itself.

    Args:
        listing: What to show.
        request: The handshake of the websocket.
    """
    return render_to_string(SOCKET_TEMPLATE, {"fragment": render(listing, request)})


def _list_context(listing: Listing, request: HttpRequest | None) -> dict[str, Any]:
    """Return what a list template can use: the downloads, and the page to come back to."""
    if request is None or getattr(request, "scope", {}).get("type") == "websocket":
        # A websocket does not know on which page it was opened.
        return {"downloads": listing.downloads, "page": ""}
    # A poll knows the page that it updates; any other request is for the page itself.
    return {"downloads": listing.downloads, "page": _page_of(request) or request.get_full_path()}


def _page_of(request: HttpRequest) -> str | None:
    """Return the page that a poll says it is for; None if it says none of this site's."""
    try:
        return HtmxDetails(request).current_url_abs_path
    except ValueError:
        # It is not a URL.
        return None


def _poll_seconds(listing: Listing) -> int | None:
    if listing.in_progress:
        return POLL_SECONDS[listing.polling_tier]
    return STALLED_POLL_SECONDS if listing.stalled else None
