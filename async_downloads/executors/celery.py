"""Tasks of Celery, and of whatever else has learnt from it how a task is queued."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from async_downloads.executors.base import Enqueue, method_of

__all__ = ["check", "enqueuer"]

#: Where Celery's own way of queueing is defined. A site's own may make anything of arguments.
OWN: Final = "celery.app.task"


def enqueuer(task: Any) -> Enqueue | None:
    """Return what queues a task of Celery, or None if this is none.

    Celery itself is not needed to tell: what has a ``delay`` is asked to queue
    itself, with its own queue, serializer and time limits.

    Args:
        task: What may be such a task.
    """
    return method_of(task, "delay")


def check(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what Celery would raise of a task's arguments when it is queued.

    Args:
        task: What has a ``delay``; of what is not Celery's own, nothing is known.
        args: The positional arguments, the download key included.
        kwargs: The keyword arguments.

    Raises:
        Exception: They do not fit the task's signature, or cannot be serialised.
    """
    methods = (getattr(task, name, None) for name in ("delay", "apply_async"))
    if any(getattr(method, "__module__", None) != OWN for method in methods):
        return
    fits: Callable[..., object] = task.__header__
    if task.typing:
        fits(*args, **kwargs)
    # It turns models of pydantic into plain values first.
    if getattr(task, "_dump_pydantic_arguments", None) is None:
        from kombu import serialization

        dumps: Callable[..., object] = serialization.dumps
        dumps((args, kwargs), task.serializer or task.app.conf.task_serializer)
