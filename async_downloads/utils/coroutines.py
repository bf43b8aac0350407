"""Run a coroutine from a thread that waits for it, and blocking work from an event loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from asgiref.sync import AsyncToSync, async_to_sync, sync_to_async
from django.db import connections

__all__ = ["in_event_loop", "in_new_thread", "run"]

T = TypeVar("T")


def in_event_loop() -> bool:
    """Return whether the caller runs in the thread of an event loop, and must not block it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(function: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function, and wait for its end.

    It runs on the event loop that waits for this thread, or else on a new one. The ORM calls
    that it awaits run in this thread, with its connections.

    A queue interrupts a task that takes too long by an exception in this thread. Then the
    coroutine is cancelled, and the exception is raised once it has ended.

    Args:
        function: Returns what is awaited; it is called on the event loop.

    Raises:
        BaseException: The coroutine raised it, or this thread was interrupted by it.
    """
    running = _Running(function)
    try:
        return async_to_sync(running.main)()
    except BaseException:
        running.stop()
        raise


async def in_new_thread(work: Callable[[], T], cancelled: threading.Event | None = None) -> T:
    """Call blocking work in a new thread, and await its end, even if the caller is cancelled.

    Coroutines that it runs by ``run`` run on this event loop, so that they may use what belongs
    to it. No other work waits for the thread, and no connection of it stays open.

    Args:
        work: Called without arguments.
        cancelled: Set if the caller is cancelled, for work that may end early.

    Raises:
        BaseException: The work raised it.
    """

    def closing() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    executor = ThreadPoolExecutor(max_workers=1)
    try:
        return await sync_to_async(closing, thread_sensitive=False, executor=executor)()
    except asyncio.CancelledError:
        if cancelled is not None:
            cancelled.set()
        # It runs after the work, which may still be recording its end.
        await asyncio.wrap_future(executor.submit(lambda: None))
        raise
    finally:
        executor.shutdown(wait=False)


class _Running(Generic[T]):
    """A coroutine on an event loop while a thread waits for it."""

    def __init__(self, function: Callable[[], Awaitable[T]]):
        self._function = function
        self._lock = threading.Lock()
        self._stopped = False
        self._ended: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread: Any = None

    async def main(self) -> T:
        """Await the function on the event loop."""
        with self._lock:
            if self._stopped:
                raise asyncio.CancelledError
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            # Runs in the waiting thread what the coroutine gives to ``sync_to_async``.
            self._thread = AsyncToSync.executors.current
        try:
            return await self._function()
        finally:
            self._ended.set_result(None)

    def stop(self) -> None:
        """Cancel the coroutine if it still runs, and work for it until it has ended."""
        with self._lock:
            self._stopped = True
        if self._loop is None or self._task is None or self._ended.done():
            return
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.run_until_future(self._ended)
