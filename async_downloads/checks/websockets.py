"""Checks of what it takes to push changes over websockets."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.handlers.asgi import ASGIHandler
from django.utils.module_loading import import_string

from async_downloads import settings

__all__ = ["check_layer", "check_route", "check_websockets"]

#: By name, as it cannot be imported without channels.
CONSUMER: Final = "async_downloads.ws_consumers.DownloadsConsumer"


def check_websockets(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E005 and W011: pushes without anything to push through."""
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
                "ASYNC_DOWNLOADS_WS_MODE is on, but there is no channel layer.",
                hint="Set CHANNEL_LAYERS, for example to channels_redis.core.RedisChannelLayer.",
                id="async_downloads.E005",
            )
        ]
    if not getattr(project_settings, "ASGI_APPLICATION", None):
        return [
            CheckWarning(
                "ASYNC_DOWNLOADS_WS_MODE is on, but ASGI_APPLICATION is not set, so that runserver "
                "opens no websockets, and nobody can tell whether another server would.",
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
            "The channel layer is in the memory of each process, so that what a worker does is "
            "pushed to nobody.",
            hint="Set CHANNEL_LAYERS, for example to channels_redis.core.RedisChannelLayer.",
            id="async_downloads.W014",
        )
    ]


def check_route(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W012: an ASGI application without our route, so that every page polls after all."""
    path = getattr(project_settings, "ASGI_APPLICATION", None)
    if not settings.WS_MODE or not path:
        return []
    try:
        routed = _is_routed(import_string(path))
        problem = "" if routed else "it has no route to DownloadsConsumer."
    except Exception as error:  # noqa: BLE001 (an import runs the site's own code)
        problem = f"it cannot be imported: {error!r}"
    if not problem:
        return []
    return [
        CheckWarning(
            f"ASYNC_DOWNLOADS_WS_MODE is on, but ASGI_APPLICATION is {path!r}, and {problem}",
            hint='Let its "websocket" be '
            "AuthMiddlewareStack(URLRouter(async_downloads.routing.websocket_urlpatterns)).",
            id="async_downloads.W012",
        )
    ]


def _is_routed(application: Any) -> bool:
    """Return whether an application leads to our consumer; also if that cannot be told.

    The routers of channels are looked through, and whatever keeps the
    application that it stands before in an attribute, as their middleware does.
    """
    if hasattr(application, "application_mapping"):
        inner = application.application_mapping.get("websocket")
        return inner is not None and _is_routed(inner)
    if hasattr(application, "routes"):
        return any(_is_routed(getattr(route, "callback", None)) for route in application.routes)
    if hasattr(application, "consumer_class"):
        kinds = application.consumer_class.__mro__
        return CONSUMER in (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    for name in ("inner", "application", "app"):
        if hasattr(application, name):
            return _is_routed(getattr(application, name))
    # A Django alone answers no websocket; of anything else nobody knows.
    return not isinstance(application, ASGIHandler)
