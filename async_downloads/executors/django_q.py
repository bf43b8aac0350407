"""Plain functions, which django-q2 runs by their dotted path."""

import pickle
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from async_downloads.executors.base import Enqueue

__all__ = ["RUNNER_PATH", "check", "enqueue", "enqueuer"]

#: What a django-q2 worker calls: it finds the task by its path and runs it.
RUNNER_PATH: Final = "async_downloads.tasks.run_task"


def enqueuer(path: str) -> Enqueue:
    """Return what queues a function.

    Args:
        path: Its dotted path, by which a worker imports it.

    Raises:
        ImproperlyConfigured: django-q2 is not installed.
    """
    if not apps.is_installed("django_q"):
        raise ImproperlyConfigured(
            f"{path} is a plain function, which django-q2 would run. Add django_q to "
            "INSTALLED_APPS, or pass a Celery task or a Django task."
        )
    return partial(enqueue, path)


def enqueue(path: str, download_key: str, /, *args: Any, **kwargs: Any) -> None:
    """Queue a function, unchecked.

    Args:
        path: Its dotted path.
        download_key: Its first argument.
        *args: Its other positional arguments, which must be picklable.
        **kwargs: Its keyword arguments, likewise.
    """
    from django_q.tasks import async_task

    # The arguments travel as two values, so that none is taken for an option of the queue.
    async_task(RUNNER_PATH, path, download_key, args, kwargs, q_options={"group": path[-100:]})


def check(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what django-q2 would raise of a function's arguments when it is queued.

    Args:
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        Exception: They cannot be pickled; each kind of object has errors of its own.
    """
    pickle.dumps((args, kwargs), protocol=pickle.HIGHEST_PROTOCOL)
