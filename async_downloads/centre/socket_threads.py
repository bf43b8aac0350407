"""A few threads that use the database for the websockets of a process.

However many sockets wake at once, each thread has one connection. It keeps that connection
while there is work, as opening one may take longer than the work itself.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from django.db import close_old_connections, connections

__all__ = ["SocketThreads"]

T = TypeVar("T")

#: The name of the threads.
THREAD_NAME: Final = "async-downloads-sockets"


class SocketThreads:
    """Run functions, the oldest first, a few at a time."""

    def __init__(self, count: int) -> None:
        """Start no thread yet."""
        self._count = count
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of a function that may use the database."""
        future: Future[T] = Future()
        self._queue.put((future, work))
        if len(self._threads) < self._count:
            # The process must be able to end while a database does not answer.
            thread = Thread(target=self._work, name=THREAD_NAME, daemon=True)
            self._threads.append(thread)
            thread.start()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the threads after their work. Work whose result is not awaited is not begun."""
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        try:
            while (waiting := self._next()) is not None:
                _do(*waiting)
        finally:
            connections.close_all()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Return the next work; None for the end."""
        try:
            return self._queue.get_nowait()
        except Empty:
            close_old_connections()
        waiting = self._queue.get()
        close_old_connections()
        return waiting


def _do(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 (it is raised where it is awaited)
        future.set_exception(error)
        # The connection may be unusable.
        close_old_connections()
    else:
        future.set_result(result)
