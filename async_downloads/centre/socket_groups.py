"""The groups of the channel layer that a process has joined, all with one channel.

A layer that is slow, emptied, restarted or down costs nothing but promptness: a group is
joined later, with growing pauses, and again after a while.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from async_downloads import intervals
from async_downloads.centre import push
from async_downloads.utils.log import get_logger

__all__ = ["SocketGroups"]

logger = get_logger(__name__)

#: Seconds to wait for an answer of the layer.
LAYER_SECONDS: Final = 5.0

#: Joins at once; each may take a connection to the layer's server.
JOINS: Final = 8

#: Seconds of the first pause after an error, which doubles from error to error.
FIRST_PAUSE: Final = intervals.SOCKET_MINIMUM

#: Seconds of the longest pause.
LONGEST_PAUSE: Final = 60.0


class SocketGroups:
    """Join the groups of all owners with a socket, and receive their messages.

    All methods belong to the event loop of the sockets.
    """

    def __init__(self, layer: Any, receive: Callable[[Mapping[str, Any]], None]) -> None:
        """Do nothing yet: ``start`` begins.

        Args:
            layer: The channel layer.
            receive: Called with each message, and with a hint after the first join of a group.
        """
        self._layer = layer
        self._receive = receive
        #: When each group is to be joined, or joined again, in the time of the loop's clock.
        self._due: dict[str, float] = {}
        self._joined: set[str] = set()
        self._left: set[str] = set()
        self._channel = ""
        self._changed = asyncio.Event()
        self._errors = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to join and to listen."""
        self._tasks = [asyncio.create_task(work) for work in (self._keep(), self._listen())]

    def join(self, group: str) -> None:
        """Join a group soon, even if it was joined before."""
        self._left.discard(group)
        self._due[group] = 0
        self._changed.set()

    def leave(self, group: str) -> None:
        """Leave a group soon. A layer that does not answer expires the membership by itself."""
        self._due.pop(group, None)
        self._joined.discard(group)
        self._left.add(group)
        self._changed.set()

    def close(self) -> None:
        """End after the groups are left; at once if the layer does not answer."""
        for task in self._tasks if self._errors else self._tasks[1:]:
            task.cancel()
        self._due.clear()
        self._changed.set()

    async def _keep(self) -> None:
        """Join and leave groups until none is left."""
        while self._due or self._left:
            self._changed.clear()
            try:
                await self._join_due()
                await self._leave_left()
            except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
                await self._pause(error)
            else:
                self._errors = 0
                await self._wait()

    async def _join_due(self) -> None:
        now = time.monotonic()
        due = [group for group, moment in self._due.items() if moment <= now]
        for start in range(0, len(due), JOINS):
            self._channel = self._channel or await _answer(self._layer.new_channel)
            await _all(self._join(group) for group in due[start : start + JOINS])

    async def _join(self, group: str) -> None:
        await _answer(self._layer.group_add, group, self._channel)
        if group not in self._due:
            return
        pause = intervals.SOCKET_REJOIN * random.uniform(0.5, 1)  # noqa: S311
        self._due[group] = time.monotonic() + pause
        if group not in self._joined:
            self._joined.add(group)
            # A hint may have come before.
            self._receive({"type": push.HINT, "group": group})

    async def _leave_left(self) -> None:
        while self._left:
            some = [self._left.pop() for _ in range(min(JOINS, len(self._left)))]
            if self._channel:
                await _all(
                    _answer(self._layer.group_discard, group, self._channel) for group in some
                )

    async def _wait(self) -> None:
        """Wait until a group is due, or the groups change."""
        pause = min(self._due.values(), default=0) - time.monotonic()
        try:
            async with asyncio.timeout(max(0, pause)):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _pause(self, error: Exception) -> None:
        if not self._errors:
            logger.warning(
                "The channel layer does not answer; changes reach pages later: %r", error
            )
        self._errors += 1
        if not self._due:
            # After the last socket, only the layer is left to forget the groups.
            self._left.clear()
            return
        await asyncio.sleep(_pause_after(self._errors))

    async def _listen(self) -> None:
        """Receive messages for as long as there are sockets."""
        errors = 0
        while True:
            if not self._channel:
                await asyncio.sleep(FIRST_PAUSE)
                continue
            try:
                # A layer that was emptied may wait for ever on what it has forgotten.
                async with asyncio.timeout(intervals.SOCKET_REJOIN):
                    message = await self._layer.receive(self._channel)
            except Exception as error:  # noqa: BLE001 (each layer has errors of its own)
                # The other task reports a layer that stays away.
                logger.debug("No message from the channel layer: %r", error)
                errors = 0 if _is_timeout(error) else errors + 1
                if errors == 1:
                    self._join_again()
                await asyncio.sleep(_pause_after(errors))
            else:
                errors = 0
                self._receive(message)

    def _join_again(self) -> None:
        """Join all groups again: the server of the layer may have begun anew."""
        self._joined.clear()
        for group in self._due:
            self._due[group] = 0
        self._changed.set()


def _is_timeout(error: Exception) -> bool:
    """Return whether only nothing came, as from an idle Redis with a short ``socket_timeout``."""
    return "Timeout" in type(error).__name__


def _pause_after(errors: int) -> float:
    """Return the seconds to wait after a number of errors in a row."""
    return min(FIRST_PAUSE * float(2 ** min(errors, 10)), LONGEST_PAUSE)


async def _answer(question: Callable[..., Any], *arguments: str) -> Any:
    """Return the answer of the layer, or raise a TimeoutError."""
    async with asyncio.timeout(LAYER_SECONDS):
        return await question(*arguments)


async def _all(works: Any) -> None:
    """Run coroutines at once; after all have ended, raise the first error."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
