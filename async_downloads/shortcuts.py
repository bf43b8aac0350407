"""The common cases in one call."""

import inspect
import pickle
import uuid
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext_noop
from django_htmx.http import trigger_client_event

from async_downloads import cache, executors, store
from async_downloads.building.content import Table, save
from async_downloads.executors.runner import check_function, supervise
from async_downloads.formats import registry
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger

__all__ = [
    "download_task",
    "enqueue_download",
    "init_generic_csv_download",
    "queryset_to_csv",
    "wake_menu",
]

logger = get_logger(__name__)

M = TypeVar("M", bound=Model)

P = ParamSpec("P")

R = TypeVar("R", bound=HttpResponseBase)

#: A queue raises these for arguments that it cannot carry, and others if its server is away.
ARGUMENT_ERRORS: Final = (AttributeError, TypeError, pickle.PicklingError)


def download_task(function: Callable[P, object]) -> Callable[P, None]:
    """Wrap a function that builds the file of a download, so that its end is recorded.

    The download is claimed before the function is called, and each call counts
    as an attempt. Any exception is recorded, including ``sys.exit`` and the
    time-out of a queue, and so is an end without a file. The exception is raised
    again for the queue to see, unless the download was cancelled or it is a
    ``DownloadError``. It works with any queue; if the queue has a decorator of its
    own, that one goes on top. Open transactions inside the function, not around it:
    their rollback would undo the record.

    Args:
        function: Takes the download key, under the name ``download_key`` or as
            its first argument.

    Raises:
        TypeError: ``function`` is a coroutine or generator function, or takes no argument.

    Returns:
        A function with the same signature, which returns nothing.
    """
    check_function(function)
    signature = inspect.signature(function)
    if not signature.parameters:
        raise TypeError(f"{function!r} must take the download key.")
    key_name = "download_key" if "download_key" in signature.parameters else None

    @wraps(function)
    def task(*args: P.args, **kwargs: P.kwargs) -> None:
        arguments = signature.bind(*args, **kwargs).arguments
        key = arguments[key_name] if key_name else next(iter(arguments.values()))
        supervise(str(key), partial(function, *args, **kwargs), makes_file=True)

    return task


def queryset_to_csv(
    download_key: str,
    header: Iterable[str],
    queryset: "QuerySet[M, M]",
    row_function: Callable[[M], Iterable[Any]],
    *,
    format: str | None = None,  # noqa: A002 (the word for it)
) -> None:
    """Save a queryset as a CSV file with one row for each object.

    The queryset is read in chunks, with its prefetches, and progress is recorded. With
    ``format``, or if the file name means another format, the file has that format.

    Args:
        download_key: The key that ``init_download`` returned.
        header: The first row.
        queryset: The objects.
        row_function: Makes the cells of one object.
        format: As for ``save_download``.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        ImproperlyConfigured: ``format`` needs a package that is not installed.
        ValueError: ``queryset`` is not a queryset, or the format is unknown.
    """
    if not isinstance(queryset, QuerySet):
        raise ValueError(f"queryset must be a QuerySet, not {type(queryset).__name__}.")
    chosen = None if format is None else registry.named(format)
    save(download_key, Table(queryset, header=header, format=chosen, row_function=row_function))


def init_generic_csv_download(
    task: Any, user: Any, name: str, *task_args: Any, **task_kwargs: Any
) -> tuple[str, str]:
    """Create the record of a CSV download, and queue the task that builds it.

    The task is queued once the surrounding transaction has committed, so that a
    fast worker finds the record. If the queue cannot be reached, the download is
    failed and says so.

    Args:
        task: A Celery task, a Django task, or a plain function or its dotted
            path, which django-q2 runs. It is called with the download key first.
        user: The owner of the download, as for ``init_download``.
        name: The subject: "Open orders" is listed as "Open orders
            2026-01-31" and saved as ``Open_orders_2026-01-31_09-05.csv``.
        *task_args: Handed to the task.
        **task_kwargs: Handed to the task.

    Returns:
        The collection key and the download key.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; nothing
            was written.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        TypeError: ``task`` is not a task, or ``user`` cannot name an owner.
        ValueError: No worker could import the task, or ``user`` cannot own downloads.
    """
    executors.enqueuer_for(task)
    # Any key will do: the check is for the arguments.
    executors.check_arguments(task, (str(uuid.uuid4()), *task_args), task_kwargs)
    now = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    collection_key, download_key = cache.init_download(
        user,
        f"{name.replace(' ', '_')}_{now:%Y-%m-%d_%H-%M}.csv",
        f"{name} {now:%Y-%m-%d}",
    )
    _enqueue_on_commit(task, download_key, task_args, task_kwargs)
    return collection_key, download_key


def enqueue_download(task: Any, download_key: str, *task_args: Any, **task_kwargs: Any) -> None:
    """Queue the task that builds a download, once the surrounding transaction has committed.

    A fast worker then finds the record. If the queue cannot be reached, the
    download is failed and says so.

    Args:
        task: A Celery task, a Django task, or a plain function or its dotted
            path, which django-q2 runs. It is called with the download key first.
        download_key: The key that ``init_download`` returned.
        *task_args: Handed to the task.
        **task_kwargs: Handed to the task.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; the
            download is failed, too.
        TypeError: ``task`` is not a task.
        ValueError: No worker could import the task.
    """
    try:
        executors.enqueuer_for(task)
        executors.check_arguments(task, (download_key, *task_args), task_kwargs)
    except Exception as error:
        _record(download_key, error_text.for_owner(error), error_text.for_staff(error))
        raise
    _enqueue_on_commit(task, download_key, task_args, task_kwargs)


def wake_menu(response: R) -> R:
    """Make the menu of the page look for downloads at once; return the response.

    For a view that starts a download and answers htmx: a page without downloads in
    progress does not poll. A view that answers with a whole page does not need it.

    Args:
        response: The response of the view; it gets the header ``HX-Trigger``.
    """
    return trigger_client_event(response, "async-downloads:look")


def _enqueue_on_commit(
    task: Any, download_key: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    argument_errors: list[Exception] = []

    def start() -> None:
        try:
            result = executors.enqueuer_for(task)(download_key, *args, **kwargs)
        except Exception as error:
            if executors.has_run(task, error):
                logger.info("The task of download %s has failed in an eager queue", download_key)
                _record(download_key, error_text.for_owner(error), error_text.for_staff(error))
                return
            logger.exception("The task of download %s could not be queued", download_key)
            if isinstance(error, ARGUMENT_ERRORS):
                argument_errors.append(error)
            text = gettext_noop("The download could not be queued. Please request it again later.")
            _record(download_key, text, error_text.for_staff(error))
        else:
            raised, detail = executors.failure_of(result)
            if detail:
                _record(download_key, error_text.for_owner(raised or Exception()), detail)

    store.after_commit(start)
    # Without a transaction, ``start`` has run already. After a later commit, the view may have
    # returned, and only the log and the row have the error.
    for error in argument_errors:
        raise error


def _record(download_key: str, errors: str, detail: str) -> None:
    """Fail a download, unless it has ended by itself."""
    store.set_error(download_key, errors, detail=detail, unless_ended=True)
