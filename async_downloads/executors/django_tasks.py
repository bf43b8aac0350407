"""Tasks of ``django.tasks``, which came with Django 6.0, and of its backport django-tasks."""

import sys
from collections.abc import Mapping
from typing import Any

from async_downloads.executors.base import Enqueue, method_of

__all__ = ["check", "enqueuer"]


def enqueuer(task: Any) -> Enqueue | None:
    """Return what queues a Django task on its backend, or None if this is none.

    Both frameworks, and tasks of a backend's own class, are known by ``enqueue``,
    so that neither has to be there.

    Args:
        task: What may be such a task.
    """
    return method_of(task, "enqueue")


def check(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what the framework would raise of a task's arguments when it is queued.

    Args:
        task: What has an ``enqueue``; of what is not of the framework, nothing is known.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        TypeError: They are no JSON.
        ValueError: Likewise.
    """
    modules = (sys.modules.get(kind.__module__) for kind in type(task).__mro__)
    normalize = next(
        filter(None, (getattr(each, "normalize_json", None) for each in modules)), None
    )
    if normalize is not None:
        normalize([args, kwargs])
