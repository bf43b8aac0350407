"""The websocket of a signed-in person, which sends the list when it changes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.utils import translation

from async_downloads import intervals, owners, store
from async_downloads.centre import push, rendering, websocket_address, websocket_request
from async_downloads.store import Version
from async_downloads.utils.log import get_logger

__all__ = ["DownloadsConsumer"]

logger = get_logger(__name__)

#: Seconds to wait for the channel layer.
LAYER_SECONDS: Final = 3.0

#: The close code after the end of a session: the page does not reconnect.
SIGNED_OUT: Final = 4401

#: The close code after an error: the page polls for a while.
FAILED: Final = 4500


class _PageGoneError(Exception):
    """The page has closed the connection."""


class DownloadsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # channels has no types
    """Sends the user's downloads, as the fragment that a poll returns.

    Messages of the channel layer are hints to read the rows. Messages of the page
    are ignored.
    """

    #: No layer for channels: it would close the connection at the first error of the
    #: layer, even at a time-out of Redis.
    channel_layer_alias = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layer = get_channel_layer()
        self.hinted = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Serve one connection, and cancel its tasks even if the channel layer fails."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for task in self.tasks:
                task.cancel()

    async def connect(self) -> None:
        """Accept a signed-in user from a page of this site, under their own name."""
        user = self.scope.get("user")
        named = self.scope["url_route"]["kwargs"].get("username")
        known = getattr(user, "is_authenticated", False) and (
            named in (None, websocket_address.ANY_NAME, user.get_username())
        )
        if not known or not websocket_request.is_same_site(self.scope) or self.layer is None:
            await self.close()
            return
        self.owner = owners.resolve(user)
        self.group = push.group_name(user.pk)
        self.seen: Version | None = None
        self.may_change = False
        try:
            self.channel = await self.layer.new_channel()
            # Join before the first read, so that no change is missed in between.
            await self.join()
        except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
            logger.warning("A websocket is refused because its group cannot be joined: %r", error)
            await self.close()
            return
        await self.accept()
        self.tasks = [asyncio.create_task(work) for work in (self.listen(), self.watch())]

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if hasattr(self, "channel"):
            # The layer expires the membership by itself.
            with suppress(Exception):
                async with asyncio.timeout(LAYER_SECONDS):
                    await self.layer.group_discard(self.group, self.channel)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore messages of the page."""

    async def listen(self) -> None:
        """Turn messages into hints; one read answers several."""
        while True:
            try:
                await self.layer.receive(self.channel)
            except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
                # join() reports a layer that stays away.
                logger.debug("No message from the channel layer: %r", error)
                await asyncio.sleep(intervals.SOCKET_MINIMUM)
            else:
                self.hinted.set()

    async def join(self) -> None:
        """Join the group. Repeated, as a flushed layer has lost the membership."""
        async with asyncio.timeout(LAYER_SECONDS):
            await self.layer.group_add(self.group, self.channel)

    async def watch(self) -> None:
        """Send changes until the session ends; after an error the page polls."""
        try:
            while await self.is_still_signed_in():
                await self.send_changes()
                await self.wait()
            await self.close(SIGNED_OUT)
        except _PageGoneError:
            logger.debug("A page has gone before a change was sent")
        except Exception:
            logger.exception("A websocket is closed after an error; its page polls instead")
            # The connection may be closed already.
            with suppress(Exception):
                await self.close(FAILED)

    async def wait(self) -> None:
        """Wait for a hint, or for the interval without one."""
        await asyncio.sleep(intervals.SOCKET_MINIMUM)
        try:
            async with asyncio.timeout(
                intervals.SOCKET_BUSY if self.may_change else intervals.SOCKET_IDLE
            ):
                await self.hinted.wait()
        except TimeoutError:
            await self.join()
        # A hint from here on needs another read.
        self.hinted.clear()

    async def is_still_signed_in(self) -> bool:
        """Return whether the session of the handshake is still valid."""
        session = self.scope.get("session")
        if session is None:
            return True
        fresh = session.__class__(session.session_key)
        return bool(await get_user({"session": fresh}) == self.scope["user"])

    async def send_changes(self) -> None:
        """Send the list if it has changed.

        Raises:
            _PageGoneError: The page has closed the connection.
        """
        markup = await database_sync_to_async(self.render_changes)()
        if markup is None:
            return
        try:
            await self.send(text_data=markup)
        except OSError as error:
            # The ASGI specification's error for a closed connection; uvicorn raises it.
            raise _PageGoneError from error

    def render_changes(self) -> str | None:
        """Return the list as markup in the page's language; None if it has not changed."""
        listing = store.read_changes(self.owner, self.seen, limit=rendering.MENU_SIZE)
        if listing is None:
            return None
        request = websocket_request.request_of(self.scope)
        language = websocket_request.language_of(request)
        with translation.override(language), websocket_request.below_prefix(request):
            markup = rendering.render_pushed(listing, request)
        self.seen, self.may_change = listing.version, listing.in_progress
        return markup
