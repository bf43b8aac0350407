"""Running a task's body, so that its end is recorded whatever it is."""

import inspect
from collections.abc import Callable

from django.utils.translation import gettext_noop

from async_downloads import store
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.utils.log import get_logger

__all__ = ["supervise"]

logger = get_logger(__name__)


def supervise(download_key: str, body: Callable[[], object], *, makes_file: bool) -> None:
    """Claim a download, run the body that builds it, and record how it ended.

    The claim comes first, so that an attempt counts even if the worker dies
    before the body saves anything. Without one the body does not run: the
    download was cleared, is complete, or was tried too often.

    What went wrong is raised again for the queue to see, except where nothing
    went wrong in the task's eyes: a download that was cancelled, and a failure
    that the task has told the owner itself (``DownloadError``). What the body
    returns is dropped: the queue would have to store it.

    Args:
        download_key: Which download.
        body: Builds the file.
        makes_file: Whether a body that ends well without a file has failed; else
            the download waits for the run that it may have been handed to.

    Raises:
        DownloadBusy: Another run of the same download is alive.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        RuntimeError: The body called ``sys.exit``, which would take the worker along.
        TypeError: The body has only made a coroutine or a generator.
    """
    run = store.join(download_key, any_thread=False) or store.claim(download_key)
    while run is not None:
        _attempt(run, body, makes_file=makes_file)
        # The queue has one message for both: as long as the run that took over has not
        # finished, this one must not end as if there was nothing left to do.
        run = store.claim(download_key, superseded=True) if run.superseded else None


def _attempt(run: store.Attempt, body: Callable[[], object], *, makes_file: bool) -> None:
    run.runs_task = True
    try:
        with run:
            _refuse_what_did_not_run(body())
        _conclude(run, makes_file=makes_file)
    except DownloadCancelled:
        logger.info("Download %s was cancelled", run.download.download_key)
        _conclude(run, makes_file=True)
    except DownloadError as error:
        logger.info("Download %s: the owner was told: %s", run.download.download_key, error)
    except SystemExit as error:
        if type(error) is not SystemExit:
            # A queue's time-out, which the queue waits for.
            raise
        raise RuntimeError(f"The task called sys.exit({error.code!r}).") from error


def _conclude(run: store.Attempt, *, makes_file: bool) -> None:
    """Say what becomes of a download that the run neither finished nor failed."""
    if makes_file:
        run.fail_without_file(
            gettext_noop("The task ended without a file. Please request it again.")
        )
    else:
        run.release()


def _refuse_what_did_not_run(result: object) -> None:
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()
    elif not inspect.isasyncgen(result):
        return
    raise TypeError(
        f"The task has only made a {type(result).__name__}, which nobody runs. "
        "It must be a plain function that builds the file before it returns."
    )
