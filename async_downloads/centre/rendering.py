"""The summary and the list of downloads as markup, for pages, polls and websockets."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django_htmx.http import trigger_client_event
from django_htmx.middleware import HtmxDetails

from async_downloads import intervals, settings
from async_downloads.centre import htmx_assets, item_cache
from async_downloads.centre.sections import sections_of
from async_downloads.store import Listing, PageListing, Summary

__all__ = [
    "MAX_TOASTS",
    "MENU_SIZE",
    "data_attributes",
    "page_of",
    "poll_seconds",
    "render",
    "render_list",
    "render_page",
    "render_signed_out",
    "render_summary",
    "state_of",
    "with_refusal",
]

PAGE_TEMPLATE: Final = "async_downloads/download_list.html"
PAGE_PART_TEMPLATE: Final = "async_downloads/download_list_part.html"
FRAGMENT_TEMPLATE: Final = "async_downloads/fragment.html"
SIGNED_OUT_TEMPLATE: Final = "async_downloads/signed_out.html"
LIST_TEMPLATE: Final = "async_downloads/list.html"
REFUSAL_TEMPLATE: Final = "async_downloads/refusal.html"
TOAST_TEMPLATE: Final = "async_downloads/toast.html"

#: Downloads that the menu shows; the page of all downloads shows the others.
MENU_SIZE: Final = 20

#: Toasts that a page gets at once.
MAX_TOASTS: Final = 3


def render(
    listing: Listing,
    request: HttpRequest,
    toasts: Iterable[Any] = (),
    *,
    refusal: str = "",
    summary: bool = True,
) -> SafeString:
    """Render a listing for the open menu, behind the summary for its button.

    Args:
        listing: The downloads.
        request: The request, for the context processors and the CSRF token of the form.
        toasts: The downloads that have finished meanwhile.
        refusal: Why the server refuses what a button requests, for another toast.
        summary: Whether there is a summary: not if the owner does not see the list yet.
    """
    context = _list_context(listing, request)
    slots = {
        "summary": (
            render_summary(Summary.of(listing), request, toasts, refusal) if summary else ""
        ),
        "version": str(listing.version),
        "csrf_token": get_token(request),
        "page": context["page"],
        "list": context["list"],
    }
    frame = {
        "downloads": bool(listing.downloads),
        "has_forms": context["has_forms"],
        "total": listing.total,
        "finished": listing.finished,
        "newest": listing.newest,
    }
    return item_cache.render_frame(FRAGMENT_TEMPLATE, slots, frame, request)


def render_summary(
    summary: Summary, request: HttpRequest, toasts: Iterable[Any] = (), refusal: str = ""
) -> SafeString:
    """Render the state of the downloads for the button of a menu.

    Args:
        summary: The state.
        request: The request, for the context processors.
        toasts: The downloads that have finished since the page's last summary.
        refusal: Why the server refuses what a button requests, for another toast.
    """
    attributes = data_attributes(state_of(summary))
    markup = "".join(
        render_to_string(TOAST_TEMPLATE, {"download": download}, request) for download in toasts
    )
    if refusal:
        markup += render_to_string(REFUSAL_TEMPLATE, {"text": refusal}, request)
    # The templates have escaped every text of a person.
    return SafeString(f'<div class="async-downloads-summary" hidden{attributes}>{markup}</div>')


def state_of(summary: Summary) -> dict[str, str]:
    """Return what the button of a menu shows, as texts."""
    count = summary.running or summary.unseen
    if summary.running:
        state, label = "in-progress", gettext("Downloads: {count} in progress")
    elif summary.unseen:
        state, label = "has-new", gettext("Downloads: {count} new")
    else:
        state, label = "", gettext("Downloads")
    return {
        "version": summary.version,
        "since": summary.newest,
        "poll": str(poll_seconds(summary) or ""),
        "state": state,
        "count": str(count),
        "unseen": str(summary.unseen),
        "label": label.replace("{count}", str(count)),
        "percentage": str(summary.percentage),
    }


def data_attributes(values: Mapping[str, str]) -> SafeString:
    """Return texts as attributes whose names begin with ``data-``."""
    # Django's own function does the same to a text, and first asks whether it is a lazy one.
    return SafeString("".join(f' data-{name}="{escape(text)}"' for name, text in values.items()))


def render_list(listing: Listing, request: HttpRequest) -> SafeString:
    """Render a listing by the site's list template alone, with the form of its buttons."""
    # The page's script inserts the list, so that its forms return to that page.
    context = _list_context(listing, request) | {"page": request.headers.get("Referer", "")}
    return render_to_string(LIST_TEMPLATE, context, request)


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
        "has_own": any(row.team is None for row in page_listing.listing.downloads),
        "sections": sections_of(page_listing),
        "newest": page_listing.newest,
        "page": here if part else request.get_full_path(),
        "poll_url": here,
        "poll_seconds": poll_seconds(page_listing.listing),
        "version": str(page_listing.listing.version),
        "centre": {"htmx": htmx_assets.url("htmx-2.min.js")},
    }
    return render_to_string(PAGE_PART_TEMPLATE if part else PAGE_TEMPLATE, context, request)


def with_refusal(response: HttpResponse, text: str) -> HttpResponse:
    """Let scripts of the site know the text of a refusal; return the response.

    Args:
        response: The response to htmx, with a list.
        text: Why the server refuses what a button requests.
    """
    # On the body: the button may be gone before the event is sent.
    details = {"target": "body", "text": text}
    return trigger_client_event(response, "async-downloads:refused", details)


def render_signed_out(request: HttpRequest, sign_in_url: str) -> SafeString:
    """Render the fragment after the end of a session; it does not poll."""
    return render_to_string(SIGNED_OUT_TEMPLATE, {"sign_in_url": sign_in_url}, request)


def _list_context(listing: Listing, request: HttpRequest) -> dict[str, Any]:
    """Return the context of ``LIST_TEMPLATE``: the list, and the page to return to."""
    context = {"downloads": listing.downloads, "page": page_of(request)}
    markup = _list_of(listing, request)
    if markup is None:
        markup = render_to_string(settings.DOWNLOAD_TEMPLATE, context, request)
    # A form may not be inside of another one: a site's own list may have forms.
    return {**context, "list": markup, "has_forms": "<form" in markup}


def _list_of(listing: Listing, request: HttpRequest) -> SafeString | None:
    """Return the list as the package's template renders it; None if the site's is another one."""
    if settings.DOWNLOAD_TEMPLATE != item_cache.LIST_TEMPLATE or not listing.downloads:
        return None
    items = item_cache.render_items(listing.downloads, request)
    if items is None:
        return None
    return SafeString(f'<ul class="async-downloads-list" role="list">{items}</ul>')


def page_of(request: HttpRequest) -> str:
    """Return the page that has sent a request; empty if it is not a page of this site."""
    try:
        return HtmxDetails(request).current_url_abs_path or ""
    except ValueError:
        # The header is not a URL.
        return ""


def poll_seconds(state: Summary | Listing) -> int | None:
    """Return the seconds after which a page that shows this polls; None if it does not."""
    if state.in_progress:
        return intervals.POLL[state.polling_tier]
    return intervals.STALLED_POLL if state.stalled else None
