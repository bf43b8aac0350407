"""Create a download and queue the task that builds it, or queue that task again."""

import pickle
import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_noop

from async_downloads import executors, settings, store
from async_downloads.models import Call, Download
from async_downloads.store import RequestedFile
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit

__all__ = [
    "COULD_NOT_BE_QUEUED",
    "build_again",
    "can_queue",
    "check",
    "fail",
    "queue",
    "queue_again",
    "queue_at_once",
    "repeat",
    "start",
]

logger = get_logger(__name__)

#: The owner reads this if the queue could not be reached.
COULD_NOT_BE_QUEUED: Final = gettext_noop(
    "The download could not be queued. Please request it again later."
)

#: A queue raises these for arguments that it cannot carry, and others if its server is away.
ARGUMENT_ERRORS: Final = (AttributeError, TypeError, pickle.PicklingError)


def start(
    task: Any,
    requested: RequestedFile,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    join: bool = False,
    fresh_for: float = 0,
) -> Download:
    """Create a download, record the call that builds it, and queue its task.

    Args:
        task: The task, or its dotted path, as for ``executors.enqueuer_for``.
        requested: The file.
        args: The positional arguments after the download key.
        kwargs: The keyword arguments.
        join: Whether to return a download that builds the same file already.
        fresh_for: With ``join``, seconds for which a complete file will do.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; nothing
            was written.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        TypeError: ``task`` is not a task.
        ValueError: No worker could import the task.
    """
    # Any key will do: the check is for the arguments.
    check(task, str(uuid.uuid4()), args, kwargs)
    call = Call.recordable(executors.dotted_path(task), args, kwargs)
    requested = requested._replace(call=call)
    if join and call is not None:
        download, created = store.join_or_create(requested, fresh_for=fresh_for)
    else:
        download, created = store.create(requested), True
    if created:
        queue(task, download.download_key, args, kwargs)
    return download


def check(task: Any, download_key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what would keep a task from being queued, before anything is queued.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task.
        TypeError: ``task`` is not a task.
        ValueError: No worker could import the task.
    """
    executors.enqueuer_for(task)
    executors.check_arguments(task, (download_key, *args), kwargs)


def can_queue(download: Download) -> bool:
    """Return whether the task of a download can still be queued, and log why not.

    The site may have been deployed anew since: its task may be gone, or take other arguments.
    """
    call = download.call
    if call is None:
        return False
    try:
        check(call.task, download.download_key, tuple(call.args), call.kwargs)
    except Exception:
        logger.exception("The task of download %s cannot be queued again", download.pk)
        return False
    return True


def build_again(download: Download) -> Download:
    """Let a failed or stalled download be built again, or request a complete one anew.

    Nothing happens if its call is not recorded, or while it is in progress. Return the download
    that is built: another one than a complete one.

    Args:
        download: The row, with its collection.

    Raises:
        Exception: As for ``start``, if it is complete.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` other downloads in
            progress.
    """
    if download.complete:
        return repeat(download) or download
    store.retry(download)
    return download


def repeat(download: Download) -> Download | None:
    """Create a new download by the call of a complete one; None if it is not recorded.

    While such a new one is in progress, it is returned instead.

    Args:
        download: The complete one, with its collection.

    Raises:
        Exception: As for ``start``: the site was deployed anew since.
    """
    call = download.call
    if call is None:
        return None
    requested = RequestedFile.again(download)
    return start(call.task, requested, tuple(call.args), call.kwargs, join=True)


def queue(task: Any, download_key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Queue a task, once the surrounding transaction has committed.

    If the queue cannot be reached, the download is failed and says so.

    Raises:
        Exception: The queue cannot carry the arguments. After a later commit, the view may
            have returned, and only the log and the row have the error.
    """
    argument_errors: list[Exception] = []

    def queue_now() -> None:
        error = queue_at_once(task, download_key, args, kwargs)
        if error is None:
            return
        if isinstance(error, ARGUMENT_ERRORS):
            argument_errors.append(error)
        _record(download_key, COULD_NOT_BE_QUEUED, error_text.for_staff(error))

    store.after_commit(queue_now)
    # Without a transaction, it has run already.
    for error in argument_errors:
        raise error


def queue_again(download: Download) -> None:
    """Queue the task of a download that waits for another attempt.

    If the queue cannot be reached, the next rescue tries again. Without rescues, the
    download is failed and says so.
    """
    call = download.call
    if call is None:
        return
    error = queue_at_once(call.task, download.download_key, tuple(call.args), call.kwargs)
    if error is not None and not settings.RESCUE:
        _record(download.download_key, COULD_NOT_BE_QUEUED, error_text.for_staff(error))


def queue_at_once(
    task: Any, download_key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Exception | None:
    """Queue a task at once, and return why that has failed.

    Raises:
        Exception: A time limit was reached.
    """
    enqueue = None
    try:
        enqueue = executors.enqueuer_for(task)
        result = enqueue(download_key, *args, **kwargs)
    except Exception as error:
        if enqueue is None or not executors.has_run(task, error):
            logger.exception("The task of download %s could not be queued", download_key)
            # A rescue queues it.
            raise_time_limit(error)
            return error
        logger.info("The task of download %s has failed in an eager queue", download_key)
        fail(download_key, error)
        raise_time_limit(error)
    else:
        raised, detail = executors.failure_of(result)
        if detail:
            _record(download_key, error_text.for_owner(raised or Exception()), detail)
    return None


def fail(download_key: str, error: Exception) -> None:
    """Fail a download because of an exception, unless it has ended by itself."""
    _record(download_key, error_text.for_owner(error), error_text.for_staff(error))


def _record(download_key: str, errors: str, detail: str) -> None:
    """Fail a download, unless it has ended by itself."""
    store.set_error(download_key, errors, detail=detail, unless_ended=True)
