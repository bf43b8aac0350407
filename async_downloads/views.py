"""The views of a signed-in person: list, clear, fetch.

``ATOMIC_REQUESTS`` does not apply to them: a poll would begin a transaction every
second, which on SQLite waits for writers, and clearing would wait for a locked row.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings as project_settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.encoding import iri_to_uri
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition, require_GET, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.middleware import HtmxDetails

from async_downloads import audit, permissions, serving, settings, store, teams
from async_downloads.api import views as api
from async_downloads.api.problems import errors_as_json, problem, unauthenticated, wants_json
from async_downloads.api.views import detail, openapi
from async_downloads.centre import htmx_assets, rendering
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.executors import starting
from async_downloads.store import Summary, Version
from async_downloads.utils.atomic_requests import outside_transactions
from async_downloads.utils.log import get_logger
from async_downloads.utils.moments import parse_moment

__all__ = [
    "ajax_clear_download",
    "ajax_update",
    "clear_finished",
    "detail",
    "download",
    "download_list",
    "keep",
    "openapi",
    "retry",
    "script",
]

logger = get_logger(__name__)

#: Seconds for which a browser uses a script without revalidation.
SCRIPT_SECONDS: Final = 60 * 60

#: Characters of a URL in a response header: web servers refuse headers above four
#: kilobytes, and a sign-in URL encodes the next URL once more.
MAX_URL_LENGTH: Final = 1200

View = Callable[..., HttpResponseBase]


class _Refusal(NamedTuple):
    """Why a download is not built again.

    Attributes:
        text: The reason, for the owner.
        status: The status for a client other than htmx.
    """

    text: str
    status: HTTPStatus


def for_signed_in(view: View) -> View:
    """Redirect visitors to the sign-in page.

    The menu gets a fragment that says so instead, and a client that wants JSON gets 401.
    """

    # Otherwise, Django's LoginRequiredMiddleware would redirect the menu's poll.
    @login_not_required
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        htmx = HtmxDetails(request)
        if htmx and not htmx.boosted:
            # A redirect would swap the sign-in page into the menu.
            sign_in = _sign_in(request, rendering.page_of(request))
            response = HttpResponse(rendering.render_signed_out(request, sign_in.url))
            patch_cache_control(response, private=True, no_store=True)
            return response
        if wants_json(request):
            return unauthenticated()
        return _sign_in(request, request.get_full_path())

    return wrapped


@errors_as_json
@outside_transactions
@require_GET
@for_signed_in
@vary_on_headers("HX-Request", "Cookie")
@cache_control(private=True, no_store=True)
def ajax_update(request: HttpRequest) -> HttpResponse:
    """Return the user's downloads: markup for htmx, JSON for other clients.

    With ``summary``, the markup is the state of the button; otherwise it is the list. A poll
    with a current ``version`` gets 204, and one for JSON with a current ``If-None-Match`` 304.
    """
    if not HtmxDetails(request):
        return api.list_downloads(request)
    return _summary(request) if "summary" in request.GET else _list(request)


@errors_as_json
@outside_transactions
@require_POST
@for_signed_in
def ajax_clear_download(request: HttpRequest) -> HttpResponse:
    """Clear one of the user's downloads, by its ``download_key`` or ``filepath``.

    htmx gets the new list, a form a redirect to its page (``next``), and any other
    client an empty response. One that staff hold is not cleared.
    """
    which: Any = {
        "download_key": _key(request),
        "filepath": request.POST.get("filepath", ""),
    }
    try:
        cleared = store.clear(request.user.pk, **which) or store.clear_of_teams(
            teams.owner_of(request), **which
        )
    except PermissionDenied:
        return _refused(request, _only_to_fetch())
    except store.HeldError:
        return _refused(request, _Refusal(_("Staff keep this file for now."), HTTPStatus.CONFLICT))
    except DatabaseError:
        logger.warning("A download could not be cleared", exc_info=True)
        return _busy()
    if HtmxDetails(request):
        # Also for an unknown download: the page is out of date.
        return _menu(request)
    if not cleared:
        raise Http404(_("This download does not exist."))
    return _back(request) or _done(request)


@errors_as_json
@outside_transactions
@require_POST
@for_signed_in
def clear_finished(request: HttpRequest) -> HttpResponse:
    """Clear the user's finished downloads: all, or those that finished ``until`` a time.

    Those that staff hold stay.

    htmx gets the new list, a client that wants JSON an empty response, and any other one a
    redirect to its page (``next``) or to the list of all downloads.
    """
    text = _parameter(request, "until")
    until = parse_moment(text)
    if text and until is None:
        reason = f"until must be a time in ISO 8601, as a list has it, not {text!r}."
        return _as_text(reason, HTTPStatus.BAD_REQUEST)
    try:
        store.clear_finished(request.user.pk, until)
    except DatabaseError:
        logger.warning("The finished downloads could not be cleared", exc_info=True)
        return _busy()
    if HtmxDetails(request):
        return _menu(request)
    if wants_json(request):
        return _done(request)
    return _back(request) or redirect("async_downloads:download_list")


@errors_as_json
@outside_transactions
@require_POST
@for_signed_in
def retry(request: HttpRequest) -> HttpResponseBase:
    """Build one of the user's downloads again, by its ``download_key``.

    One that has failed or stalled is tried again, and a complete one is requested anew. One
    that is in progress stays as it is: the form was sent twice.

    htmx gets the new list, a form a redirect to its page (``next``), a client that wants JSON
    the download that is built, and any other client an empty response.
    """
    key = _key(request)
    try:
        row = None if key is None else _get(request, key)
        known = row is not None and (row.call is not None or row.read_only)
        result = _build_again(request.user, row) if row is not None and known else None
    except DatabaseError:
        logger.warning("A download could not be built again", exc_info=True)
        return _busy()
    return _outcome(request, result, api.accepted)


@errors_as_json
@outside_transactions
@require_POST
@for_signed_in
def keep(request: HttpRequest) -> HttpResponseBase:
    """Keep one of the user's complete downloads for longer, by its ``download_key``.

    htmx gets the new list, a form a redirect to its page (``next``), a client that wants JSON
    the download, and any other client an empty response.
    """
    key = _key(request)
    try:
        row = None
        if key is not None and settings.MAX_LIFETIME is not None:
            row = _get(request, key)
        result = _keep(row) if row is not None and row.complete else None
    except DatabaseError:
        logger.warning("A download could not be kept for longer", exc_info=True)
        return _busy()
    return _outcome(request, result, api.current)


@outside_transactions
@require_safe
@for_signed_in
@vary_on_headers("HX-Request", "Cookie")
@cache_control(private=True, no_store=True)
def download_list(request: HttpRequest) -> HttpResponse:
    """Show all of the user's downloads, page by page.

    A poll with a current ``version`` gets 204, and otherwise the part to replace.
    """
    part = bool(HtmxDetails(request)) and "version" in request.GET
    seen = Version.parse(request.GET["version"]) if part else None
    number = request.GET.get("page", 1)
    owner = teams.owner_of(request)
    page = store.read_page_changes(owner, number, seen)
    if page is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    store.mark_seen(owner, page.listing)
    return HttpResponse(rendering.render_page(page, request, part=part))


@errors_as_json
@outside_transactions
@require_safe
@for_signed_in
def download(request: HttpRequest, download_key: uuid.UUID) -> HttpResponseBase:
    """Send a complete file to its owner or to permitted staff, unless the site refuses.

    A request for the beginning of the file counts as a fetch.
    """
    row = _fetchable(request, download_key)
    if row.file_missing:
        return _gone(request, row)
    try:
        response = serving.serve(request, store.attachment_of(row))
    except FileNotFoundError:
        return _gone(request, row) if store.record_missing_file(row) else _busy()
    except Exception:
        logger.exception("The storage could not send %s", row.filepath)
        return _busy()
    if not audit.allows(request, row, response):
        serving.discard(response)
        return _unrecorded()
    if request.method == "GET" and serving.begins(request, response):
        store.record_fetch(row, request.user)
    return response


@login_not_required
@outside_transactions
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


def _fetchable(request: HttpRequest, download_key: uuid.UUID) -> Any:
    """Return a complete download whose file the user may fetch, or one whose file is missing.

    Raises:
        Http404: There is none.
    """
    row = _get(request, download_key)
    if row is None and permissions.may_fetch_of_others(request.user):
        row = store.get_for_staff(download_key)
    if row is None or not (row.complete or row.file_missing):
        raise Http404(_("This download does not exist."))
    if not permissions.may_fetch(request.user, row):
        raise Http404(_("This download does not exist."))
    return row


@cache_control(private=True, no_store=True)
def _gone(request: HttpRequest, row: Any) -> HttpResponse:
    if wants_json(request):
        text = _("The file of “%(name)s” is missing from the storage.") % {"name": row.name}
        return problem(HTTPStatus.GONE, text)
    own = row.team is not None or row.collection.user_id == request.user.pk
    retry_page = reverse("async_downloads:download_list") if own and row.retryable else ""
    context = {"download": row, "retry_page": retry_page}
    return render(request, "async_downloads/gone.html", context, status=HTTPStatus.GONE)


def _build_again(user: Any, row: Any) -> Any:
    """Build a download again, and return the row that is built; or a ``_Refusal``."""
    if row.read_only:
        return _only_to_fetch()
    if not row.can_retry:
        return row
    if not permissions.may_start(user, row):
        return _Refusal(_("You may no longer request this file."), HTTPStatus.NOT_FOUND)
    if not starting.can_queue(row):
        text = _(
            "This file cannot be built again, as the site has changed. Please request it anew."
        )
        return _Refusal(text, HTTPStatus.CONFLICT)
    try:
        return starting.build_again(row)
    except TooManyDownloadsError as error:
        return _Refusal(str(error), HTTPStatus.CONFLICT)


def _keep(row: Any) -> Any:
    """Keep a complete download for longer, and return its row; or a ``_Refusal``."""
    if row.read_only:
        return _only_to_fetch()
    if store.keep(row):
        return row
    return _Refusal(_("This file is kept for as long as it can be."), HTTPStatus.CONFLICT)


def _get(request: HttpRequest, download_key: uuid.UUID) -> Any:
    """Return one of the user's downloads, or of their teams'; None for any other one."""
    own = store.get_for_user(request.user.pk, download_key)
    # Only now, as the site's function for teams may need a query.
    return own or store.get_of_teams(teams.owner_of(request), download_key)


def _only_to_fetch() -> _Refusal:
    text = _("This file belongs to your team. You can download it, but not remove or replace it.")
    return _Refusal(text, HTTPStatus.FORBIDDEN)


def _outcome(request: HttpRequest, result: Any, as_json: View) -> HttpResponseBase:
    """Return the response to a form that changes one download.

    Args:
        request: The request.
        result: The row; a ``_Refusal``; or None if there is none.
        as_json: Returns the row for a client that wants JSON, by its primary key.

    Raises:
        Http404: There is none, or its owner must not learn why not.
    """
    refusal = result if isinstance(result, _Refusal) else None
    if refusal is not None and (HtmxDetails(request) or refusal.status != HTTPStatus.NOT_FOUND):
        return _refused(request, refusal)
    if HtmxDetails(request):
        # Also for an unknown download: the page is out of date.
        return _menu(request)
    if result is None or refusal is not None:
        raise Http404(_("This download does not exist."))
    return as_json(request, result.pk) if wants_json(request) else _back(request) or _done(request)


def _refused(request: HttpRequest, refusal: _Refusal) -> HttpResponse:
    """Return a refusal: with the list, for htmx."""
    if HtmxDetails(request):
        return _menu(request, refusal.text)
    return _as_text(refusal.text, refusal.status)


def _busy() -> HttpResponse:
    return _later(_("The server is busy. Please try again in a moment."))


def _unrecorded() -> HttpResponse:
    return _later(
        _(
            "This site records who fetches a file, and cannot do so at the moment. "
            "Please try again later."
        )
    )


def _later(text: str) -> HttpResponse:
    response = _as_text(text, HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = "5"
    return response


def _done(request: HttpRequest) -> HttpResponse:
    """Return an empty response, to which JSON has a status of its own."""
    return HttpResponse(status=HTTPStatus.NO_CONTENT if wants_json(request) else HTTPStatus.OK)


def _as_text(text: str, status: HTTPStatus) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8", status=status)


def _menu(request: HttpRequest, refusal: str = "") -> HttpResponse:
    owner = teams.owner_of(request)
    listing = store.read_listing(owner, limit=rendering.MENU_SIZE)
    store.mark_seen(owner, listing)
    response = HttpResponse(rendering.render(listing, request, refusal=refusal))
    return rendering.with_refusal(response, refusal) if refusal else response


def _back(request: HttpRequest) -> HttpResponse | None:
    """Return a redirect to the page that a form names; None if it is not of this site."""
    url = _bounded(request.POST.get("next", ""))
    allowed = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(url) if allowed else None


def _sign_in(request: HttpRequest, url: str) -> HttpResponseRedirect:
    """Return a redirect to the sign-in page, which leads back to a URL of this site."""
    url = _bounded(url)
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


def _summary(request: HttpRequest) -> HttpResponse:
    """Return the summary and toasts for a page whose menu is closed; 204 if it shows them."""
    owner = teams.owner_of(request)
    summary = store.read_summary(owner)
    seen = Version.parse(request.GET.get("version", ""))
    if seen is not None and seen.digest == summary.digest:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    toasts = store.read_newly_finished(
        owner, request.GET.get("since"), summary.newest, limit=rendering.MAX_TOASTS
    )
    return HttpResponse(rendering.render_summary(summary, request, toasts))


def _list(request: HttpRequest) -> HttpResponse:
    """Return the list for a menu that is open, or that a person is about to open.

    A menu that has just ``opened`` may have the list: then it gets the summary alone.
    """
    seen = Version.parse(request.GET.get("version", ""))
    owner = teams.owner_of(request)
    opened = "opened" in request.GET
    listing = store.read_changes(owner, None if opened else seen, limit=rendering.MENU_SIZE)
    if listing is None:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    if "prefetch" in request.GET:
        return HttpResponse(rendering.render(listing, request, summary=False))
    toasts = store.read_newly_finished(
        owner, request.GET.get("since"), listing.newest_text, limit=rendering.MAX_TOASTS
    )
    store.mark_seen(owner, listing)
    if seen is not None and seen.digest == listing.version.digest:
        return HttpResponse(rendering.render_summary(Summary.of(listing), request, toasts))
    return HttpResponse(rendering.render(listing, request, toasts))


def _parameter(request: HttpRequest, name: str) -> str:
    """Return a parameter of a form, or of the URL."""
    return request.POST.get(name) or request.GET.get(name, "")


def _key(request: HttpRequest) -> uuid.UUID | None:
    """Return the download key of a form, or of a URL that JSON has; None if it is not a key."""
    try:
        return uuid.UUID(_parameter(request, "download_key"))
    except ValueError:
        return None
