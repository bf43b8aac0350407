"""Checks of the configuration of websockets."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from async_downloads import settings
from async_downloads.centre import websocket_address

__all__ = ["check_layer", "check_route", "check_websockets"]

#: A user name for the route.
SAMPLE_NAME: Final = "ada"


def check_websockets(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E005 and W011: ``WS_MODE`` without channels, a channel layer or an ASGI application."""
    if not settings.WS_MODE:
        return []
    if find_spec("channels") is None:
        return [
            Error(
                "ASYNC_DOWNLOADS_WS_MODE is on, but channels is not installed.",
                hint='Install it with: pip install "django-async-downloads[ws]".',
                id="async_downloads.E005",
            )
        ]
    if not getattr(project_settings, "CHANNEL_LAYERS", None):
        return [
            Error(
                "ASYNC_DOWNLOADS_WS_MODE is on, but CHANNEL_LAYERS is empty.",
                hint="Set a channel layer, for example channels_redis.core.RedisChannelLayer.",
                id="async_downloads.E005",
            )
        ]
    if not getattr(project_settings, "ASGI_APPLICATION", None):
        return [
            CheckWarning(
                "ASYNC_DOWNLOADS_WS_MODE is on, but ASGI_APPLICATION is not set, so that runserver "
                "opens no websockets, and the routes cannot be checked.",
                hint='Set it to the application of asgi.py, such as "shop.asgi.application".',
                id="async_downloads.W011",
            )
        ]
    return []


def check_layer(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W014: a channel layer that the worker does not share with the web processes."""
    layers = getattr(project_settings, "CHANNEL_LAYERS", None) or {}
    backend = layers.get("default", {}).get("BACKEND")
    if not settings.WS_MODE or backend != "channels.layers.InMemoryChannelLayer":
        return []
    return [
        CheckWarning(
            "The channel layer is in the memory of each process, so changes made by a worker "
            "reach no page.",
            hint="Set CHANNEL_LAYERS, for example to channels_redis.core.RedisChannelLayer.",
            id="async_downloads.W014",
        )
    ]


def check_route(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W012: a URL without a route to the consumer, so that every page polls."""
    path = getattr(project_settings, "ASGI_APPLICATION", None)
    if not settings.WS_MODE or not path:
        return []
    try:
        problem = _unrouted(import_string(path))
    except Exception as error:  # noqa: BLE001 (an import runs the site's own code)
        problem = f"it cannot be imported: {error!r}"
    if not problem:
        return []
    return [
        CheckWarning(
            f"ASYNC_DOWNLOADS_WS_MODE is on, but ASGI_APPLICATION is {path!r}, and {problem}",
            hint='Let its "websocket" be '
            "AuthMiddlewareStack(URLRouter(async_downloads.routing.websocket_urlpatterns)), or "
            'ASYNC_DOWNLOADS_WS_URL the path of its route to DownloadsConsumer, such as "push/".',
            id="async_downloads.W012",
        )
    ]


def _unrouted(application: Any) -> str:
    """Return why no websocket opens; an empty text if one does."""
    url = urlsplit(websocket_address.path_of(application, SAMPLE_NAME))
    if url.netloc:
        # The routes of another server are unknown.
        return ""
    prefix = (project_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    path = unquote(url.path).removeprefix(prefix).lstrip("/")
    if websocket_address.resolves(application, path):
        return ""
    return f"it has no route to DownloadsConsumer at {path!r}, where pages open their websocket."
