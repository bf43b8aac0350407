"""Tasks of ``django.tasks``, which came with Django 6.0, and of its backport django-tasks."""

from typing import Any

from async_downloads.executors.base import Enqueue, method_of

__all__ = ["enqueuer"]


def enqueuer(task: Any) -> Enqueue | None:
    """Return what queues a Django task on its backend, or None if this is none.

    Both frameworks, and tasks of a backend's own class, are known by ``enqueue``,
    so that neither has to be there.

    Args:
        task: What may be such a task.
    """
    return method_of(task, "enqueue")
