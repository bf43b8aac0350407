"""How a task gets to a worker, chosen by what the task is."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

__all__ = ["Enqueue", "enqueuer_for"]

#: Hands a task its arguments and puts it on its queue.
Enqueue = Callable[..., object]

#: What a django-q2 worker calls: it finds the task by its path and runs it.
RUNNER_PATH: Final = "async_downloads.tasks.run_task"

#: Functions that do nothing when they are called.
NEVER_RUN: Final = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def enqueuer_for(task: Any) -> Enqueue:
    """Return what puts a task on its queue when called with the task's arguments.

    A Celery task goes to Celery (``delay``), a Django task to its backend
    (``enqueue``), a plain function to django-q2. A dotted path names any of them.

    Raises:
        ImproperlyConfigured: django-q2 would have to run it, and is not installed.
        ImportError: Nothing can be imported by the dotted path.
        TypeError: This is no task, or a coroutine or generator function.
        ValueError: A worker could not import the function by its name.
    """
    by_path = isinstance(task, str)
    found = import_string(task) if by_path else task
    for method in ("delay", "enqueue"):
        enqueue = getattr(found, method, None)
        if callable(enqueue):
            return cast("Enqueue", enqueue)
    path = task if by_path else _path_of(task)
    # What a worker will find by that path need not be what was given.
    function = found if by_path else import_string(path)
    if not callable(function):
        raise TypeError(f"{path} is not callable, so it cannot be run as a task.")
    if any(kind(function) for kind in NEVER_RUN):
        raise TypeError(f"{path} would only make a coroutine or a generator, which nobody runs.")
    if not apps.is_installed("django_q"):
        raise ImproperlyConfigured(
            f"{path} is a plain function, which django-q2 would run. Add django_q to "
            "INSTALLED_APPS, or pass a Celery task or a Django task."
        )
    if function is not found:
        raise ValueError(f"{path} is not the function that was given; pass its dotted path.")
    return partial(_enqueue_django_q, path)


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


def _enqueue_django_q(path: str, download_key: str, /, *args: Any, **kwargs: Any) -> None:
    from django_q.tasks import async_task

    # The arguments travel as two values, so that none is taken for an option of the queue.
    async_task(RUNNER_PATH, path, download_key, args, kwargs, q_options={"group": path[-100:]})
