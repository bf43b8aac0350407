"""Tasks that run in a thread of the process that queues them, for tests and development."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, update_wrapper
from typing import Any

from django.db import connections

from async_downloads.executors.runner import check_function, supervise

__all__ = ["ThreadTask", "thread_task"]


class ThreadTask:
    """A task that starts a thread each time it is queued.

    Without a queue, tasks do not survive the process, are never delivered again, and
    run in any number of threads: in production, use a worker.
    """

    def __init__(self, function: Callable[..., object]):
        """Wrap a function.

        Args:
            function: Called with the download key first.

        Raises:
            TypeError: It is not a function, or it is a generator function.
        """
        if not callable(function):
            raise TypeError(f"task must be a function, not {function!r}.")
        check_function(function)
        self.function = function
        update_wrapper(self, function)

    def __call__(self, download_key: str, *args: Any, **kwargs: Any) -> None:
        """Run the function in this thread, and record how it ended.

        Args:
            download_key: The function's first argument.
            *args: Its other positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            BaseException: The function raised it; see ``executors.runner.supervise``.
        """
        body = partial(self.function, download_key, *args, **kwargs)
        supervise(download_key, body, makes_file=True)

    def enqueue(self, download_key: str, *args: Any, **kwargs: Any) -> "Future[None]":
        """Run the function in a new thread, as ``__call__`` would.

        Returns:
            A future that is done when the function has ended, with its exception.
        """
        future: Future[None] = Future()
        work = partial(self, download_key, *args, **kwargs)
        name = f"download {download_key}"
        threading.Thread(target=_run, args=(work, future), name=name).start()
        return future


def thread_task(function: Callable[..., object]) -> ThreadTask:
    """Make a function a task that runs in a thread of the process that queues it.

    Its end is recorded, as by ``download_task``.

    Args:
        function: Called with the download key first.

    Raises:
        TypeError: It is not a function, or it is a generator function.
    """
    return ThreadTask(function)


def _run(work: Callable[[], None], future: "Future[None]") -> None:
    future.set_running_or_notify_cancel()
    try:
        work()
    except BaseException as error:  # noqa: BLE001 (the future carries it)
        connections.close_all()
        future.set_exception(error)
    else:
        connections.close_all()
        future.set_result(None)
