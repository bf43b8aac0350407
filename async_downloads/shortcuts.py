"""The common cases in one call."""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet
from django.http import HttpResponseBase
from django_htmx.http import trigger_client_event

from async_downloads import executors, store
from async_downloads.building.content import Table, save
from async_downloads.executors import bulk_starting, starting
from async_downloads.executors.bulk_starting import StartedDownloads
from async_downloads.executors.runner import asupervise, check_function, supervise
from async_downloads.files.names import dated_names
from async_downloads.formats import registry
from async_downloads.models import Call
from async_downloads.models.lifetime import MAX_SECONDS, Timeout, lifetime_of
from async_downloads.utils import coroutines

__all__ = [
    "StartedDownloads",
    "aenqueue_download",
    "astart_download",
    "download_task",
    "enqueue_download",
    "init_generic_csv_download",
    "queryset_to_csv",
    "start_download",
    "start_downloads",
    "wake_menu",
]

M = TypeVar("M", bound=Model)

P = ParamSpec("P")

R = TypeVar("R", bound=HttpResponseBase)


@overload
def download_task(function: Callable[P, Coroutine[Any, Any, object]]) -> Callable[P, Any]: ...


@overload
def download_task(function: Callable[P, object]) -> Callable[P, None]: ...


def download_task(function: Callable[P, object]) -> Callable[P, Any]:
    """Wrap a function that builds the file of a download, so that its end is recorded.

    The download is claimed before the function is called, and each call counts
    as an attempt. Any exception is recorded, including ``sys.exit`` and the
    time-out of a queue, and so is an end without a file. The exception is raised
    again for the queue to see, unless the download was cancelled or it is a
    ``DownloadError``. It works with any queue; if the queue has a decorator of its
    own, that one goes on top. Open transactions inside the function, not around it:
    their rollback would undo the record.

    A coroutine function runs to its end in the worker, on an event loop of its own. If the
    task is called in an event loop, it returns a coroutine, which runs the function there.

    Args:
        function: Takes the download key, under the name ``download_key`` or as
            its first argument.

    Raises:
        TypeError: ``function`` is a generator function, or takes no argument.

    Returns:
        A function with the same signature, which returns nothing.
    """
    check_function(function)
    is_coroutine_function = inspect.iscoroutinefunction(function)
    parameters = tuple(inspect.signature(function).parameters)
    if not parameters:
        raise TypeError(f"{function!r} must take the download key.")

    @wraps(function)
    def task(*args: P.args, **kwargs: P.kwargs) -> Any:
        key = _key_among(parameters, args, kwargs)
        body = partial(function, *args, **kwargs)
        if is_coroutine_function and coroutines.in_event_loop():
            return asupervise(key, body)
        return supervise(key, body, makes_file=True)

    executors.see_through(task)
    return task


def _key_among(
    parameters: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str:
    """Return the download key among the arguments of a task, even if they do not fit it.

    Then the failure is recorded; and another decorator may add what is missing.

    Raises:
        TypeError: There is none.
    """
    for name in ("download_key", parameters[0]):
        if name in kwargs:
            return str(kwargs[name])
    index = parameters.index("download_key") if "download_key" in parameters else 0
    for position in (index, 0):
        if position < len(args):
            return str(args[position])
    raise TypeError("The task must get the download key.")


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


def start_download(
    task: Any,
    user: Any,
    filename: str,
    name: str | None = None,
    *,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    join: bool = False,
    fresh_for: float = 0,
    timeout: Timeout = "default",
) -> tuple[str, str]:
    """Create the record of a download, and queue the task that builds it.

    The task is queued once the surrounding transaction has committed, so that a
    fast worker finds the record. If the queue cannot be reached, the download is
    failed and says so.

    The dotted path of the task and its arguments are recorded, so that the file can be built
    again: if its worker dies, or if its owner wants another attempt. That needs arguments of
    plain JSON types; with others, the task runs all the same, and is not recorded.

    Args:
        task: A Celery task, a Django task, or a plain function or its dotted
            path, which django-q2 runs. It is called with the download key first.
        user: The owner of the download, as for ``init_download``.
        filename: The name under which the browser saves the file. Its extension decides
            the format of the file.
        name: The name in the list; the file name if left out.
        args: The task's other positional arguments.
        kwargs: The task's keyword arguments.
        join: Whether to return a download of the same owner that is in progress, with the
            same task, arguments and file format, instead of building the file twice.
        fresh_for: With ``join``, return a complete one as well, for this many seconds
            after its end.
        timeout: How long it is kept after its end, as for ``init_download``. With ``join``, a
            download that is there already keeps its own.

    Returns:
        The collection key and the download key.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; nothing
            was written.
        ObjectDoesNotExist: No user has this primary key.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        TypeError: ``task`` is not a task, ``user`` cannot name an owner, a name is not text,
            ``args`` is a text, or ``timeout`` or ``fresh_for`` is not a number.
        ValueError: No worker could import the task, ``user`` cannot own downloads, ``filename``
            is empty, ``fresh_for`` is given without ``join``, or ``timeout`` or ``fresh_for`` is
            out of range.
    """
    _check_fresh_for(fresh_for)
    if fresh_for and not join:
        raise ValueError("fresh_for is for a download to join; pass join=True with it.")
    requested = store.RequestedFile.of(user, filename, name, timeout)
    download = starting.start(
        task, requested, _positional(args), dict(kwargs or {}), join=join, fresh_for=fresh_for
    )
    return requested.owner.collection_key, download.download_key


def start_downloads(
    task: Any,
    users: Iterable[Any],
    filename: str,
    name: str | None = None,
    *,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
    unless_unfinished: bool = True,
    fresh_for: float = 0,
    timeout: Timeout = "default",
) -> StartedDownloads:
    """Create a download for each of many users, and queue the tasks that build them.

    For a schedule, and for a file for each of 500 people. Rows are inserted and cache entries
    are set by the hundred; memory holds the primary keys of a queryset of users, and one batch.
    Each batch has a transaction of its own, unless there is one around the call. The tasks of a
    batch are queued after its commit. If the queue cannot be reached, the downloads are failed
    and say so.

    Before a worker builds a file, it calls ``ASYNC_DOWNLOADS_MAY_START``, if that is set, with
    the owner and the download. A download that is refused fails and says so. A label has no
    rights, so it is not asked about.

    Args:
        task: As for ``start_download``.
        users: Users, primary keys, user names or labels: a queryset, a list, or any other
            iterable. A user who is named twice gets one download.
        filename: As for ``start_download``.
        name: The name in the list; the file name if left out.
        args: The task's other positional arguments, of plain JSON types.
        kwargs: The task's keyword arguments, likewise; or a function that returns them, given
            the user, or the text of a label.
        unless_unfinished: Whether to skip users whose last download with the same task,
            arguments and file format is unfinished. Two calls at once create no second one.
        fresh_for: With ``unless_unfinished``, skip users as well whose last one was complete at
            most this many seconds ago.
        timeout: As for ``start_download``.

    Returns:
        What was started, and who was left out, as lists.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; or the
            function for the arguments has raised. Users of earlier batches keep theirs.
        TypeError: ``task`` is not a task, ``users`` or ``args`` is a text, one of the users
            cannot name an owner, a name is not text, or ``timeout`` or ``fresh_for`` is not a
            number.
        ValueError: No worker could import the task, a row cannot record it or its arguments,
            one of ``users`` cannot own downloads, ``filename`` is empty, ``timeout`` or
            ``fresh_for`` is out of range, or the latter is given without ``unless_unfinished``.
    """
    _check_fresh_for(fresh_for)
    if fresh_for and not unless_unfinished:
        raise ValueError("fresh_for is for a download to skip; pass unless_unfinished=True.")
    if isinstance(users, (str, bytes)):
        # Each of its characters could be a label.
        raise TypeError(f"users must be an iterable of users, such as a list, not {users!r}.")
    names, arguments = store.requested_names(filename, name), _positional(args)
    lifetime = lifetime_of(timeout)
    executors.enqueuer_for(task)
    if callable(kwargs):
        make_kwargs = kwargs

        def call_for(user: Any) -> Call:
            return bulk_starting.call_of(task, arguments, dict(make_kwargs(user)))
    else:
        call = bulk_starting.call_of(task, arguments, dict(kwargs or {}))

        def call_for(user: Any) -> Call:
            return call

    return bulk_starting.start_all(
        task,
        users,
        names,
        call_for,
        unless_unfinished=unless_unfinished,
        fresh_for=fresh_for,
        lifetime=lifetime,
    )


async def astart_download(
    task: Any,
    user: Any,
    filename: str,
    name: str | None = None,
    *,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    join: bool = False,
    fresh_for: float = 0,
    timeout: Timeout = "default",
) -> tuple[str, str]:
    """Do the same as ``start_download``, without blocking the event loop."""
    return await sync_to_async(start_download)(
        task,
        user,
        filename,
        name,
        args=args,
        kwargs=kwargs,
        join=join,
        fresh_for=fresh_for,
        timeout=timeout,
    )


def init_generic_csv_download(
    task: Any, user: Any, name: str, *task_args: Any, timeout: Any = "default", **task_kwargs: Any
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
        timeout: How long it is kept after its end, as for ``init_download``. A task that has
            an argument of this name gets it instead.
        **task_kwargs: Handed to the task.

    Returns:
        The collection key and the download key.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; nothing
            was written.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        TypeError: ``task`` is not a task, ``user`` cannot name an owner, or ``timeout`` is not a
            number.
        ValueError: No worker could import the task, ``user`` cannot own downloads, or
            ``timeout`` is out of range.
    """
    filename, title = dated_names(name, ".csv")
    timeout, task_kwargs = _timeout_and_kwargs(task, timeout, task_kwargs)
    return start_download(
        task, user, filename, title, args=task_args, kwargs=task_kwargs, timeout=timeout
    )


def enqueue_download(
    task: Any, download_key: str, *task_args: Any, timeout: Any = "default", **task_kwargs: Any
) -> None:
    """Queue the task that builds a download, once the surrounding transaction has committed.

    A fast worker then finds the record. If the queue cannot be reached, the
    download is failed and says so.

    Args:
        task: A Celery task, a Django task, or a plain function or its dotted
            path, which django-q2 runs. It is called with the download key first.
        download_key: The key that ``init_download`` returned.
        *task_args: Handed to the task.
        timeout: How long it is kept after its end, if ``init_download`` has not said so. A
            task that has an argument of this name gets it instead.
        **task_kwargs: Handed to the task.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task; the
            download is failed, too.
        TypeError: ``task`` is not a task, or ``timeout`` is not a number; for the latter, the
            download stays as it is.
        ValueError: No worker could import the task, or ``timeout`` is out of range; likewise.
    """
    timeout, task_kwargs = _timeout_and_kwargs(task, timeout, task_kwargs)
    lifetime_of(timeout)
    try:
        starting.check(task, download_key, task_args, task_kwargs)
    except Exception as error:
        starting.fail(download_key, error)
        raise
    call = Call.recordable(executors.dotted_path(task), task_args, task_kwargs)
    if call is not None or timeout != "default":
        store.record_call(download_key, call, timeout=timeout)
    starting.queue(task, download_key, task_args, task_kwargs)


async def aenqueue_download(
    task: Any, download_key: str, *task_args: Any, timeout: Any = "default", **task_kwargs: Any
) -> None:
    """Do the same as ``enqueue_download``, without blocking the event loop."""
    await sync_to_async(enqueue_download)(
        task, download_key, *task_args, timeout=timeout, **task_kwargs
    )


def _positional(args: Iterable[Any]) -> tuple[Any, ...]:
    """Return the positional arguments of a task.

    Raises:
        TypeError: They are not an iterable of arguments.
    """
    if isinstance(args, (str, bytes, Mapping)) or not isinstance(args, Iterable):
        # Each of its characters or keys would be an argument.
        raise TypeError(f"args must be an iterable of arguments, such as a list, not {args!r}.")
    return tuple(args)


def _check_fresh_for(fresh_for: object) -> None:
    """Check the seconds for which a complete download will do.

    Raises:
        TypeError: They are not a number.
        ValueError: They are below 0, or above a hundred years.
    """
    if isinstance(fresh_for, bool) or not isinstance(fresh_for, (int, float)):
        raise TypeError(f"fresh_for must be a number of seconds, not {fresh_for!r}.")
    if not 0 <= fresh_for <= MAX_SECONDS:
        raise ValueError(f"fresh_for is {fresh_for!r}; it must be from 0 to {MAX_SECONDS} seconds.")


def _timeout_and_kwargs(
    task: Any, timeout: Any, kwargs: dict[str, Any]
) -> tuple[Timeout, dict[str, Any]]:
    """Return the timeout of a download, and the keyword arguments of its task.

    Before there were timeouts of downloads, all keyword arguments were those of the task.
    """
    if timeout != "default" and executors.has_parameter(task, "timeout"):
        return "default", {**kwargs, "timeout": timeout}
    return timeout, kwargs


def wake_menu(response: R, *, show: bool = False) -> R:
    """Make the menu of the page look for downloads at once; return the response.

    For a view that starts a download and answers htmx: a page without downloads in
    progress does not poll. A view that answers with a whole page does not need it.

    Args:
        response: The response of the view; it gets the header ``HX-Trigger``.
        show: Whether to open the menu as well, such as for a download that is already there.
    """
    response = trigger_client_event(response, "async-downloads:look")
    return trigger_client_event(response, "async-downloads:show") if show else response
