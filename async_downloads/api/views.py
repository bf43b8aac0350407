"""The responses with JSON.

A poll whose ``If-None-Match`` is current gets 304, for one read of the cache and no query.
"""

import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    JsonResponse,
)
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from async_downloads import owners, store, teams
from async_downloads.api.conditional import Parameters, shown_version, tag
from async_downloads.api.entries import as_data
from async_downloads.api.openapi import describe
from async_downloads.api.problems import errors_as_json, problem, unauthenticated
from async_downloads.api.schemas import DownloadListData
from async_downloads.centre import rendering
from async_downloads.store import Listing, Version
from async_downloads.utils.atomic_requests import outside_transactions

__all__ = ["accepted", "current", "detail", "list_downloads", "openapi"]

#: Seconds for which a client uses the description without revalidation.
DESCRIPTION_SECONDS: Final = 60 * 60


def list_downloads(request: HttpRequest) -> HttpResponse:
    """Return the user's downloads, or 304 if the client has them.

    Args:
        request: The request of a signed-in user, with ``page``, ``limit``, ``html`` and ``seen``.
    """
    try:
        parameters = Parameters.parse(request.GET)
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error))
    owner, shown = teams.owner_of(request), shown_version(request, *parameters)
    listing = store.read_changes(
        owner, shown, limit=parameters.limit, offset=parameters.offset, with_unseen=True
    )
    if listing is None:
        return _not_modified(request, shown, *parameters)
    if not listing.downloads and parameters.page > 1:
        raise Http404(_("This page does not exist."))
    data: DownloadListData = {
        "downloads": as_data(listing.downloads, user=owners.name_of(request.user)),
        "total": listing.total,
        "page": parameters.page,
        "limit": parameters.limit,
        "in_progress": listing.in_progress,
        "running": listing.running,
        "percentage": listing.percentage,
        "poll_seconds": rendering.poll_seconds(listing),
        "clear_finished_url": reverse("async_downloads:clear_finished"),
    }
    if parameters.html:
        first = replace(listing, downloads=listing.downloads[: rendering.MENU_SIZE])
        data["html"] = rendering.render_list(first, request)
    if parameters.seen:
        store.mark_seen(owner, listing)
    return JsonResponse(data, headers={"ETag": tag(request, listing.version, *parameters)})


@errors_as_json
@login_not_required
@outside_transactions
@require_safe
@vary_on_headers("Cookie")
@cache_control(private=True, no_store=True)
def detail(request: HttpRequest, download_key: uuid.UUID) -> HttpResponse:
    """Return one of the user's downloads, or 304 if the client has it."""
    if not request.user.is_authenticated:
        return unauthenticated()
    shown = shown_version(request)
    listing = store.read_one_change(teams.owner_of(request), download_key, shown)
    if listing is None:
        return _not_modified(request, shown)
    response = _one(request, listing)
    if response.status_code == HTTPStatus.OK:
        response.headers["ETag"] = tag(request, listing.version)
    return response


def accepted(request: HttpRequest, download_key: uuid.UUID) -> HttpResponse:
    """Return one of the user's downloads that is being built again, with its URL."""
    response = current(request, download_key)
    if response.status_code == HTTPStatus.OK:
        response.status_code = HTTPStatus.ACCEPTED
        response.headers["Location"] = reverse("async_downloads:detail", args=[download_key])
    return response


def current(request: HttpRequest, download_key: uuid.UUID) -> HttpResponse:
    """Return one of the user's downloads as it is now."""
    return _one(request, store.read_one_change(teams.owner_of(request), download_key))


@login_not_required
@outside_transactions
@require_safe
@cache_control(public=True, max_age=DESCRIPTION_SECONDS)
def openapi(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI description of the JSON."""
    return JsonResponse(describe())


def _one(request: HttpRequest, listing: Listing | None) -> HttpResponse:
    """Return the download of a listing that has one at most."""
    downloads = listing.downloads if listing else ()
    for data in as_data(downloads, user=owners.name_of(request.user)):
        return JsonResponse(data)
    return problem(HTTPStatus.NOT_FOUND, _("This download does not exist."))


def _not_modified(request: HttpRequest, shown: Version | None, *selection: Any) -> HttpResponse:
    """Return that a client has all of a response already."""
    etag = tag(request, shown, *selection) if shown else ""
    return HttpResponseNotModified(headers={"ETag": etag})
