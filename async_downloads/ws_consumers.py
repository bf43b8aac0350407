"""The websocket of a signed-in person: it sends the list whenever it changed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.utils import translation

from async_downloads import owners, store
from async_downloads.centre import push, rendering, websocket_address, websocket_request
from async_downloads.store import Version
from async_downloads.utils.log import get_logger

__all__ = ["DownloadsConsumer"]

logger = get_logger(__name__)

#: Seconds between two looks at the least, however many hints come in between.
COALESCE_SECONDS: Final = 0.25

#: Seconds after which a look is due without a hint, while something may change.
BUSY_SECONDS: Final = 2.0

#: The same while nothing does; a session that has ended is noticed as late as this.
IDLE_SECONDS: Final = 15.0

#: Seconds that the channel layer is waited for.
LAYER_SECONDS: Final = 3.0

#: How a page is told that it need not connect again: its session has ended.
SIGNED_OUT: Final = 4401

#: How a page is told that it has to poll for a while.
FAILED: Final = 4500


class _PageGoneError(Exception):
    """The connection has ended in the meantime."""


class DownloadsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # channels has no types
    """Sends the caller's downloads, as the same fragment that a poll brings.

    What comes over the channel layer is only a hint to look again. Nothing that
    the page sends is acted on.
    """

    #: No layer of this name: channels would end the connection with the first error of its
    #: receiving, be it a time-out of a Redis that had nothing to tell.
    channel_layer_alias = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layer = get_channel_layer()
        self.hinted = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Serve one connection, and leave nothing behind, also if the channel layer fails."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for task in self.tasks:
                task.cancel()

    async def connect(self) -> None:
        """Let in a signed-in user, from a page of this site, under no name but their own."""
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
            # Joined before the first look, so that no change falls between the two.
            await self.join()
        except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
            logger.warning("A page is not pushed to, because its group cannot be joined: %r", error)
            await self.close()
            return
        await self.accept()
        self.tasks = [asyncio.create_task(work) for work in (self.listen(), self.watch())]

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if hasattr(self, "channel"):
            # Whatever is left of it, the layer expires.
            with suppress(Exception):
                async with asyncio.timeout(LAYER_SECONDS):
                    await self.layer.group_discard(self.group, self.channel)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore what a page sends."""

    async def listen(self) -> None:
        """Take each message for a hint to look again soon; several are answered by one look."""
        while True:
            try:
                await self.layer.receive(self.channel)
            except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
                # A layer that stays away is noticed when the group is joined again.
                logger.debug("The channel layer told nothing: %r", error)
                await asyncio.sleep(COALESCE_SECONDS)
            else:
                self.hinted.set()

    async def join(self) -> None:
        """Join the group, again and again: a layer that was emptied has forgotten it."""
        async with asyncio.timeout(LAYER_SECONDS):
            await self.layer.group_add(self.group, self.channel)

    async def watch(self) -> None:
        """Send what changes, until the session ends; whatever fails, the page is told to poll."""
        try:
            while await self.is_signed_in_still():
                await self.send_changes()
                await self.wait()
            await self.close(SIGNED_OUT)
        except _PageGoneError:
            logger.debug("A page has gone while it was told of a change")
        except Exception:
            logger.exception("A websocket is closed; its page polls instead")
            # It may be gone already.
            with suppress(Exception):
                await self.close(FAILED)

    async def wait(self) -> None:
        """Wait for a hint, or until it is time to look without one."""
        # However fast hints come, looks keep a distance.
        await asyncio.sleep(COALESCE_SECONDS)
        try:
            async with asyncio.timeout(BUSY_SECONDS if self.may_change else IDLE_SECONDS):
                await self.hinted.wait()
        except TimeoutError:
            await self.join()
        # From here on a hint asks for a look of its own.
        self.hinted.clear()

    async def is_signed_in_still(self) -> bool:
        """Return whether the session that the socket was opened in has not ended since."""
        session = self.scope.get("session")
        if session is None:
            return True
        fresh = session.__class__(session.session_key)
        return bool(await get_user({"session": fresh}) == self.scope["user"])

    async def send_changes(self) -> None:
        """Send the list, unless the page shows it already.

        Raises:
            _PageGoneError: Nobody is there any more, which the server will tell us next.
        """
        markup = await database_sync_to_async(self.render_changes)()
        if markup is None:
            return
        try:
            await self.send(text_data=markup)
        except OSError as error:
            # What ASGI has servers raise then; uvicorn does.
            raise _PageGoneError from error

    def render_changes(self) -> str | None:
        """Return the list as markup, in the language of the page; None if it did not change."""
        listing = store.read_changes(self.owner, self.seen, limit=rendering.MENU_SIZE)
        if listing is None:
            return None
        request = websocket_request.request_of(self.scope)
        language = websocket_request.language_of(request)
        with translation.override(language), websocket_request.below_prefix(request):
            markup = rendering.render_pushed(listing, request)
        self.seen, self.may_change = listing.version, listing.in_progress
        return markup
