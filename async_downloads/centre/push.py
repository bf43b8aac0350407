"""Hints to a user's open pages that something changed.

A hint carries no data but the name of its group, as a process receives those of all groups
on one channel: the process of the page looks at the rows, or at the session. A hint that is
lost, repeated or late does no harm.
"""

import asyncio
import hashlib
import re
from contextlib import suppress
from threading import Thread
from typing import Any, Final

from async_downloads import settings
from async_downloads.utils.circuit_breaker import CircuitBreaker
from async_downloads.utils.coroutines import in_event_loop

__all__ = ["HINT", "SIGNED_OUT", "group_name", "hint", "hint_team", "team_group_name"]

#: The type of the message after a change of a download.
HINT: Final = "downloads.hint"

#: The type of the message after the end of a session, or a change of the user.
SIGNED_OUT: Final = "downloads.signed_out"

#: Seconds that an export waits for the channel layer at most.
SEND_SECONDS: Final = 1.0

#: The name of a thread that sends a hint.
THREAD_NAME: Final = "async-downloads-hint"

#: The names of groups that channels accepts.
_VALID_GROUP: Final = re.compile(r"[a-zA-Z0-9\-_.]{1,99}")


def group_name(user_id: Any) -> str:
    """Return the name of a user's group, valid for any primary key."""
    name = f"{settings.WS_CHANNEL_NAME}_{user_id}"
    if _VALID_GROUP.fullmatch(name):
        return name
    return hashlib.sha256(name.encode()).hexdigest()


def team_group_name(collection_key: str) -> str:
    """Return the name of the group of a collection that belongs to no user."""
    # A key may be any text, and may look like the group of a user.
    name = f"{settings.WS_CHANNEL_NAME} team {collection_key}"
    return hashlib.sha256(name.encode()).hexdigest()


def hint_team(collection_key: str) -> None:
    """Send a hint to the open pages of the members of a team, if there are teams."""
    if settings.WS_MODE and settings.MEMBERS:
        _send_soon(team_group_name(collection_key), HINT)


def hint(user_id: Any, kind: str = HINT) -> None:
    """Send a hint to a user's open pages, if ``WS_MODE`` is on.

    Errors do not reach the caller: the export continues, and the page polls.
    """
    if settings.WS_MODE:
        _send_soon(group_name(user_id), kind)


def _send_soon(group: str, kind: str) -> None:
    if not in_event_loop():
        _send_or_log(group, kind)
        return
    # A running event loop must not be blocked and may end first, so a thread sends the hint.
    # No thread can start while the process shuts down.
    with suppress(RuntimeError):
        Thread(target=_send_or_log, args=(group, kind), name=THREAD_NAME).start()


def _send_or_log(group: str, kind: str) -> None:
    _breaker.call(lambda: _send(group, kind), None)


def _send(group: str, kind: str) -> None:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    async def send() -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await get_channel_layer().group_send(group, {"type": kind, "group": group})
        except asyncio.CancelledError as error:
            # CancelledError is not an Exception: it would end the caller.
            raise ConnectionError("The channel layer has cancelled the message.") from error

    async_to_sync(send)()


_breaker: Final = CircuitBreaker("The channel layer")
