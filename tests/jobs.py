"""Tasks as a site would write them: at module level, where a worker can import them."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

import celery
from django_q.exceptions import TimeoutException

from async_downloads import cache
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.executors.threads import thread_task
from async_downloads.shortcuts import download_task

#: The arguments of each call.
calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

#: The thread of each call of a thread task.
threads: list[str] = []

not_callable = 5

#: Not the current app, so that it does not affect other tests. Its broker is in memory.
celery_app = celery.Celery("tests", broker="memory://", set_as_current=False)

#: An app whose broker cannot be reached.
dead_celery_app = celery.Celery(
    "dead", broker="amqp://127.0.0.1:1//", backend=None, set_as_current=False
)
dead_celery_app.conf.task_publish_retry = False
dead_celery_app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}


def remember(*args: Any, **kwargs: Any) -> str:
    calls.append((args, kwargs))
    return "an unused result"


remember_too = remember


def export(download_key: str, *rows: list[Any]) -> None:
    calls.append(((download_key, *rows), {}))
    cache.save_download(download_key, [["id", "name"], *rows])


@download_task
def decorated(download_key: str) -> None:
    """Export as the README recommends."""
    cache.save_download(download_key, [["row"]])


def with_a_session(function: Any) -> Any:
    """Add an argument to each call, as a decorator of a site may."""
    return wraps(function)(lambda *args, **kwargs: function(*args, session="s", **kwargs))


def with_a_signature(function: Any) -> Any:
    """Let a wrapper show the parameters of what it wraps, as those of wrapt do."""
    function.__signature__ = inspect.signature(function)
    return function


@with_a_session
@download_task
def with_session(download_key: str, *, session: str) -> None:
    """Export with another decorator on top."""
    cache.save_download(download_key, [[session]])


@with_a_signature
@with_a_session
def with_signature(download_key: str, *, session: str) -> None:
    """Export with another decorator on top that shows the parameters of the function."""
    cache.save_download(download_key, [[session]])


@download_task
@with_a_session
def with_session_inside(download_key: str, *, session: str) -> None:
    """Export with another decorator below."""
    cache.save_download(download_key, [[session]])


def fail(download_key: str) -> None:
    raise LookupError("postgres://user:secret@db/shop has no such table")


def in_context(context: Any, download_key: str) -> None:
    """Take the context of a Django task as well."""


def fail_for_people(download_key: str) -> None:
    raise DownloadError("Choose a shorter period.")


def leave(download_key: str) -> None:
    raise SystemExit(3)


def time_out(download_key: str) -> None:
    raise TimeoutException("Task exceeded maximum timeout value")


def interrupt(download_key: str) -> None:
    raise KeyboardInterrupt


def cancel(download_key: str) -> None:
    raise DownloadCancelled("cleared")


async def coroutine(download_key: str, *rows: Any) -> None:
    """Save rows of an async generator."""

    async def generated() -> AsyncIterator[Any]:
        for row in rows:
            await asyncio.sleep(0)
            yield row

    await cache.asave_download(download_key, generated())


async def async_generator(download_key: str) -> AsyncIterator[int]:
    """Look like a task, but make an async generator when called."""
    yield 1


def generator(download_key: str) -> Iterator[int]:
    """Look like a task, but make a generator when called."""
    yield 1


class Jobs:
    """Callables that cannot be imported by their path."""

    def method(self, download_key: str) -> None:
        """Do nothing."""

    async def coroutine(self, download_key: str) -> None:
        """Do nothing."""


class Backend:
    """The part of a Django task that the tests need."""

    enqueued: ClassVar[list[tuple[tuple[Any, ...], dict[str, Any]]]] = []

    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        self.enqueued.append((args, kwargs))


class DeadBackend:
    """A task whose queue cannot be reached."""

    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to redis://:secret@queue")


@celery_app.task
def celery_remember(*args: Any, **kwargs: Any) -> None:
    calls.append((args, kwargs))


@celery_app.task
def celery_fail(download_key: str) -> None:
    fail(download_key)


@celery_app.task
@download_task
def celery_decorated(download_key: str) -> None:
    """Export as the README recommends."""
    cache.save_download(download_key, [["row"]])


@thread_task
def in_thread(*args: Any, **kwargs: Any) -> None:
    threads.append(threading.current_thread().name)
    calls.append((args, kwargs))
    cache.save_download(args[0], [["row"]])


@dead_celery_app.task
def celery_remember_dead(*args: Any, **kwargs: Any) -> None:
    calls.append((args, kwargs))


def running_threads(download_key: str) -> list[threading.Thread]:
    """Return the threads that build a download."""
    return [thread for thread in threading.enumerate() if download_key in thread.name]


@contextmanager
def eager_celery() -> Iterator[None]:
    """Let Celery run tasks instead of queueing them."""
    celery_app.conf.task_always_eager = True
    try:
        yield
    finally:
        celery_app.conf.task_always_eager = False


def forget() -> Iterator[None]:
    """Clear the recorded calls before and after a test."""
    for remembered in (calls, threads, Backend.enqueued):
        remembered.clear()
    yield
    for remembered in (calls, threads, Backend.enqueued):
        remembered.clear()
