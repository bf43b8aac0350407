"""A download that is made by a task in a test, from beginning to end."""

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

#: Whose download it is if the test names nobody.
NOBODY: Final = "somebody in a test"

#: Where Django's tasks may come from, with the class of their backend that runs them at once.
DJANGO_TASKS: Final = ("django.tasks", "django_tasks")


@dataclass(frozen=True, slots=True)
class FinishedDownload:
    """What became of a download.

    Attributes:
        download: The row, as it is after the task.
        raised: What the queue was told of: the exception that left the task, or
            None if it ended well in the eyes of the queue.
    """

    download: Download
    raised: str | None

    @property
    def state(self) -> str:
        """The state of the row: ``"complete"``, ``"failed"``; anything else is unfinished."""
        return self.download.state

    @property
    def errors(self) -> str:
        """What its owner is told."""
        return self.download.errors

    @property
    def error_detail(self) -> str:
        """What staff are told, with the traceback."""
        return self.download.error_detail

    @property
    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            AssertionError: There is none, because the download is not complete.
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
    """Makes a download, runs a task for it at once, and returns how it ended."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def __call__(
        self,
        task: Any,
        *args: Any,
        user: Any = NOBODY,
        filename: str = "export.csv",
        **kwargs: Any,
    ) -> FinishedDownload:
        """Run a task in this thread, as its own worker would run it.

        The arguments travel as they would: what the queue cannot carry is an
        error here too. A failure of the task is not raised but told of.

        Args:
            task: What ``enqueue_download`` takes: a Celery task, a Django task, a
                ``ThreadTask``, or a plain function or its dotted path.
            *args: Handed to the task.
            user: Whose download, as for ``init_download``.
            filename: The name that the file is saved under when fetched.
            **kwargs: Handed to the task.

        Raises:
            TypeError: It is no task, or its queue is unknown here.
            ValueError: No worker could import the task.
        """
        found = import_string(task) if isinstance(task, str) else task
        run = _runner_for(task, found)
        _, download_key = cache.init_download(user, filename)
        self._keys.append(download_key)
        raised = run((download_key, *args), kwargs)
        return FinishedDownload(Download.objects.get(pk=download_key), raised)

    def remove_files(self) -> None:
        """Remove the files of all downloads that it has made: no row will know of them."""
        for download in Download.objects.filter(pk__in=self._keys):
            storage.sweep(download.filepath, download_key=download.download_key)


#: Calls a task with positional and keyword arguments, and returns what the queue hears of.
Runner = Callable[[tuple[Any, ...], dict[str, Any]], str | None]


def _runner_for(task: Any, found: Any) -> Runner:
    enqueuer_for(task)
    if isinstance(found, ThreadTask):
        return lambda args, kwargs: _heard(lambda: found(*args, **kwargs))
    if hasattr(found, "apply_async") and hasattr(found, "app"):
        return lambda args, kwargs: _run_celery(found, args, kwargs)
    package = _package_of(found)
    if package:
        return lambda args, kwargs: _run_django(package, found, args, kwargs)
    if hasattr(found, "delay") or hasattr(found, "enqueue"):
        raise TypeError(
            f"What would run {found!r} is not known here. Pass the function that it wraps."
        )
    path = task if isinstance(task, str) else f"{found.__module__}.{found.__qualname__}"
    return lambda args, kwargs: _run_django_q(path, args, kwargs)


def _heard(work: Callable[[], object]) -> str | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 (it is recorded, and returned)
        return repr(error)
    return None


def _run_django_q(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    key, *others = args
    travelled = pickle.loads(pickle.dumps((others, kwargs)))  # noqa: S301 (our own bytes)
    return _heard(lambda: run_task(path, key, *travelled))


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
    """Return where a task's class, or one that it is made of, comes from; empty if no Django's."""
    origins = {f"{kind.__module__}." for kind in type(task).__mro__}
    return next(
        (
            package
            for package in DJANGO_TASKS
            if any(origin.startswith(f"{package}.") for origin in origins)
        ),
        "",
    )
