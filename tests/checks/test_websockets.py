"""Checks of what pushes need report what is wrong, and only that."""

import sys
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import DownloadsConsumer
from tests.checks.test_checks import ids, messages

#: The application of a site that does everything right.
APPLICATION = "demo.asgi.application"


@pytest.fixture(autouse=True)
def with_an_application(settings: Any) -> None:
    settings.ASGI_APPLICATION = APPLICATION
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"


@pytest.mark.parametrize("layers", [{}, None])
def test_e005_reports_pushes_without_a_channel_layer(settings: Any, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers
    assert ids() == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == ["E005"]


def test_e005_reports_pushes_without_channels(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "channels", None)
    assert ids() == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == ["E005"]
    assert "django-async-downloads[ws]" in str(messages()[0].hint)


def test_e005_accepts_pushes_through_a_layer(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == []


# W011


@pytest.mark.parametrize("value", [None, ""])
def test_w011_reports_pushes_without_an_application(settings: Any, value: Any) -> None:
    settings.ASGI_APPLICATION = value
    assert ids() == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == ["W011"]


# W012


class OtherConsumer(AsyncWebsocketConsumer):
    """A consumer of the site for another purpose."""


other_routes = [path("ws/chat/", OtherConsumer.as_asgi())]


async def unknown(scope: Any, receive: Any, send: Any) -> None:
    """An application whose routes cannot be read."""


CONSUMER = DownloadsConsumer.as_asgi()

applications = {
    "without websockets": get_asgi_application(),
    "a router without websockets": ProtocolTypeRouter({"http": get_asgi_application()}),
    "without our route": ProtocolTypeRouter({"websocket": URLRouter(other_routes)}),
    "wrapped, without our route": ProtocolTypeRouter(
        {"websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(other_routes)))}
    ),
    "with it": ProtocolTypeRouter({"websocket": URLRouter(websocket_urlpatterns)}),
    "wrapped, with it": ProtocolTypeRouter(
        {
            "websocket": AllowedHostsOriginValidator(
                AuthMiddlewareStack(URLRouter([*other_routes, *websocket_urlpatterns]))
            )
        }
    ),
    "below another one": ProtocolTypeRouter(
        {"websocket": URLRouter([path("push/", URLRouter(websocket_urlpatterns))])}
    ),
    "as 0.6 documented it": ProtocolTypeRouter(
        {"websocket": URLRouter([re_path(r"ws/downloads/(?P<username>[\w.]+)/$", CONSUMER)])}
    ),
    "without a path that can be known": ProtocolTypeRouter(
        {"websocket": URLRouter([path("<slug:tenant>/", CONSUMER)])}
    ),
    "unknown": unknown,
    "a router of something unknown": ProtocolTypeRouter({"websocket": unknown}),
}


@pytest.mark.parametrize("name", applications)
def test_w012_reports_an_application_without_the_route_only_in_production(
    settings: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings.ASGI_APPLICATION = f"{__name__}.application"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    monkeypatch.setattr(sys.modules[__name__], "application", applications[name], raising=False)
    assert ids(deploy=True) == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == []
    assert ids(deploy=True) == (["W012"] if "without" in name else [])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws/downloads/", []),
        ("ws/downloads/{username}/", []),
        ("ws/downloads/?v=1", []),
        ("/ws/downloads/", []),
        ("/shop/ws/downloads/", []),
        ("wss://push.example.org/elsewhere/", []),
        ("push/", ["W012"]),
        ("/elsewhere/ws/downloads/", ["W012"]),
        ("ws/downloads", ["W012"]),
        (5, ["W012"]),
    ],
)
def test_w012_resolves_the_address_of_the_setting(
    settings: Any, url: Any, expected: list[str]
) -> None:
    settings.FORCE_SCRIPT_NAME = "/shop"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    settings.ASYNC_DOWNLOADS_WS_URL = url
    assert ids(deploy=True) == expected


@pytest.mark.parametrize("value", ["no.such.application", "tests.settings.no_such_name", "x"])
def test_w012_reports_an_application_that_cannot_be_imported(settings: Any, value: str) -> None:
    settings.ASGI_APPLICATION = value
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids(deploy=True) == ["W012"]


# W014


def test_w014_reports_a_layer_that_is_not_shared_only_in_production(settings: Any) -> None:
    assert ids(deploy=True) == []
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    assert ids() == []
    assert ids(deploy=True) == ["W014"]
