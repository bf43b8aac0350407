"""The address at which a page opens its websocket.

``ASYNC_DOWNLOADS_WS_URL`` decides, or else the routes of ``ASGI_APPLICATION``, where this
process has loaded it, as every ASGI server has. It is not imported for this: that would
configure logging once more, in the middle of a request. Where another server than the
page's opens the sockets, the address is one that the documented routes have in common.
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

__all__ = ["ANY_NAME", "address", "path_of", "resolves"]

#: The path of ``async_downloads.routing``, below the path of the site.
DEFAULT_PATH: Final = "ws/downloads/"

#: Stands for the name of the signed-in user, where a route asks for one that it cannot match.
ANY_NAME: Final = "_"

#: By name, as it cannot be imported without channels.
CONSUMER: Final = "async_downloads.ws_consumers.DownloadsConsumer"

#: Middleware around middleware that is looked through; an object may hold itself.
MAX_DEPTH: Final = 50

#: What the routers and the consumers of channels are known by.
_KINDS: Final = ("application_mapping", "routes", "consumer_class")

#: Where a middleware keeps the application that it stands before.
_INNER: Final = ("inner", "application", "app")


def address(user: AbstractBaseUser) -> str:
    """Return the URL at which a user's page opens its websocket.

    The query says what only the page knows: its language, and the path below which the
    site lies, if that is not the root.
    """
    prefix = get_script_prefix()
    try:
        path = path_of(_loaded(), user.get_username())
    except Exception:  # noqa: BLE001 (the site's own objects are looked through)
        # Nothing of this may break a page. The check W012 says what is wrong.
        path = _guess()
    url = path if path.startswith("/") or urlsplit(path).netloc else iri_to_uri(prefix) + path
    query = {"language": get_language() or ""} | ({} if prefix == "/" else {"prefix": prefix})
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def path_of(application: Any, username: str) -> str:
    """Return the path of a user's websocket, below the script prefix; or what the setting says.

    Args:
        application: The ASGI application; None if this process has not loaded any.
        username: The name of the user.
    """
    if settings.WS_URL:
        return str(settings.WS_URL).replace("{username}", quote(username, safe=""))
    for name in (username, ANY_NAME):
        for patterns in _ways(application):
            for path in _paths(patterns, name):
                if resolves(application, path):
                    return quote(path)
    return _guess()


def resolves(application: Any, path: str) -> bool:
    """Return whether a path leads to our consumer; also if that cannot be known.

    Args:
        application: An ASGI application: the routers of channels are looked through, and
            whatever keeps the application that it stands before in an attribute.
        path: As the outermost router gets it, decoded and without the script prefix.
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
    # A Django alone answers no websocket; nothing is known of anything else.
    return not isinstance(application, ASGIHandler)


def _is_routed(routes: Any, path: str) -> bool:
    for route in routes:
        if not hasattr(route, "pattern"):
            # Not a router of channels.
            return True
        match = route.pattern.match(path)
        # As in channels, a router that has no route for the rest leaves it to the next one.
        if match and (found := resolves(route.callback, match[0])):
            return found
        if match and not hasattr(_unwrapped(route.callback), "routes"):
            return False
    return False


def _ways(application: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the patterns by which routers lead to a consumer, from the outermost in."""
    application = _unwrapped(application)
    if hasattr(application, "application_mapping"):
        yield from _ways(application.application_mapping.get("websocket"))
    elif hasattr(application, "routes"):
        for route in application.routes:
            if hasattr(route, "pattern"):
                for patterns in _ways(route.callback):
                    yield (route.pattern, *patterns)
    elif hasattr(application, "consumer_class"):
        yield ()


def _paths(patterns: tuple[Any, ...], name: str) -> list[str]:
    """Return what patterns may match with a name for each parameter; without a name comes first."""
    choices = product(*(_possibilities(pattern.regex.pattern) for pattern in patterns))
    texts = {"".join(choice) for choice in choices}
    return [text % {"username": name} for text in sorted(texts, key=lambda text: "%(" in text)]


@lru_cache(maxsize=64)
def _possibilities(regex: str) -> list[str]:
    """Return what a regular expression matches, as text to format with ``username``."""
    try:
        found = normalize(regex)
    except NotImplementedError:
        # Alternatives: the setting has to say which.
        return []
    # Of any other parameter the value is unknown.
    return [text for text, parameters in found if set(parameters) <= {"username"}]


def _guess() -> str:
    """Return the path without a name; or, if the route may be that of 0.6, with one."""
    has_routes = bool(getattr(project_settings, "ASGI_APPLICATION", None))
    has_routes |= "async_downloads.ws_consumers" in sys.modules
    if has_routes and "async_downloads.routing" not in sys.modules:
        return f"{DEFAULT_PATH}{ANY_NAME}/"
    return DEFAULT_PATH


def _unwrapped(application: Any) -> Any:
    """Return the router or consumer that an application stands before, or itself."""
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
