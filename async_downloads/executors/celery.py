"""Tasks of Celery, and of whatever else has learnt from it how a task is queued."""

from typing import Any

from async_downloads.executors.base import Enqueue, method_of

__all__ = ["enqueuer"]


def enqueuer(task: Any) -> Enqueue | None:
    """Return what queues a task of Celery, or None if this is none.

    Celery itself is not needed to tell: what has a ``delay`` is asked to queue
    itself, with its own queue, serializer and time limits.

    Args:
        task: What may be such a task.
    """
    return method_of(task, "delay")
