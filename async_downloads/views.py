"""The views of a signed-in person: list, clear, fetch.

``ATOMIC_REQUESTS`` does not apply to them: a poll would begin a transaction every
second, which on SQLite waits for writers, and clearing would wait for a locked row.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings as project_settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import DatabaseError
from django.db.transaction import non_atomic_requests
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import redirect, render, resolve_url
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.encoding import iri_to_uri
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition, require_GET, require_POST, require_safe
from django_htmx.middleware import HtmxDetails

from async_downloads import owners, permissions, serving, store
from async_downloads.centre import htmx_assets, rendering
from async_downloads.store import Version
from async_downloads.utils.log import get_logger

__all__ = [
    "ajax_clear_download",
    "ajax_update",
    "clear_finished",
    "download",
    "download_list",
    "script",
]

logger = get_logger(__name__)

#: Seconds for which a browser uses a script without revalidation.
SCRIPT_SECONDS: Final = 60 * 60

#: Downloads in a JSON response, the newest: ten thousand would take twenty seconds.
JSON_SIZE: Final = 1000

#: Characters of a URL in a response header: web servers refuse headers above four
#: kilobytes, and a sign-in URL encodes the next URL once more.
MAX_URL_LENGTH: Final = 1200

View = Callable[[HttpRequest], HttpResponse]

AnyView = Callable[..., HttpResponseBase]


def for_signed_in(view: View) -> View:
    """Redirect visitors to the sign-in page; the menu gets a fragment that says so instead."""

    # Otherwise, Django's LoginRequiredMiddleware would redirect the menu's poll.
    @login_not_required
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request)
        htmx = HtmxDetails(request)
        if htmx and not htmx.boosted:
            # A redirect would swap the sign-in page into the menu.
            response = HttpResponse(rendering.render_signed_out(request))
            patch_cache_control(response, private=True, no_store=True)
            return response
        return _sign_in(request)

    return wrapped


def page_for_signed_in(view: AnyView) -> AnyView:
    """Redirect visitors to the sign-in page, which leads back here."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        return _sign_in(request)

    return wrapped


@non_atomic_requests
@require_GET
@for_signed_in
def ajax_update(request: HttpRequest) -> HttpResponse:
    """Return the user's downloads: a fragment for htmx, JSON for other clients.

    JSON has the newest ``JSON_SIZE`` downloads, and ``html`` those of the menu. A poll
    with a current ``version`` gets 204.
    """
    response = _list_as_fragment(request) if HtmxDetails(request) else _list_as_json(request)
    # One URL has two representations, and both are private.
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    return response


@non_atomic_requests
@require_POST
@for_signed_in
def ajax_clear_download(request: HttpRequest) -> HttpResponse:
    """Clear one of the user's downloads, by its ``download_key`` or ``filepath``.

    htmx gets the new list, a form a redirect to its page (``next``), and any other
    client an empty response.
    """
    try:
        cleared = store.clear(
            request.user.pk,
            download_key=_key(request.POST.get("download_key", "")),
            filepath=request.POST.get("filepath", ""),
        )
    except DatabaseError:
        logger.warning("A download could not be cleared", exc_info=True)
        return _busy()
    if HtmxDetails(request):
        # Also for an unknown download: the page is out of date.
        return _menu(request)
    if not cleared:
        raise Http404(_("This download does not exist."))
    return _back(request) or HttpResponse("")


@non_atomic_requests
@require_POST
@for_signed_in
def clear_finished(request: HttpRequest) -> HttpResponse:
    """Clear all of the user's finished downloads.

    htmx gets the new list, and any other client a redirect to its page (``next``) or to
    the list of all downloads.
    """
    try:
        store.clear_finished(request.user.pk)
    except DatabaseError:
        logger.warning("The finished downloads could not be cleared", exc_info=True)
        return _busy()
    if HtmxDetails(request):
        return _menu(request)
    return _back(request) or redirect("async_downloads:download_list")


@non_atomic_requests
@require_safe
@for_signed_in
def download_list(request: HttpRequest) -> HttpResponse:
    """Show all of the user's downloads, page by page.

    A poll with a current ``version`` gets 204, and otherwise the part to replace.
    """
    part = bool(HtmxDetails(request)) and "version" in request.GET
    seen = Version.parse(request.GET["version"]) if part else None
    number = request.GET.get("page", 1)
    page = store.read_page_changes(owners.resolve(request.user), number, seen)
    if page is None:
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
    else:
        response = HttpResponse(rendering.render_page(page, request, part=part))
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    return response


@non_atomic_requests
@require_safe
@page_for_signed_in
def download(request: HttpRequest, download_key: uuid.UUID) -> HttpResponseBase:
    """Send a complete file to its owner or to permitted staff, unless the site refuses.

    A request for the beginning of the file counts as a fetch.
    """
    row = store.get_for_user(request.user.pk, download_key)
    if row is None and permissions.may_fetch_of_others(request.user):
        row = store.get_for_staff(download_key)
    if row is None or not (row.complete or row.file_missing):
        raise Http404(_("This download does not exist."))
    if not permissions.may_fetch(request.user, row):
        raise Http404(_("This download does not exist."))
    if row.file_missing:
        return _gone(request, row)
    try:
        response = serving.serve(request, store.attachment_of(row))
    except FileNotFoundError:
        return _gone(request, row) if store.record_missing_file(row) else _busy()
    except Exception:
        logger.exception("The storage could not send %s", row.filepath)
        return _busy()
    if request.method == "GET" and serving.begins(request, response):
        store.record_fetch(row, request.user)
    return response


@login_not_required
@require_safe
@cache_control(public=True, max_age=SCRIPT_SECONDS)
@condition(etag_func=lambda request, name: htmx_assets.etag(name))
def script(request: HttpRequest, name: str) -> HttpResponse:
    """Return a script that the site does not serve as a static file."""
    try:
        return HttpResponse(
            htmx_assets.content(name), content_type="text/javascript; charset=utf-8"
        )
    except KeyError:
        raise Http404(_("This script does not exist.")) from None


def _gone(request: HttpRequest, row: Any) -> HttpResponse:
    context = {"download": row}
    response = render(request, "async_downloads/gone.html", context, status=HTTPStatus.GONE)
    patch_cache_control(response, private=True, no_store=True)
    return response


def _busy() -> HttpResponse:
    return HttpResponse(
        _("The server is busy. Please try again in a moment."),
        content_type="text/plain; charset=utf-8",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": "5"},
    )


def _menu(request: HttpRequest) -> HttpResponse:
    listing = store.read_listing(owners.resolve(request.user), limit=rendering.MENU_SIZE)
    return HttpResponse(rendering.render(listing, request))


def _back(request: HttpRequest) -> HttpResponse | None:
    """Return a redirect to the page that a form names; None if it is not of this site."""
    url = _bounded(request.POST.get("next", ""))
    allowed = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(url) if allowed else None


def _sign_in(request: HttpRequest) -> HttpResponse:
    """Return a redirect to the sign-in page, which leads back to the requested page."""
    url = _bounded(request.get_full_path())
    if urlsplit(resolve_url(project_settings.LOGIN_URL)).netloc not in {"", request.get_host()}:
        # Another host needs the absolute URL.
        url = request.build_absolute_uri(url)
    return redirect_to_login(url)


def _bounded(url: str) -> str:
    """Return a URL that fits into a header, if need be without its query; or an empty text."""
    for candidate in (url, url.partition("?")[0]):
        with suppress(UnicodeEncodeError):
            if len(iri_to_uri(candidate)) <= MAX_URL_LENGTH:
                return candidate
    return ""


def _list_as_fragment(request: HttpRequest) -> HttpResponse:
    seen = Version.parse(request.GET.get("version", ""))
    owner = owners.resolve(request.user)
    listing = store.read_changes(owner, seen, limit=rendering.MENU_SIZE)
    if listing is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return HttpResponse(rendering.render(listing, request))


def _list_as_json(request: HttpRequest) -> HttpResponse:
    listing = store.read_listing(owners.resolve(request.user), limit=JSON_SIZE)
    shown = replace(listing, downloads=listing.downloads[: rendering.MENU_SIZE])
    user = request.user.get_username()
    return JsonResponse(
        {
            "html": rendering.render_list(shown, request),
            "downloads": [store.cache_entry_of(item, user=user) for item in listing.downloads],
            "in_progress": listing.in_progress,
        }
    )


def _key(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
