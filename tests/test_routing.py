"""The websocket routes."""

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.urls import path, re_path

from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import DownloadsConsumer
from tests.pace import LONGEST_WAIT


async def route(pattern_list: Any, path: str) -> dict[str, Any]:
    """Return the arguments that the router passes to the consumer for a path."""
    caught: dict[str, Any] = {}

    async def consumer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        caught.update(scope["url_route"])

    patterns = [re_path(pattern.pattern.regex.pattern, consumer) for pattern in pattern_list]
    scope = {"type": "websocket", "path": path}
    await ApplicationCommunicator(URLRouter(patterns), scope).wait(LONGEST_WAIT)
    return caught


@pytest.mark.parametrize(
    ("path", "username"),
    [
        ("/ws/downloads/", None),
        ("/ws/downloads/ada/", "ada"),
        ("/ws/downloads/bob@example.com/", "bob@example.com"),
        ("/ws/downloads/a+b-c_d.e/", "a+b-c_d.e"),
        ("/ws/downloads/with spaces/", "with spaces"),
        ("/ws/downloads/名前/", "名前"),
    ],
)
async def test_a_path_with_or_without_a_name_leads_to_the_consumer(
    path: str, username: str | None
) -> None:
    assert (await route(websocket_urlpatterns, path))["kwargs"] == (
        {} if username is None else {"username": username}
    )


@pytest.mark.parametrize(
    "path",
    [
        "/ws/downloads",
        "/ws/downloads/ada",
        "/ws/downloads//",
        "/ws/downloads/ada/grace/",
        "/other/ws/downloads/",
        "/ws/downloadsx/",
        "/",
    ],
)
async def test_any_other_path_leads_nowhere(path: str) -> None:
    with pytest.raises(ValueError, match="No route found"):
        await route(websocket_urlpatterns, path)


def test_the_route_runs_the_documented_consumer() -> None:
    (pattern,) = websocket_urlpatterns
    assert pattern.callback.consumer_class is DownloadsConsumer


async def test_the_routes_can_be_mounted_below_another_path() -> None:
    app = URLRouter([path("shop/", URLRouter(websocket_urlpatterns))])
    scope = {"type": "websocket", "path": "/shop/ws/downloads/", "user": None}
    communicator = ApplicationCommunicator(app, scope)
    await communicator.send_input({"type": "websocket.connect"})
    # The route was found, and the socket refused because no user is signed in.
    assert (await communicator.receive_output())["type"] == "websocket.close"
    await communicator.wait()
