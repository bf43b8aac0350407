"""Websockets of the package without a server, and fixtures for their tests."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.test import Client

from async_downloads.models import Download
from async_downloads.routing import websocket_urlpatterns
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.pace import LONGEST_WAIT


@pytest.fixture(autouse=True)
def pushed(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    # A layer of its own for each test: a queue belongs to one event loop.
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(autouse=True)
async def no_connection_left_behind(pushed: None) -> AsyncIterator[None]:
    """Close the database connection of the thread that channels uses."""
    yield
    await sync_to_async(connections.close_all)()


class Socket(WebsocketCommunicator):
    """A socket that waits for what a test expects as long as it takes."""

    async def connect(self, timeout: float = LONGEST_WAIT) -> tuple[bool, Any]:
        return await super().connect(timeout)

    async def receive_output(self, timeout: float = LONGEST_WAIT) -> dict[str, Any]:
        return await super().receive_output(timeout)

    async def receive_from(self, timeout: float = LONGEST_WAIT) -> Any:
        return await super().receive_from(timeout)

    async def disconnect(self, code: int = 1000, timeout: float = LONGEST_WAIT) -> None:
        await super().disconnect(code, timeout)

    async def wait(self, timeout: float = LONGEST_WAIT) -> None:
        await super().wait(timeout)


def communicator(
    user: Any, path: str = "/ws/downloads/", *, routes: Any = None, **kwargs: Any
) -> Socket:
    router = URLRouter(websocket_urlpatterns if routes is None else routes)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await router({**scope, "user": user}, receive, send)

    return Socket(application, path, **kwargs)


@asynccontextmanager
async def connected(user: Any, **kwargs: Any) -> AsyncIterator[Socket]:
    """Connect, receive the first summary, and disconnect at the end."""
    page = communicator(user, **kwargs)
    assert (await page.connect())[0]
    assert "async-downloads-summary" in await page.receive_from()
    yield page
    await page.disconnect()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    async with asyncio.timeout(LONGEST_WAIT):
        while not condition():
            await asyncio.sleep(0.01)


async def is_refused(page: Socket) -> bool:
    accepted, _ = await page.connect()
    nothing = await page.receive_nothing()
    await page.disconnect()
    return not accepted and nothing


def percentages(markup: str) -> list[int]:
    """Return the percentage of a summary in a list, which is empty if nothing is in progress."""
    if 'data-state="in-progress"' not in markup:
        return []
    return [int(value) for value in re.findall(r'data-percentage="(\d+)"', markup)]


def counts(markup: str) -> tuple[str, int]:
    """Return the state of a summary, and the count on the button."""
    (state,) = re.findall(r' data-state="([a-z-]*)"', markup.partition(">")[0])
    (count,) = re.findall(r' data-count="(\d+)"', markup)
    return state, int(count)


#: The summary of a user without downloads.
NOTHING = ("", 0)


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that uses the database in a thread, as a view of the server is.

    In the thread of the loop, each task would open a connection and leave it open.
    """
    return await sync_to_async(function)(*args, **kwargs)


async def running(user: Any, **kwargs: Any) -> Download:
    """Create a running download."""

    def make() -> Download:
        collection = DownloadCollectionFactory(user=user)
        return DownloadFactory(collection=collection, running=True, **kwargs)

    return await in_thread(make)


def session_communicator(client: Client) -> Socket:
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    return Socket(application, "/ws/downloads/", headers=[(b"cookie", cookie.encode())])
