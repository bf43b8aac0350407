"""The handshake of a websocket as a request.

It has headers and cookies, but Django's middleware has not processed it.
"""

import re
from collections.abc import Hashable, Iterator, Mapping
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

__all__ = ["below_prefix", "is_same_site", "key_of", "language_of", "request_of"]

_SCHEMES: Final = {"ws": "http", "wss": "https"}

#: A path that ends with a slash and does not name another host.
_PREFIX: Final = re.compile(r"/([^/\\?#\s]+/)*")

_csrf: Final = CsrfViewMiddleware(lambda request: HttpResponse())


def is_same_site(scope: Mapping[str, Any]) -> bool:
    """Return whether a page of this site opens the socket.

    A browser sends its cookies whichever page opens the socket, so the Origin header
    decides. Clients other than browsers send no origin.
    """
    headers = dict(scope.get("headers", ()))
    origin = headers.get(b"origin")
    if origin is None:
        return True
    host = _host_of(origin.decode("latin-1"))
    own = split_domain_port(headers.get(b"host", b"").decode("latin-1"))[0]
    # "*" accepts any host of the server, but not pages of any other site.
    named = [pattern for pattern in project_settings.ALLOWED_HOSTS if pattern != "*"]
    return validate_host(host, named or [own])


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def key_of(scope: Mapping[str, Any]) -> Hashable:
    """Return all of the handshake that differs if its request does."""
    parts = ("scheme", "server", "root_path", "path", "query_string")
    # Each connection has a key of its own, which says nothing.
    headers = [pair for pair in scope.get("headers", ()) if pair[0] != b"sec-websocket-key"]
    return repr(([scope.get(part) for part in parts], headers))


def request_of(scope: Mapping[str, Any]) -> HttpRequest:
    """Return the handshake as a request for templates.

    It has the user, the session and the CSRF token. It may read the session, so
    call it from a thread that may use the database.
    """
    scheme = _SCHEMES.get(scope.get("scheme", "ws"), "http")
    # Django refuses bytes that are not UTF-8; the other parameters still count.
    query = scope.get("query_string", b"").decode(errors="replace").encode()
    http_scope = {**scope, "method": "GET", "scheme": scheme, "query_string": query}
    request = ASGIRequest(http_scope, BytesIO())
    for name in ("user", "session"):
        if name in scope:
            setattr(request, name, scope[name])
    _csrf.process_request(request)
    return request


def language_of(request: HttpRequest) -> str:
    """Return the language of the page: from the query, or else as Django finds it.

    The page passes it because it may come from its path or from a site's middleware.
    """
    try:
        return get_supported_language_variant(request.GET.get("language", ""))
    except (LookupError, ValueError):
        return get_language_from_request(request)


@contextmanager
def below_prefix(request: HttpRequest) -> Iterator[None]:
    """Set the script prefix: from the query, or else from the server or the settings.

    The page passes it because a separate server for websockets may not know it.
    """
    prefix = request.GET.get("prefix", "")
    known = f"{request.META['SCRIPT_NAME'].rstrip('/')}/"
    before = get_script_prefix()
    set_script_prefix(prefix if _PREFIX.fullmatch(prefix) else known)
    try:
        yield
    finally:
        set_script_prefix(before)
