"""The address at which a page opens its websocket."""

import sys
from typing import Any
from urllib.parse import unquote

import pytest
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.urls import path, re_path, set_script_prefix
from django.utils import translation

from async_downloads.centre import websocket_address
from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import DownloadsConsumer

CONSUMER = DownloadsConsumer.as_asgi()

#: The route that the documentation of 0.6.0 shows.
LEGACY = [re_path(r"ws/downloads/(?P<username>[\w.]+)/$", CONSUMER)]


class OtherConsumer(AsyncWebsocketConsumer):
    """A consumer of the site for another purpose."""


class Endless:
    """An application that wraps itself."""

    @property
    def app(self) -> "Endless":
        return self


def wrapped(routes: Any) -> Any:
    """Return a site's application, with the documented middleware around its routes."""
    inner = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes)))
    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": inner})


APPLICATIONS = {
    "current": wrapped(websocket_urlpatterns),
    "legacy": wrapped(LEGACY),
    "current, below a path": wrapped([path("push/", URLRouter(websocket_urlpatterns))]),
    "legacy, below a path": wrapped([path("push/", URLRouter(LEGACY))]),
    "legacy, after another": wrapped([path("ws/chat/", OtherConsumer.as_asgi()), *LEGACY]),
    "legacy, hidden by another": wrapped(
        [re_path(r"^ws/downloads/\w+/$", OtherConsumer.as_asgi()), *LEGACY]
    ),
    "legacy, behind a router without a route": wrapped(
        [path("", URLRouter([path("chat/", OtherConsumer.as_asgi())])), *LEGACY]
    ),
    "letters alone": wrapped([re_path(r"^mine/(?P<username>[a-z]+)/$", CONSUMER)]),
    "without a name": wrapped([path("exports", CONSUMER)]),
    "converter": wrapped([path("of/<str:username>/", CONSUMER)]),
    "of a tenant": wrapped([path("<slug:tenant>/ws/", CONSUMER)]),
    "alternatives": wrapped([re_path(r"^(ws|socket)/downloads/$", CONSUMER)]),
    "unknown": Endless(),
    "none": None,
}


@pytest.fixture
def loaded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that loads an application, as an ASGI server does."""

    def load(name: str) -> None:
        settings.ASGI_APPLICATION = f"{__name__}.application"
        module = sys.modules[__name__]
        monkeypatch.setattr(module, "application", APPLICATIONS[name], raising=False)

    return load


def address(username: str = "ada") -> str:
    return websocket_address.address(User(username=username))


@pytest.mark.parametrize(
    ("name", "username", "expected"),
    [
        ("current", "ada", "/ws/downloads/"),
        ("current", "bob@example.com", "/ws/downloads/"),
        ("legacy", "ada", "/ws/downloads/ada/"),
        ("legacy", "Łucja.2", "/ws/downloads/%C5%81ucja.2/"),
        # The route of 0.6 cannot match these names: "_" means the signed-in user.
        ("legacy", "bob@example.com", "/ws/downloads/_/"),
        ("legacy", "a+b-c", "/ws/downloads/_/"),
        ("legacy", "with spaces", "/ws/downloads/_/"),
        ("legacy", "../%2f?#", "/ws/downloads/_/"),
        ("current, below a path", "ada", "/push/ws/downloads/"),
        ("legacy, below a path", "ada", "/push/ws/downloads/ada/"),
        ("legacy, after another", "ada", "/ws/downloads/ada/"),
        ("legacy, behind a router without a route", "ada", "/ws/downloads/ada/"),
        ("letters alone", "ada", "/mine/ada/"),
        ("without a name", "ada", "/exports"),
        ("converter", "bob@example.com", "/of/bob%40example.com/"),
        ("converter", "a/b", "/of/_/"),
        # Unknown routes: this process has imported the route of the app, so that is used.
        ("letters alone", "ADA", "/ws/downloads/"),
        ("legacy, hidden by another", "ada", "/ws/downloads/"),
        ("of a tenant", "ada", "/ws/downloads/"),
        ("alternatives", "ada", "/ws/downloads/"),
        ("unknown", "ada", "/ws/downloads/"),
        ("none", "ada", "/ws/downloads/"),
    ],
)
def test_the_address_follows_the_routes(
    loaded: Any, name: str, username: str, expected: str
) -> None:
    loaded(name)
    assert address(username) == f"{expected}?language=en"


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("username", ["ada", "bob@example.com", "_", "Łucja"])
def test_the_address_leads_to_the_consumer(name: str, username: str) -> None:
    path = unquote(websocket_address.path_of(APPLICATIONS[name], username))
    unreachable = name in ("legacy, hidden by another", "of a tenant") or (
        name == "letters alone" and username != "ada"
    )
    assert websocket_address.resolves(APPLICATIONS[name], path) is not unreachable


def test_an_application_whose_routes_raise_an_error_breaks_no_page(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        @property
        def routes(self) -> Any:
            raise RuntimeError("not yet")

    settings.ASGI_APPLICATION = f"{__name__}.application"
    monkeypatch.setattr(sys.modules[__name__], "application", Broken(), raising=False)
    assert address() == "/ws/downloads/?language=en"


@pytest.mark.parametrize("value", ["", None, "x", "no.such.application", "tests.settings.nothing"])
def test_an_application_that_is_not_loaded_is_not_imported(settings: Any, value: Any) -> None:
    settings.ASGI_APPLICATION = value
    assert address() == "/ws/downloads/?language=en"
    assert "no" not in sys.modules


@pytest.mark.parametrize(
    ("imported", "application", "expected"),
    [
        ((), None, "/ws/downloads/"),
        (("routing", "ws_consumers"), None, "/ws/downloads/"),
        (("routing", "ws_consumers"), "shop.asgi.application", "/ws/downloads/"),
        # The route is in the site or in another server: this address fits the route of 0.6 too.
        (("ws_consumers",), None, "/ws/downloads/_/"),
        ((), "shop.asgi.application", "/ws/downloads/_/"),
    ],
)
def test_without_routes_the_address_follows_the_imported_modules(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    imported: tuple[str, ...],
    application: str | None,
    expected: str,
) -> None:
    settings.ASGI_APPLICATION = application
    for name in {"routing", "ws_consumers"}.difference(imported):
        monkeypatch.delitem(sys.modules, f"async_downloads.{name}", raising=False)
    assert address() == f"{expected}?language=en"
    for routes in (websocket_urlpatterns, LEGACY):
        if expected.endswith("_/"):
            assert websocket_address.resolves(URLRouter(routes), expected)


@pytest.fixture
def prefix() -> Any:
    """Serve the site below a path, as a server or a setting does."""
    yield set_script_prefix
    set_script_prefix("/")


@pytest.mark.parametrize("name", ["current", "legacy"])
def test_the_address_is_below_the_path_of_the_site(loaded: Any, prefix: Any, name: str) -> None:
    loaded(name)
    prefix("/shop/ü/")
    with translation.override("de"):
        own = {"current": "", "legacy": "ada/"}[name]
        expected = f"/shop/%C3%BC/ws/downloads/{own}?language=de&prefix=%2Fshop%2F%C3%BC%2F"
        assert address() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("push/", "/shop/push/"),
        ("push/{username}/", "/shop/push/a%2Fb%40c/"),
        ("/push/", "/push/"),
        ("wss://push.example.org/ws/", "wss://push.example.org/ws/"),
        ("https://push.example.org/ws/", "https://push.example.org/ws/"),
        ("//push.example.org/ws/", "//push.example.org/ws/"),
        ("push/?v=1", "/shop/push/?v=1"),
    ],
)
def test_the_setting_overrides_the_routes(
    settings: Any, loaded: Any, prefix: Any, value: str, expected: str
) -> None:
    loaded("legacy")
    prefix("/shop/")
    settings.ASYNC_DOWNLOADS_WS_URL = value
    separator = "&" if "?" in value else "?"
    assert address("a/b@c") == f"{expected}{separator}language=en&prefix=%2Fshop%2F"


def test_a_user_without_a_name_has_the_address_that_names_none(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_URL = "/live/{username}/"
    assert address("") == f"/live/{websocket_address.ANY_NAME}/?language=en"
