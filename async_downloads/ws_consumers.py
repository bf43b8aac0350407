"""The websocket of a signed-in person: it sends the list whenever it changed."""

import asyncio
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from async_downloads import fragments, owners, push
from async_downloads.store import Version

__all__ = ["DownloadsConsumer"]

#: Seconds in which hints that come close together are answered once.
COALESCE_SECONDS: Final = 0.25


class DownloadsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # channels has no types
    """Sends the caller's downloads, as the same fragment that a poll brings.

    What comes over the channel layer is only a hint to look again. Nothing that
    the page sends is acted on.
    """

    async def connect(self) -> None:
        """Let in a signed-in user, under no name but their own."""
        user = self.scope.get("user")
        named = self.scope["url_route"]["kwargs"].get("username")
        if not getattr(user, "is_authenticated", False) or named not in (None, user.get_username()):
            await self.close()
            return
        self.owner = owners.resolve(user)
        self.seen: Version | None = None
        self.sender: asyncio.Task[None] | None = None
        self.group = push.group_name(user.pk)
        # Joined before the first look, so that no change falls between the two.
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_changes()

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)
            if self.sender is not None:
                self.sender.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore what a page sends."""

    async def downloads_hint(self, message: dict[str, Any]) -> None:
        """Look again soon; hints that come until then are answered by the same look."""
        if self.sender is None or self.sender.done():
            self.sender = asyncio.create_task(self.send_soon())

    async def send_soon(self) -> None:
        """Wait for the hints that belong together, then send."""
        await asyncio.sleep(COALESCE_SECONDS)
        # From here on a hint asks for a look of its own.
        self.sender = None
        await self.send_changes()

    async def send_changes(self) -> None:
        """Send the list, unless the page shows it already."""
        changed = await database_sync_to_async(fragments.render_changed)(self.owner, self.seen)
        if changed is not None:
            markup, self.seen = changed
            await self.send(text_data=markup)
