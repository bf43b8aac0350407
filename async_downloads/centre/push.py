"""A hint to a user's open pages that something changed.

The hint says nothing but "look again": the page's own connection reads the
rows. So a hint that is lost, doubled or late does no harm.
"""

import asyncio
import hashlib
import re
from contextlib import suppress
from threading import Thread
from typing import Any, Final

from async_downloads import settings
from async_downloads.utils.circuit_breaker import CircuitBreaker

__all__ = ["HINT", "group_name", "hint"]

#: The type of the message, which channels turns into the name of the handler.
HINT: Final = "downloads.hint"

#: Seconds that an export waits for the layer at the most.
SEND_SECONDS: Final = 1.0

#: The name of a thread that sends a hint aside.
THREAD_NAME: Final = "async-downloads-hint"

#: What channels allows in the name of a group.
_VALID_GROUP: Final = re.compile(r"[a-zA-Z0-9\-_.]{1,99}")


def group_name(user_id: Any) -> str:
    """Return the name of a user's group, valid whatever the primary key is made of."""
    name = f"{settings.WS_CHANNEL_NAME}_{user_id}"
    if _VALID_GROUP.fullmatch(name):
        return name
    return hashlib.sha256(name.encode()).hexdigest()


def hint(user_id: Any) -> None:
    """Tell a user's open pages to look again, if pages are pushed to at all.

    Nothing that goes wrong here reaches the caller: the export goes on, and the
    page finds out by polling.
    """
    if not settings.WS_MODE:
        return
    group = group_name(user_id)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _try_to_send(group)
    else:
        _send_aside(group)


def _send_aside(group: str) -> None:
    """Send from a thread of its own: a running loop must not be waited in, and may end first."""
    # If there can be no thread any more, the process is about to end.
    with suppress(RuntimeError):
        Thread(target=_try_to_send, args=(group,), name=THREAD_NAME).start()


def _try_to_send(group: str) -> None:
    _breaker.call(lambda: _send(group), None)


def _send(group: str) -> None:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    async def send() -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await get_channel_layer().group_send(group, {"type": HINT})
        except asyncio.CancelledError as error:
            # It is not an Exception, so that it would end whatever wanted to send.
            raise ConnectionError("The channel layer has cancelled the message.") from error

    async_to_sync(send)()


_breaker: Final = CircuitBreaker("The channel layer")
