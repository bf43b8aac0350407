"""Tasks that run in a thread of the process that queues them, for tests and development."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, update_wrapper
from typing import Any

from django.db import connections

from async_downloads.executors.base import NEVER_RUN, Enqueue
from async_downloads.executors.runner import supervise

__all__ = ["ThreadTask", "enqueuer", "thread_task"]


class ThreadTask:
    """A task that gets a thread of its own each time it is queued.

    There is no queue that would survive the process or deliver a second time,
    and no limit on the number of threads: in production a download deserves a
    worker.
    """

    def __init__(self, function: Callable[..., object]):
        """Take a function for a task.

        Args:
            function: Called with the download key first.

        Raises:
            TypeError: It is no function, or one that would only make a coroutine or a generator.
        """
        if not callable(function):
            raise TypeError(f"task must be a function, not {function!r}.")
        if any(kind(function) for kind in NEVER_RUN):
            raise TypeError(f"{function!r} would only make a coroutine or a generator.")
        self.function = function
        update_wrapper(self, function)

    def __call__(self, download_key: str, *args: Any, **kwargs: Any) -> None:
        """Run it here and now, and record how it ended.

        Args:
            download_key: The function's first argument.
            *args: Its other positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            BaseException: What the function raised; see ``supervision.supervise``.
        """
        body = partial(self.function, download_key, *args, **kwargs)
        supervise(download_key, body, makes_file=True)

    def enqueue(self, download_key: str, *args: Any, **kwargs: Any) -> "Future[None]":
        """Run it in a new thread, as ``__call__`` would.

        Returns:
            Tells when it has ended, and what was raised.
        """
        future: Future[None] = Future()
        work = partial(self, download_key, *args, **kwargs)
        name = f"download {download_key}"
        threading.Thread(target=_run, args=(work, future), name=name).start()
        return future


def thread_task(function: Callable[..., object]) -> ThreadTask:
    """Make a function a task that runs in a thread of the process that queues it.

    How it ended is recorded, as ``download_task`` does.

    Args:
        function: Called with the download key first.

    Raises:
        TypeError: It is no function, or one that would only make a coroutine or a generator.
    """
    return ThreadTask(function)


def enqueuer(task: Any) -> Enqueue | None:
    """Return what starts the thread of a task, or None if this is no task of a thread's.

    Args:
        task: What may be such a task.
    """
    return task.enqueue if isinstance(task, ThreadTask) else None


def _run(work: Callable[[], None], future: "Future[None]") -> None:
    future.set_running_or_notify_cancel()
    try:
        work()
    except BaseException as error:  # noqa: BLE001 (there is no worker above to see it)
        connections.close_all()
        future.set_exception(error)
    else:
        connections.close_all()
        future.set_result(None)
