"""Plain functions, which django-q2 runs by their dotted path."""

import pickle
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

__all__ = ["RUNNER_PATH", "batch", "check", "enqueue", "enqueuer"]

#: A django-q2 worker calls this function, which imports the task by its path and runs it.
RUNNER_PATH: Final = "async_downloads.tasks.run_task"


def enqueuer(path: str) -> Callable[..., object]:
    """Return a function that queues a task.

    Args:
        path: The task's dotted path, by which a worker imports it.

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
    """Queue a task, without checks.

    Args:
        path: Its dotted path.
        download_key: Its first argument.
        *args: Its other positional arguments, which must be picklable.
        **kwargs: Its keyword arguments, likewise.
    """
    from django_q.tasks import async_task

    # As two values, so that no keyword argument is taken for an option of the queue.
    async_task(RUNNER_PATH, path, download_key, args, kwargs, q_options={"group": path[-100:]})


def batch() -> AbstractContextManager[Any]:
    """Return a context in which tasks are queued together or, after an exception, not at all.

    A queue in a table gets them in one transaction, instead of one commit for each. Others get
    them one after the other.
    """
    from django_q.conf import Conf

    # An eager queue would run the tasks inside the transaction.
    return nullcontext() if Conf.SYNC or not Conf.ORM else transaction.atomic(using=Conf.ORM)


def check(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what django-q2 would raise for the arguments of a task.

    Raises:
        Exception: They cannot be pickled; each class raises errors of its own.
    """
    pickle.dumps((args, kwargs), protocol=pickle.HIGHEST_PROTOCOL)
