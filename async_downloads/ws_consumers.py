"""The websocket of a signed-in person: it sends the list whenever it changed."""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings as project_settings
from django.http.request import split_domain_port, validate_host

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
        """Let in a signed-in user, from a page of this site, under no name but their own."""
        user = self.scope.get("user")
        named = self.scope["url_route"]["kwargs"].get("username")
        known = getattr(user, "is_authenticated", False) and named in (None, user.get_username())
        if not known or not self.is_same_site() or self.channel_layer is None:
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

    def is_same_site(self) -> bool:
        """Return whether the page that connects is one of this site's.

        A browser sends its cookies along whatever page opens the socket; only the
        origin tells. Callers that are no browsers send none.
        """
        headers = dict(self.scope.get("headers", ()))
        origin = headers.get(b"origin")
        if origin is None:
            return True
        host = urlsplit(origin.decode("latin-1")).hostname or ""
        own = split_domain_port(headers.get(b"host", b"").decode("latin-1"))[0]
        # "*" leaves it to the server which hosts there are; it does not befriend every site.
        named = [pattern for pattern in project_settings.ALLOWED_HOSTS if pattern != "*"]
        return validate_host(host, named or [own])

    async def is_signed_in_still(self) -> bool:
        """Return whether the session that the socket was opened in has not ended since."""
        session = self.scope.get("session")
        if session is None:
            return True
        fresh = session.__class__(session.session_key)
        return bool(await get_user({"session": fresh}) == self.scope["user"])

    async def send_changes(self) -> None:
        """Send the list, unless the page shows it already or the session has ended."""
        if not await self.is_signed_in_still():
            await self.close()
            return
        changed = await database_sync_to_async(fragments.render_changed)(self.owner, self.seen)
        if changed is not None:
            markup, self.seen = changed
            await self.send(text_data=markup)
