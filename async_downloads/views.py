"""The URLs of a signed-in person: list, clear, fetch.

None of them takes part in ``ATOMIC_REQUESTS``: a poll would begin a transaction
every second, which waits for the writers of an SQLite that begins them with its
lock, and clearing would have to wait for whoever has the row locked.
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

#: Seconds that a browser keeps a script before it asks whether there is another.
SCRIPT_SECONDS: Final = 60 * 60

#: Downloads that one answer in JSON lists, the newest: ten thousand would take twenty seconds.
JSON_SIZE: Final = 1000

#: Characters of an address in a header of an answer: web servers refuse headers of more than
#: four kilobytes, and what a sign-in page is to lead back to is encoded once more.
MAX_ADDRESS: Final = 1200

View = Callable[[HttpRequest], HttpResponse]

AnyView = Callable[..., HttpResponseBase]


def for_signed_in(view: View) -> View:
    """Send a visitor to sign in; a page whose session has ended is told so in its menu."""

    # Else Django's LoginRequiredMiddleware would send the menu to the sign-in page.
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
    """Send a visitor to sign in, and from there to this page."""

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
    """Answer with the caller's downloads: the fragment for htmx, JSON for anybody else.

    JSON lists the newest ``JSON_SIZE``, and its ``html`` those of the menu. A page that
    brings the ``version`` that it shows gets 204 if that is still right.
    """
    answer = _list_as_fragment if HtmxDetails(request) else _list_as_json
    response = answer(request)
    # Both are found under one URL, and neither is anybody else's business.
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    return response


@non_atomic_requests
@require_POST
@for_signed_in
def ajax_clear_download(request: HttpRequest) -> HttpResponse:
    """Remove one of the caller's downloads, named by ``download_key`` or ``filepath``.

    htmx gets the list that is left, a plain form is sent back to its page
    (``next``), and any other caller gets an empty answer.
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
        # Also when there was no such download: the page that asked is out of date.
        return _menu(request)
    if not cleared:
        raise Http404(_("There is no such download."))
    return _back(request) or HttpResponse("")


@non_atomic_requests
@require_POST
@for_signed_in
def clear_finished(request: HttpRequest) -> HttpResponse:
    """Remove all of the caller's downloads that are complete or have failed.

    htmx gets the list that is left; anybody else is sent back to their page
    (``next``), or to the list of all downloads.
    """
    try:
        store.clear_finished(request.user.pk)
    except DatabaseError:
        logger.warning("What has finished could not be cleared", exc_info=True)
        return _busy()
    if HtmxDetails(request):
        return _menu(request)
    return _back(request) or redirect("async_downloads:download_list")


@non_atomic_requests
@require_safe
@for_signed_in
def download_list(request: HttpRequest) -> HttpResponse:
    """Show all of the caller's downloads, page by page, as a page of its own.

    A page that brings the ``version`` that it shows gets 204 if that is still right, and
    what changes of it otherwise.
    """
    part = bool(HtmxDetails(request)) and "version" in request.GET
    seen = Version.parse(request.GET["version"]) if part else None
    number = request.GET.get("page", 1)
    found = store.read_page_changes(owners.resolve(request.user), number, seen)
    if found is None:
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
    else:
        response = HttpResponse(rendering.render_page(found, request, part=part))
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    return response


@non_atomic_requests
@require_safe
@page_for_signed_in
def download(request: HttpRequest, download_key: uuid.UUID) -> HttpResponseBase:
    """Hand a complete file to its owner, or to staff with the permission, unless the site refuses.

    It counts as fetched when it is asked for from its beginning.
    """
    found = store.get_for_user(request.user.pk, download_key)
    if found is None and permissions.may_fetch_of_others(request.user):
        found = store.get_for_staff(download_key)
    if found is None or not (found.complete or found.file_missing):
        raise Http404(_("There is no such download."))
    if not permissions.may_fetch(request.user, found):
        raise Http404(_("There is no such download."))
    if found.file_missing:
        return _gone(request, found)
    try:
        response = serving.serve(request, store.attachment_of(found))
    except FileNotFoundError:
        return _gone(request, found) if store.record_missing_file(found) else _busy()
    except Exception:
        logger.exception("The storage could not hand out %s", found.filepath)
        return _busy()
    if request.method == "GET" and serving.begins(request, response):
        store.record_fetch(found, request.user)
    return response


@login_not_required
@require_safe
@cache_control(public=True, max_age=SCRIPT_SECONDS)
@condition(etag_func=lambda request, name: htmx_assets.etag(name))
def script(request: HttpRequest, name: str) -> HttpResponse:
    """Hand out a script to a page whose site does not serve it as a static file."""
    try:
        return HttpResponse(
            htmx_assets.content(name), content_type="text/javascript; charset=utf-8"
        )
    except KeyError:
        raise Http404(_("There is no such script.")) from None


def _gone(request: HttpRequest, found: Any) -> HttpResponse:
    context = {"download": found}
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
    """Return a redirect to the page that a form names, if it is one of this site's."""
    address = _bounded(request.POST.get("next", ""))
    allowed = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(address) if allowed else None


def _sign_in(request: HttpRequest) -> HttpResponse:
    """Return a redirect to the page of the sign-in, which leads back from there."""
    address = _bounded(request.get_full_path())
    if urlsplit(resolve_url(project_settings.LOGIN_URL)).netloc not in {"", request.get_host()}:
        # From another host, only the whole address leads back.
        address = request.build_absolute_uri(address)
    return redirect_to_login(address)


def _bounded(address: str) -> str:
    """Return an address if it fits into a header, else without its query; or an empty text."""
    for candidate in (address, address.partition("?")[0]):
        with suppress(UnicodeEncodeError):
            if len(iri_to_uri(candidate)) <= MAX_ADDRESS:
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
