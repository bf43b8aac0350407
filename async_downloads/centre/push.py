"""Hints to a user's open pages that something changed.

A hint carries no data: the consumer of the page reads the rows. A hint that is
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

__all__ = ["HINT", "group_name", "hint"]

#: The type of the message.
HINT: Final = "downloads.hint"

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


def hint(user_id: Any) -> None:
    """Send a hint to a user's open pages, if ``WS_MODE`` is on.

    Errors do not reach the caller: the export continues, and the page polls.
    """
    if not settings.WS_MODE:
        return
    group = group_name(user_id)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _send_or_log(group)
        return
    # A running event loop must not be blocked and may end first, so a thread sends the hint.
    # No thread can start while the process shuts down.
    with suppress(RuntimeError):
        Thread(target=_send_or_log, args=(group,), name=THREAD_NAME).start()


def _send_or_log(group: str) -> None:
    _breaker.call(lambda: _send(group), None)


def _send(group: str) -> None:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    async def send() -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await get_channel_layer().group_send(group, {"type": HINT})
        except asyncio.CancelledError as error:
            # CancelledError is not an Exception: it would end the caller.
            raise ConnectionError("The channel layer has cancelled the message.") from error

    async_to_sync(send)()


_breaker: Final = CircuitBreaker("The channel layer")
