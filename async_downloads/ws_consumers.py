"""The websocket of a signed-in person, which sends the summary when the list changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.utils import translation

from async_downloads import owners
from async_downloads.centre import (
    rendering,
    socket_watcher,
    websocket_address,
    websocket_request,
    websocket_session,
)
from async_downloads.store import Summary

__all__ = ["DownloadsConsumer"]


class DownloadsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # channels has no types
    """Sends the state of the user's downloads, as the poll of a closed menu returns it.

    An open menu then requests the list.

    One watcher looks for changes, for all sockets of the process. Messages of the page are
    ignored.
    """

    #: No layer for channels: it would close the connection at the first error of the
    #: layer, even at a time-out of Redis.
    channel_layer_alias = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layer = get_channel_layer()
        self.leave: Callable[[], None] | None = None
        self.since: str | None = None

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Serve one connection. Also a server that ends cancels it, without a message."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.leave is not None:
                self.leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message of the server.

        Unlike channels, it waits for no thread: this consumer has no connection to close there,
        and sockets that open at once would wait for each other.
        """
        await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """End after the connection."""
        await self.disconnect(message["code"])
        raise StopConsumer

    async def connect(self) -> None:
        """Accept a signed-in user from a page of this site, under their own name."""
        user = self.scope.get("user")
        named = self.scope["url_route"]["kwargs"].get("username")
        known = getattr(user, "is_authenticated", False) and (
            named in (None, websocket_address.ANY_NAME, owners.name_of(user))
        )
        if not known or not websocket_request.is_same_site(self.scope) or self.layer is None:
            await self.close()
            return
        query = self.scope.get("query_string", b"").decode(errors="replace")
        [self.since] = parse_qs(query, keep_blank_values=True).get("since", [None])[:1]
        await self.accept()
        self.leave = socket_watcher.watch(self.layer, owners.resolve(user), self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore messages of the page."""

    async def send_markup(self, markup: str) -> None:
        """Send markup to the page."""
        await self.send(text_data=markup)

    def is_signed_in(self) -> bool:
        """Return whether the session of the handshake is still valid."""
        return websocket_session.is_valid(self.scope.get("session"), self.scope["user"])

    def request_key(self) -> Hashable:
        """Return all of the handshake on which the markup may depend."""
        return websocket_request.key_of(self.scope)

    def render(self, summary: Summary, finished: Sequence[Any]) -> str:
        """Return a summary as markup in the page's language, with toasts for what has finished."""
        request = websocket_request.request_of(self.scope)
        language = websocket_request.language_of(request)
        with translation.override(language), websocket_request.below_prefix(request):
            return rendering.render_summary(summary, request, finished)
