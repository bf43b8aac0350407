"""What the executors have in common."""

import inspect
from collections.abc import Callable
from typing import Any, Final, cast

__all__ = ["NEVER_RUN", "Enqueue", "method_of"]

#: Hands a task its arguments and puts it on its queue.
Enqueue = Callable[..., object]

#: Functions that do nothing when they are called.
NEVER_RUN: Final = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def method_of(task: Any, name: str) -> Enqueue | None:
    """Return the method by which a task is queued, or None if it has none of that name."""
    method = getattr(task, name, None)
    return cast("Enqueue", method) if callable(method) else None
