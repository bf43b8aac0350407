"""Run the body of a task, and record its end whatever it is."""

import inspect
from collections.abc import Callable

from django.utils.translation import gettext_noop

from async_downloads import store
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.utils.log import get_logger

__all__ = ["check_function", "supervise"]

logger = get_logger(__name__)


def check_function(function: object) -> None:
    """Check that a call runs the body of a function.

    Raises:
        TypeError: It is a coroutine or generator function.
    """
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise TypeError(
            f"{function!r} would only make a coroutine or a generator, which would not run."
        )


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
        body: Builds the file.
        makes_file: Whether a body that ends well without a file has failed; otherwise
            the download waits for the attempt that may build it.

    Raises:
        DownloadBusy: Another attempt at the same download is alive.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        RuntimeError: The body called ``sys.exit``, which would end the worker.
        TypeError: The body has only made a coroutine or a generator.
    """
    attempt = store.join(download_key, any_thread=False) or store.claim(download_key)
    while attempt is not None:
        _run(attempt, body, makes_file=makes_file)
        # The queue has one message for both attempts. Until the attempt that took over has
        # finished, this one must not end as if no work was left.
        attempt = store.claim(download_key, superseded=True) if attempt.superseded else None


def _run(attempt: store.Attempt, body: Callable[[], object], *, makes_file: bool) -> None:
    attempt.runs_task = True
    try:
        with attempt:
            _check_result(body())
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


def _conclude(attempt: store.Attempt, *, makes_file: bool) -> None:
    """End an attempt that has neither finished nor failed."""
    if makes_file:
        attempt.fail_without_file(
            gettext_noop("The task ended without a file. Please request it again.")
        )
    else:
        attempt.release()


def _check_result(result: object) -> None:
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()
    elif not inspect.isasyncgen(result):
        return
    raise TypeError(
        f"The task has only made a {type(result).__name__}, which does not run. "
        "It must be a plain function that builds the file before it returns."
    )
