"""The URLs of a signed-in person: list, clear, fetch."""

import uuid
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Final

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition, require_GET, require_POST, require_safe
from django_htmx.middleware import HtmxDetails

from async_downloads import fragments, owners, scripts, serving, store
from async_downloads.store import Version

__all__ = ["ajax_clear_download", "ajax_update", "download", "script"]

#: Seconds that a browser keeps a script before it asks whether there is another.
SCRIPT_SECONDS: Final = 60 * 60

View = Callable[[HttpRequest], HttpResponse]


def for_signed_in(view: View) -> View:
    """Send a visitor to sign in; a page whose session has ended is told so in its menu."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request)
        if HtmxDetails(request):
            # A redirect would swap the sign-in page into the menu.
            response = HttpResponse(fragments.render_signed_out(request))
            patch_cache_control(response, private=True, no_store=True)
            return response
        return redirect_to_login(request.get_full_path())

    return wrapped


@require_GET
@for_signed_in
def ajax_update(request: HttpRequest) -> HttpResponse:
    """Answer with the caller's downloads: the fragment for htmx, JSON for anybody else.

    A page that brings the ``version`` that it shows gets 204 if that is still right.
    """
    answer = _list_as_fragment if HtmxDetails(request) else _list_as_json
    response = answer(request)
    # Both are found under one URL, and neither is anybody else's business.
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_store=True)
    return response


@require_POST
@for_signed_in
def ajax_clear_download(request: HttpRequest) -> HttpResponse:
    """Remove one of the caller's downloads, named by ``download_key`` or ``filepath``.

    htmx gets the list that is left, a plain form is sent back to its page
    (``next``), and any other caller gets an empty answer.
    """
    cleared = store.clear(
        request.user.pk,
        download_key=_key(request.POST.get("download_key", "")),
        filepath=request.POST.get("filepath", ""),
    )
    if HtmxDetails(request):
        # Also when there was no such download: the page that asked is out of date.
        left = store.read_listing(owners.resolve(request.user))
        return HttpResponse(fragments.render(left, request))
    if not cleared:
        raise Http404(_("There is no such download."))
    back = request.POST.get("next", "")
    if back and url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return HttpResponseRedirect(back)
    return HttpResponse("")


@require_safe
@login_required
def download(request: HttpRequest, download_key: uuid.UUID) -> HttpResponseBase:
    """Hand a complete file to its owner."""
    found = store.get_for_user(request.user.pk, download_key)
    if found is None or not found.complete:
        raise Http404(_("There is no such download."))
    try:
        return serving.serve(found.filepath, found.filename)
    except FileNotFoundError:
        context = {"download": found}
        response = render(request, "async_downloads/gone.html", context, status=HTTPStatus.GONE)
        patch_cache_control(response, private=True, no_store=True)
        return response


@require_safe
@cache_control(public=True, max_age=SCRIPT_SECONDS)
@condition(etag_func=lambda request, name: scripts.etag())
def script(request: HttpRequest, name: str) -> HttpResponse:
    """Hand out htmx to a page whose site does not serve it as a static file."""
    try:
        return HttpResponse(scripts.content(name), content_type="text/javascript; charset=utf-8")
    except KeyError:
        raise Http404(_("There is no such script.")) from None


def _list_as_fragment(request: HttpRequest) -> HttpResponse:
    seen = Version.parse(request.GET.get("version", ""))
    listing = store.read_changes(owners.resolve(request.user), seen)
    if listing is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return HttpResponse(fragments.render(listing, request))


def _list_as_json(request: HttpRequest) -> HttpResponse:
    listing = store.read_listing(owners.resolve(request.user))
    user = request.user.get_username()
    return JsonResponse(
        {
            "html": fragments.render_list(listing, request),
            "downloads": [store.entry_of(item, user=user) for item in listing.downloads],
            "in_progress": listing.in_progress,
        }
    )


def _key(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
