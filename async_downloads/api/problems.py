"""Errors as JSON, for clients that want JSON (RFC 9457)."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.translation import gettext as _
from django_htmx.middleware import HtmxDetails

from async_downloads.api.schemas import ProblemData

__all__ = ["errors_as_json", "problem", "unauthenticated", "wants_json"]

PROBLEM_TYPE: Final = "application/problem+json"

#: The types to choose from. A client that takes anything gets what browsers get.
TYPES: Final = ("text/html", "application/json", PROBLEM_TYPE)

View = Callable[..., HttpResponseBase]


def wants_json(request: HttpRequest) -> bool:
    """Return whether a client prefers JSON to HTML, by its ``Accept`` header."""
    return not HtmxDetails(request) and request.get_preferred_type(TYPES) in TYPES[1:]


def problem(status: int, detail: str = "") -> JsonResponse:
    """Return an error as JSON."""
    response = JsonResponse(_data(status, detail), status=status, content_type=PROBLEM_TYPE)
    patch_cache_control(response, private=True, no_store=True)
    return response


def unauthenticated() -> JsonResponse:
    """Return the error for a client without a session."""
    response = problem(HTTPStatus.UNAUTHORIZED, _("You are signed out."))
    # The header is required with this status. No browser asks for a password by this scheme.
    response.headers["WWW-Authenticate"] = "Cookie"
    return response


def errors_as_json(view: View) -> View:
    """Let a view answer with JSON if it refuses a request of a client that wants JSON."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if HtmxDetails(request):
            return view(request, *args, **kwargs)
        response = _respond(view, request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    return wrapped


def _respond(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    if not wants_json(request):
        return view(request, *args, **kwargs)
    try:
        response = view(request, *args, **kwargs)
    except Http404 as error:
        return problem(HTTPStatus.NOT_FOUND, str(error))
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(response, HttpResponse):
        _rewrite(response)
    return response


def _rewrite(response: HttpResponse) -> None:
    """Turn an error into JSON, and keep its headers, such as ``Retry-After``."""
    kind = response.headers.get("Content-Type", "")
    if kind == PROBLEM_TYPE:
        return
    # The text of another kind is a page, or nothing.
    detail = response.content.decode() if kind.startswith("text/plain") else ""
    response.content = JsonResponse(_data(response.status_code, detail)).content
    response.headers["Content-Type"] = PROBLEM_TYPE
    patch_cache_control(response, private=True, no_store=True)


def _data(status: int, detail: str) -> ProblemData:
    return {"status": int(status), "title": HTTPStatus(status).phrase, "detail": detail}
