"""How a task gets to a worker, chosen by what the task is: a module for each executor."""

from collections.abc import Mapping
from traceback import walk_tb
from types import CodeType
from typing import Any, Final

from django.utils.module_loading import import_string

from async_downloads.executors import celery, django_q, django_tasks, threads
from async_downloads.executors.base import NEVER_RUN, Enqueue

__all__ = ["NEVER_RUN", "Enqueue", "check_arguments", "enqueuer_for", "failure_of", "has_run"]

#: Those that know their tasks by what they are. What none of them knows is django-q2's.
ADAPTERS: Final = (threads.enqueuer, celery.enqueuer, django_tasks.enqueuer)


def enqueuer_for(task: Any) -> Enqueue:
    """Return what puts a task on its queue when called with the task's arguments.

    A Celery task goes to Celery, a Django task to its backend, a task that
    ``thread_task`` has made to a thread, and a plain function to django-q2. A
    dotted path names any of them.

    Args:
        task: The task, or its dotted path.

    Raises:
        ImproperlyConfigured: django-q2 would have to run it, and is not installed.
        ImportError: Nothing can be imported by the dotted path.
        TypeError: This is no task, or a coroutine or generator function.
        ValueError: A worker could not import the function by its name.
    """
    by_path = isinstance(task, str)
    found = import_string(task) if by_path else task
    for adapter in ADAPTERS:
        enqueue = adapter(found)
        if enqueue is not None:
            return enqueue
    path = task if by_path else _path_of(task)
    # What a worker will find by that path need not be what was given.
    function = found if by_path else import_string(path)
    if not callable(function):
        raise TypeError(f"{path} is not callable, so it cannot be run as a task.")
    if any(kind(function) for kind in NEVER_RUN):
        raise TypeError(f"{path} would only make a coroutine or a generator, which nobody runs.")
    enqueue = django_q.enqueuer(path)
    if function is not found:
        raise ValueError(f"{path} is not the function that was given; pass its dotted path.")
    return enqueue


def check_arguments(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what a task's queue would raise of its arguments, before anything is queued.

    Args:
        task: The task, or its dotted path, as for ``enqueuer_for``.
        args: The positional arguments, the download key included.
        kwargs: The keyword arguments.

    Raises:
        Exception: They do not fit the task, or the queue cannot carry them.
    """
    found = import_string(task) if isinstance(task, str) else task
    if threads.enqueuer(found) is not None:
        return
    if celery.enqueuer(found) is not None:
        celery.check(found, args, kwargs)
    elif django_tasks.enqueuer(found) is not None:
        django_tasks.check(found, args, kwargs)
    else:
        django_q.check(args, kwargs)


def has_run(task: Any, error: BaseException) -> bool:
    """Return whether an error that a queue has raised is the task's own.

    A queue that is eager runs the task instead of queueing it.

    Args:
        task: The task, or its dotted path.
        error: What the queue has raised.
    """
    found = import_string(task) if isinstance(task, str) else task
    # Celery calls it run, Django func; what is neither is a function.
    codes = {getattr(getattr(found, name, found), "__code__", None) for name in ("run", "func")}
    return not codes.isdisjoint(_frames(error))


def failure_of(result: Any) -> tuple[Any, str]:
    """Return how a task has failed that an eager queue has run without raising what it raised.

    Args:
        result: What the queue has returned.

    Returns:
        The exception, if it is known, and its traceback; empty if the task has not failed.
    """
    if type(result).__name__ == "EagerResult" and result.failed():
        return result.result, str(result.traceback)
    errors = getattr(result, "errors", None)
    # Of Django's tasks. One that is yet to run has none.
    return (None, str(errors[-1].traceback)) if errors and isinstance(errors, list) else (None, "")


def _frames(error: BaseException) -> set[CodeType]:
    return {frame.f_code for frame, _ in walk_tb(error.__traceback__)}


def _path_of(function: Any) -> str:
    try:
        path = f"{function.__module__}.{function.__qualname__}"
    except AttributeError:
        raise TypeError(
            "task must be a Celery task, a Django task, a function or a dotted path, "
            f"not {function!r}."
        ) from None
    if "<" in path:
        raise ValueError(f"{path} cannot be imported by a worker; define it at module level.")
    return path
