"""Run the task of a download in a test."""

import csv
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from django.utils.module_loading import import_string

from async_downloads import cache
from async_downloads.executors import enqueuer_for
from async_downloads.executors.threads import ThreadTask
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.tasks import run_task

__all__ = ["FinishedDownload", "RunDownload"]

#: The owner of the download if the test names none.
DEFAULT_OWNER: Final = "owner in a test"

#: The packages that Django tasks may come from.
DJANGO_TASKS: Final = ("django.tasks", "django_tasks")


@dataclass(frozen=True, slots=True)
class FinishedDownload:
    """The result of a download.

    Attributes:
        download: The row after the task.
        raised: The exception that the queue gets from the task, or None if the task
            succeeded for the queue.
    """

    download: Download
    raised: str | None

    @property
    def state(self) -> str:
        """The state of the row: ``"complete"``, ``"failed"``, or one that is unfinished."""
        return self.download.state

    @property
    def errors(self) -> str:
        """The error text for the owner."""
        return self.download.errors

    @property
    def error_detail(self) -> str:
        """The error text for staff, with the traceback."""
        return self.download.error_detail

    @property
    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            AssertionError: The download is not complete.
        """
        if not self.download.complete:
            raise AssertionError(
                f"The download is not complete but {self.state}: {self.errors}\n{self.error_detail}"
            )
        with storage.storage().open(self.download.filepath) as file:
            return bytes(file.read())

    @property
    def text(self) -> str:
        """The file as text in UTF-8, without a byte order mark.

        Raises:
            AssertionError: The download is not complete.
        """
        return self.content.decode("utf-8-sig")

    @property
    def rows(self) -> list[list[str]]:
        """The rows of a CSV file.

        Raises:
            AssertionError: The download is not complete.
        """
        return list(csv.reader(io.StringIO(self.text, newline="")))


class RunDownload:
    """Creates a download, runs a task for it at once, and returns the result."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def __call__(
        self,
        task: Any,
        *args: Any,
        user: Any = DEFAULT_OWNER,
        filename: str = "export.csv",
        **kwargs: Any,
    ) -> FinishedDownload:
        """Run a task in this thread, as its own worker would.

        The arguments are serialised as for its queue: those that the queue cannot carry
        are an error here too. A failure of the task is not raised but returned.

        Args:
            task: A task as for ``enqueue_download``: a Celery task, a Django task, a
                ``ThreadTask``, or a plain function or its dotted path.
            *args: Passed to the task.
            user: The owner of the download, as for ``init_download``.
            filename: The name under which the browser saves the file.
            **kwargs: Passed to the task.

        Raises:
            TypeError: It is not a task, or its queue is not known here.
            ValueError: No worker could import the task.
        """
        target = import_string(task) if isinstance(task, str) else task
        run = _runner_for(task, target)
        _, download_key = cache.init_download(user, filename)
        self._keys.append(download_key)
        raised = run((download_key, *args), kwargs)
        return FinishedDownload(Download.objects.get(pk=download_key), raised)

    def remove_files(self) -> None:
        """Delete the files of all downloads that it has created."""
        for download in Download.objects.filter(pk__in=self._keys):
            storage.sweep(download.filepath, download_key=download.download_key)


#: Calls a task with positional and keyword arguments, and returns its failure, if any.
Runner = Callable[[tuple[Any, ...], dict[str, Any]], str | None]


def _runner_for(task: Any, target: Any) -> Runner:
    enqueuer_for(task)
    if isinstance(target, ThreadTask):
        return lambda args, kwargs: _failure(lambda: target(*args, **kwargs))
    if hasattr(target, "apply_async") and hasattr(target, "app"):
        return lambda args, kwargs: _run_celery(target, args, kwargs)
    package = _package_of(target)
    if package:
        return lambda args, kwargs: _run_django(package, target, args, kwargs)
    if hasattr(target, "delay") or hasattr(target, "enqueue"):
        raise TypeError(
            f"The queue of {target!r} is not known here. Pass the function that it wraps."
        )
    path = task if isinstance(task, str) else f"{target.__module__}.{target.__qualname__}"
    return lambda args, kwargs: _run_django_q(path, args, kwargs)


def _failure(work: Callable[[], object]) -> str | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 (it is returned)
        return repr(error)
    return None


def _run_django_q(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    key, *others = args
    arguments = pickle.loads(pickle.dumps((others, kwargs)))  # noqa: S301
    return _failure(lambda: run_task(path, key, *arguments))


def _run_celery(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    conf = task.app.conf
    before = conf.task_always_eager, conf.task_eager_propagates
    conf.task_always_eager, conf.task_eager_propagates = True, False
    try:
        result = task.apply_async(args, kwargs)
    finally:
        conf.task_always_eager, conf.task_eager_propagates = before
    return None if result.successful() else repr(result.result)


def _run_django(
    package: str, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    backend = import_module(f"{package}.backends.immediate").ImmediateBackend
    result = backend(task.backend, {"QUEUES": []}).enqueue(task, args, kwargs)
    return "\n".join(error.traceback for error in result.errors) or None


def _package_of(task: Any) -> str:
    """Return the package of a Django task's class or its bases; empty for other tasks."""
    origins = {f"{kind.__module__}." for kind in type(task).__mro__}
    return next(
        (
            package
            for package in DJANGO_TASKS
            if any(origin.startswith(f"{package}.") for origin in origins)
        ),
        "",
    )
