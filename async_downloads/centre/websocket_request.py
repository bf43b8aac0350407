"""What the handshake of a websocket tells of the page that opened it.

It is a request in its own right, with headers and cookies, though no middleware
of Django has seen it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings as project_settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import get_script_prefix, set_script_prefix
from django.utils.translation import get_language_from_request, get_supported_language_variant

__all__ = ["below_prefix", "is_same_site", "language_of", "request_of"]

_SCHEMES: Final = {"ws": "http", "wss": "https"}

#: A path of this site that ends with a slash, and names no other host.
_PREFIX: Final = re.compile(r"/([^/\\?#\s]+/)*")

_csrf: Final = CsrfViewMiddleware(lambda request: HttpResponse())


def is_same_site(scope: Mapping[str, Any]) -> bool:
    """Return whether the page that connects is one of this site's.

    A browser sends its cookies along whatever page opens the socket; only the
    origin tells. Callers that are no browsers send none.
    """
    headers = dict(scope.get("headers", ()))
    origin = headers.get(b"origin")
    if origin is None:
        return True
    host = _host_of(origin.decode("latin-1"))
    own = split_domain_port(headers.get(b"host", b"").decode("latin-1"))[0]
    # "*" leaves it to the server which hosts there are; it does not befriend every site.
    named = [pattern for pattern in project_settings.ALLOWED_HOSTS if pattern != "*"]
    return validate_host(host, named or [own])


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def request_of(scope: Mapping[str, Any]) -> HttpRequest:
    """Return the handshake as the templates of a page expect a request.

    It has the user, the session and the CSRF token. It may read the session, so
    it must be called where the database may be used.
    """
    scheme = _SCHEMES.get(scope.get("scheme", "ws"), "http")
    # Bytes that are not UTF-8, Django refuses; the names and values beside them still count.
    query = scope.get("query_string", b"").decode(errors="replace").encode()
    asked = {**scope, "method": "GET", "scheme": scheme, "query_string": query}
    request = ASGIRequest(asked, BytesIO())
    for name in ("user", "session"):
        if name in scope:
            setattr(request, name, scope[name])
    _csrf.process_request(request)
    return request


def language_of(request: HttpRequest) -> str:
    """Return the language of the page: what it says in the address, or else the cookie and so on.

    Only the page knows for sure: its language may be in its path, or a choice that
    a middleware of the site looks up.
    """
    try:
        return get_supported_language_variant(request.GET.get("language", ""))
    except (LookupError, ValueError):
        return get_language_from_request(request)


@contextmanager
def below_prefix(request: HttpRequest) -> Iterator[None]:
    """Make URLs below the path of the site: what the page says, or else the server or the settings.

    Only the page knows for sure: a server of websockets beside another one may not have
    been given the path, as neither needs it to find a route.
    """
    said = request.GET.get("prefix", "")
    known = f"{request.META['SCRIPT_NAME'].rstrip('/')}/"
    before = get_script_prefix()
    set_script_prefix(said if _PREFIX.fullmatch(said) else known)
    try:
        yield
    finally:
        set_script_prefix(before)
