"""How a task gets to a worker, which depends on what the task is."""

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from traceback import walk_tb
from typing import Any, Final

from django.utils.module_loading import import_string

from async_downloads.executors import django_q
from async_downloads.executors.runner import check_function
from async_downloads.executors.threads import ThreadTask

__all__ = [
    "Enqueue",
    "batch_for",
    "check_arguments",
    "dotted_path",
    "enqueuer_for",
    "failure_of",
    "has_parameter",
    "has_run",
    "see_through",
]

#: Takes the arguments of a task, and puts the task on its queue.
Enqueue = Callable[..., object]

#: The module of Celery's own ``delay``. A site's own may take any arguments.
CELERY_TASKS: Final = "celery.app.task"


def enqueuer_for(task: Any) -> Enqueue:
    """Return the function that puts a task on its queue, given the task's arguments.

    A Celery task goes to Celery, a Django task to its backend, a task of
    ``thread_task`` to a thread, and a plain function to django-q2. A
    dotted path names any of them.

    Args:
        task: The task, or its dotted path.

    Raises:
        ImproperlyConfigured: django-q2 would have to run it, and is not installed.
        ImportError: The dotted path cannot be imported.
        TypeError: It is not a task, or it is a generator function.
        ValueError: A worker could not import the function by its name.
    """
    target = _imported(task)
    for name in ("enqueue",) if isinstance(target, ThreadTask) else ("delay", "enqueue"):
        if enqueue := _method(target, name):
            return enqueue
    path = task if isinstance(task, str) else _path_of(task)
    # A worker may find another function by that path than the one that was given.
    function = target if isinstance(task, str) else import_string(path)
    if not callable(function):
        raise TypeError(f"{path} is not callable, so it cannot be run as a task.")
    check_function(function)
    enqueue = django_q.enqueuer(path)
    if function is not target:
        raise ValueError(f"{path} is not the function that was given; pass its dotted path.")
    return enqueue


def batch_for(task: Any) -> AbstractContextManager[Any]:
    """Return a context in which a task is queued many times, in one transaction if it can be.

    Args:
        task: The task, or its dotted path, as for ``enqueuer_for``.
    """
    target = _imported(task)
    is_queued_elsewhere = _method(target, "delay") or _method(target, "enqueue")
    return nullcontext() if is_queued_elsewhere else django_q.batch()


def check_arguments(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what a task's queue would raise for its arguments, before anything is queued.

    Args:
        task: The task, or its dotted path, as for ``enqueuer_for``.
        args: The positional arguments, including the download key.
        kwargs: The keyword arguments.

    Raises:
        Exception: They do not fit the task, or the queue cannot carry them.
    """
    target = _imported(task)
    if isinstance(target, ThreadTask):
        _check_fit(target.function, args, kwargs)
    elif _method(target, "delay"):
        _check_for_celery(target, args, kwargs)
    elif _method(target, "enqueue"):
        _check_for_django(target, args, kwargs)
    else:
        _check_fit(target, args, kwargs)
        django_q.check(args, kwargs)


def see_through(wrapper: Any) -> None:
    """Let the arguments of a wrapper be checked against the function that it wraps.

    Args:
        wrapper: It passes on the arguments as they are, and has ``__wrapped__``.
    """
    # A decorator around it copies the attribute, but not what it is compared with.
    wrapper.seen_through = wrapper


def dotted_path(task: Any) -> str:
    """Return the dotted path by which this very task can be queued later.

    Args:
        task: The task, or its dotted path.

    Returns:
        An empty text if there is none: the options of a variant of a task, such as its
        queue, are not in any module.
    """
    if isinstance(task, str):
        return task
    target = _behind_proxy(task)
    names = (getattr(target, name, "") for name in ("__module__", "__qualname__"))
    # A Django task is not a function.
    path = getattr(target, "module_path", None) or ".".join(map(str, names))
    try:
        return path if _behind_proxy(import_string(path)) is target else ""
    except ImportError:
        return ""


def has_parameter(task: Any, name: str) -> bool:
    """Return whether a task declares a parameter of this name."""
    with suppress(ImportError, TypeError, ValueError):
        target = _behind_proxy(_imported(task))
        # The function of a Celery task is ``run``, that of a Django task is ``func``.
        function = getattr(target, "run", None) or getattr(target, "func", target)
        return name in inspect.signature(function).parameters
    return False


def has_run(task: Any, error: BaseException) -> bool:
    """Return whether an error that a queue has raised is the task's own.

    An eager queue runs the task instead of queueing it.

    Args:
        task: The task, or its dotted path.
        error: The error that the queue has raised.
    """
    try:
        target = _imported(task)
    except ImportError:
        return False
    # The function of a Celery task is ``run``, that of a Django task is ``func``.
    codes = {getattr(getattr(target, name, target), "__code__", None) for name in ("run", "func")}
    return not codes.isdisjoint({frame.f_code for frame, _ in walk_tb(error.__traceback__)})


def failure_of(result: Any) -> tuple[Any, str]:
    """Return the failure of a task that an eager queue has run without raising its exception.

    Returns:
        The exception, if it is known, and its traceback; empty if the task has not failed.
    """
    if type(result).__name__ == "EagerResult" and result.failed():
        return result.result, str(result.traceback)
    # The result of a Django task. One that is yet to run has no errors.
    errors = getattr(result, "errors", None)
    return (None, str(errors[-1].traceback)) if errors and isinstance(errors, list) else (None, "")


def _imported(task: Any) -> Any:
    return import_string(task) if isinstance(task, str) else task


def _behind_proxy(task: Any) -> Any:
    """Return the object behind a proxy, which a decorator of Celery leaves in a module."""
    get: Callable[[], Any] | None = getattr(task, "_get_current_object", None)
    return task if get is None else get()


def _method(task: Any, name: str) -> Enqueue | None:
    method: Enqueue | None = getattr(task, name, None)
    return method if callable(method) else None


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


def _check_fit(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check that arguments fit the parameters of a function, as far as these are known.

    Raises:
        TypeError: They do not.
    """
    wrapper: Any = getattr(function, "seen_through", None)
    if wrapper is function:
        function = wrapper.__wrapped__
    if hasattr(function, "__signature__"):
        # Another decorator shows the parameters of what it wraps, and may add arguments.
        return
    try:
        # A wrapper may add arguments to those of what it wraps.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__qualname__", function)
        raise TypeError(f"The arguments do not fit {name}{signature}: {error}.") from None


def _check_for_celery(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what Celery would raise for a task's arguments; skip a site's own ``delay``."""
    methods = (getattr(task, name, None) for name in ("delay", "apply_async"))
    if any(getattr(method, "__module__", None) != CELERY_TASKS for method in methods):
        return
    if task.typing:
        task.__header__(*args, **kwargs)
    # With this, Celery first turns pydantic models into plain values.
    if getattr(task, "_dump_pydantic_arguments", None) is None:
        from kombu import serialization

        dumps: Callable[..., object] = serialization.dumps
        dumps((args, kwargs), task.serializer or task.app.conf.task_serializer)


def _check_for_django(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what ``django.tasks`` or django-tasks would raise; skip a site's own ``enqueue``."""
    modules = (sys.modules.get(kind.__module__) for kind in type(task).__mro__)
    normalize = next(
        filter(None, (getattr(module, "normalize_json", None) for module in modules)), None
    )
    if normalize is not None:
        normalize([args, kwargs])
        context = (None,) if getattr(task, "takes_context", False) else ()
        _check_fit(task.func, (*context, *args), kwargs)
