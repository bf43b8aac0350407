"""A server in a thread of the tests: what they change, pages see at once, by poll or by socket."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Any

import uvicorn
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler

from async_downloads.routing import websocket_urlpatterns
from tests import pace
from tests.faults.processes import eventually

__all__ = ["running"]


class Handler(ASGIHandler):
    """Django's handler, which leaves the body of some requests open that the page has ended."""

    _open = ContextVar[ExitStack]("open")

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        with ExitStack() as stack:
            self._open.set(stack)
            await super().handle(scope, receive, send)

    async def read_body(self, receive: Any) -> Any:
        return self._open.get().enter_context(await super().read_body(receive))


def application() -> Any:
    """Return the site of the tests as an ASGI application, with the websocket of the package."""
    sockets = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    return ProtocolTypeRouter(
        {
            "http": ASGIStaticFilesHandler(Handler()),
            "websocket": AllowedHostsOriginValidator(sockets),
        }
    )


@contextmanager
def running() -> Iterator[str]:
    """Run the server, and yield its address."""
    config = uvicorn.Config(
        application(),
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        # No page polls over a connection that is being closed, which is an error in its console.
        timeout_keep_alive=pace.whole(pace.LONGEST_WAIT),
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, name="server of the tests")
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), why="the server listens")
        ((listening,),) = (each.sockets for each in server.servers)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(pace.LONGEST_WAIT)
        assert not thread.is_alive()
