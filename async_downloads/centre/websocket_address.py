"""The URL at which a page opens its websocket.

``ASYNC_DOWNLOADS_WS_URL`` takes precedence. Otherwise the URL follows from the routes of
``ASGI_APPLICATION`` if this process has imported it, as every ASGI server does. It is not
imported here, as that would configure logging again during a request. If another server
opens the sockets, the URL is the one of the documented route.
"""

import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings as project_settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.handlers.asgi import ASGIHandler
from django.urls import get_script_prefix
from django.utils.encoding import iri_to_uri
from django.utils.regex_helper import normalize
from django.utils.translation import get_language

from async_downloads import settings
from async_downloads.owners import name_of

__all__ = ["ANY_NAME", "address", "path_of", "resolves"]

#: The path of ``async_downloads.routing``, below the script prefix.
DEFAULT_PATH: Final = "ws/downloads/"

#: Replaces a user name that the route's converter would not match.
ANY_NAME: Final = "_"

#: A dotted path, as the class cannot be imported without channels.
CONSUMER: Final = "async_downloads.ws_consumers.DownloadsConsumer"

#: Levels of middleware to look through, as an object may refer to itself.
MAX_DEPTH: Final = 50

#: Attributes of channels' routers and consumers.
_KINDS: Final = ("application_mapping", "routes", "consumer_class")

#: Attributes in which a middleware keeps its inner application.
_INNER: Final = ("inner", "application", "app")


def address(user: AbstractBaseUser) -> str:
    """Return the URL at which a user's page opens its websocket.

    The query has what only the page knows: its language, and its script prefix unless
    that is "/".
    """
    prefix = get_script_prefix()
    try:
        path = path_of(_loaded(), name_of(user) or ANY_NAME)
    except Exception:  # noqa: BLE001 (the objects are the site's)
        # A page must not fail for this. Check W012 reports the error.
        path = _default_path()
    url = path if path.startswith("/") or urlsplit(path).netloc else iri_to_uri(prefix) + path
    query = {"language": get_language() or ""} | ({} if prefix == "/" else {"prefix": prefix})
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def path_of(application: Any, username: str) -> str:
    """Return the path of a user's websocket below the script prefix, or the setting's value.

    Args:
        application: The ASGI application; None if this process has not imported one.
        username: The user name.
    """
    if settings.WS_URL:
        return str(settings.WS_URL).replace("{username}", quote(username, safe=""))
    for name in (username, ANY_NAME):
        for patterns in _pattern_chains(application):
            for path in _paths(patterns, name):
                if resolves(application, path):
                    return quote(path)
    return _default_path()


def resolves(application: Any, path: str) -> bool:
    """Return whether a path leads to the consumer; True if that cannot be known.

    Args:
        application: An ASGI application. Routers of channels are searched, and so are
            middleware that keep their inner application in an attribute.
        path: The path for the outermost router, decoded, without the script prefix.
    """
    application = _unwrapped(application)
    if hasattr(application, "application_mapping"):
        inner = application.application_mapping.get("websocket")
        return inner is not None and resolves(inner, path)
    if hasattr(application, "routes"):
        return _is_routed(application.routes, path.lstrip("/"))
    if hasattr(application, "consumer_class"):
        kinds = application.consumer_class.__mro__
        return CONSUMER in (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    # Django answers no websocket; any other application may.
    return not isinstance(application, ASGIHandler)


def _is_routed(routes: Any, path: str) -> bool:
    for route in routes:
        if not hasattr(route, "pattern"):
            # Not a router of channels.
            return True
        match = route.pattern.match(path)
        # In channels too, a nested router without a match leaves the path to the next route.
        if match and (reached := resolves(route.callback, match[0])):
            return reached
        if match and not hasattr(_unwrapped(route.callback), "routes"):
            return False
    return False


def _pattern_chains(application: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the URL patterns that lead to each consumer, the outermost first."""
    application = _unwrapped(application)
    if hasattr(application, "application_mapping"):
        yield from _pattern_chains(application.application_mapping.get("websocket"))
    elif hasattr(application, "routes"):
        for route in application.routes:
            if hasattr(route, "pattern"):
                for patterns in _pattern_chains(route.callback):
                    yield (route.pattern, *patterns)
    elif hasattr(application, "consumer_class"):
        yield ()


def _paths(patterns: tuple[Any, ...], name: str) -> list[str]:
    """Return paths that the patterns may match, those without a user name first."""
    choices = product(*(_possibilities(pattern.regex.pattern) for pattern in patterns))
    texts = {"".join(choice) for choice in choices}
    return [text % {"username": name} for text in sorted(texts, key=lambda text: "%(" in text)]


@lru_cache(maxsize=64)
def _possibilities(regex: str) -> list[str]:
    """Return paths that a regular expression matches, to format with ``username``."""
    try:
        paths = normalize(regex)
    except NotImplementedError:
        # The expression has alternatives, so the setting must name the path.
        return []
    # The value of any other parameter is unknown.
    return [text for text, parameters in paths if set(parameters) <= {"username"}]


def _default_path() -> str:
    """Return the documented path; with a name if the route may be the one of 0.6."""
    has_routes = bool(getattr(project_settings, "ASGI_APPLICATION", None))
    has_routes |= "async_downloads.ws_consumers" in sys.modules
    if has_routes and "async_downloads.routing" not in sys.modules:
        return f"{DEFAULT_PATH}{ANY_NAME}/"
    return DEFAULT_PATH


def _unwrapped(application: Any) -> Any:
    """Return the router or consumer inside of middleware, or the application itself."""
    for _ in range(MAX_DEPTH):
        inner = next((name for name in _INNER if hasattr(application, name)), None)
        if inner is None or any(hasattr(application, kind) for kind in _KINDS):
            break
        application = getattr(application, inner)
    return application


def _loaded() -> Any:
    """Return the site's ASGI application if this process has imported it."""
    module, _, name = (getattr(project_settings, "ASGI_APPLICATION", None) or "").rpartition(".")
    return getattr(sys.modules.get(module), name, None)
