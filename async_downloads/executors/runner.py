"""Run the body of a task, and record its end whatever it is."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from functools import partial

from django.utils.translation import gettext_noop

from async_downloads import store
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.utils import coroutines
from async_downloads.utils.log import get_logger

__all__ = ["asupervise", "check_function", "supervise"]

logger = get_logger(__name__)


class _CoroutineCancelledError(RuntimeError):
    """The coroutine of a task was cancelled."""


def check_function(function: object) -> None:
    """Check that a call runs the body of a function.

    Raises:
        TypeError: It is a generator function.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function!r} would only make a generator, which would not run.")


def supervise(download_key: str, body: Callable[[], object], *, makes_file: bool) -> None:
    """Claim a download, run the body that builds it, and record its end.

    The claim comes first, so that an attempt counts even if the worker dies
    before the body saves anything. Without a claim the body does not run: the
    download was cleared, is complete, or had too many attempts.

    An exception is raised again for the queue to see, unless the task needs no repeat:
    the download was cancelled, or the task has reported the failure to the owner
    (``DownloadError``). The return value of the body is dropped: the queue would have
    to store it.

    Args:
        download_key: The key of the download.
        body: Builds the file. A coroutine that it returns is run to its end.
        makes_file: Whether a body that ends well without a file has failed; otherwise
            the download waits for the attempt that may build it.

    Raises:
        DownloadBusy: Another attempt at the same download is alive.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        RuntimeError: The body called ``sys.exit``, which would end the worker, or it is a
            coroutine that was cancelled.
        TypeError: The body has only made a generator.
    """
    attempt = store.join(download_key, any_thread=False) or store.claim(download_key)
    while attempt is not None:
        _run(attempt, body, makes_file=makes_file)
        # The queue has one message for both attempts. Until the attempt that took over has
        # finished, this one must not end as if no work was left.
        attempt = store.claim(download_key, superseded=True) if attempt.superseded else None


async def asupervise(download_key: str, body: Callable[[], object]) -> None:
    """Do the same as ``supervise`` for a body that must make a file, on an event loop.

    A coroutine that the body returns runs on this event loop, and all else in a new thread.

    Raises:
        BaseException: As for ``supervise``.
    """
    cancelled = threading.Event()

    def body_unless_cancelled() -> object:
        if cancelled.is_set():
            raise asyncio.CancelledError
        return body()

    work = partial(supervise, download_key, body_unless_cancelled, makes_file=True)
    try:
        await coroutines.in_new_thread(work, cancelled)
    except _CoroutineCancelledError as error:
        raise asyncio.CancelledError from error


def _run(attempt: store.Attempt, body: Callable[[], object], *, makes_file: bool) -> None:
    attempt.runs_task = True
    try:
        with attempt:
            _run_body(body)
        _conclude(attempt, makes_file=makes_file)
    except DownloadCancelled:
        logger.info("Download %s was cancelled", attempt.download.download_key)
        _conclude(attempt, makes_file=True)
    except DownloadError as error:
        logger.info("Download %s failed: %s", attempt.download.download_key, error)
    except SystemExit as error:
        if type(error) is not SystemExit:
            # The queue waits for this exception, which it raised for a time-out.
            raise
        raise RuntimeError(f"The task called sys.exit({error.code!r}).") from error
    except asyncio.CancelledError as error:
        # A worker expects an ``Exception``.
        raise _CoroutineCancelledError("The coroutine of the task was cancelled.") from error


def _conclude(attempt: store.Attempt, *, makes_file: bool) -> None:
    """End an attempt that has neither finished nor failed."""
    if makes_file:
        attempt.fail_without_file(
            gettext_noop("The task ended without a file. Please request it again.")
        )
    else:
        attempt.release()


def _run_body(body: Callable[[], object]) -> None:
    result = body()
    if inspect.iscoroutine(result):
        coroutine = result
        try:
            coroutines.run(lambda: coroutine)
        finally:
            # If it has not begun, it would be reported as never awaited.
            coroutine.close()
    elif inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(
            "The task has only made a generator, which does not run. "
            "It must be a function that builds the file before it returns."
        )
