"""What a worker runs: the periodic clean-up, and the tasks of django-q2."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import store
from async_downloads.executors.runner import supervise
from async_downloads.utils.log import get_logger

__all__ = ["cleanup_expired_downloads", "run_task"]

logger = get_logger(__name__)


def cleanup_expired_downloads() -> None:
    """Delete the downloads that have expired, files included, and fail those that are overdue.

    Run it periodically. While another process is at it, it does nothing, so it
    is harmless to run it too often, or many times at once.
    """
    done = store.clean_up_alone()
    if done is None:
        logger.info("Another process is cleaning up")
        return
    logger.info(
        "Removed %s expired downloads (%s bytes) and %s empty collections",
        done.downloads,
        done.size,
        done.collections,
    )
    if done.failed:
        logger.warning("Failed %s downloads that no worker has finished in time", done.failed)


def run_task(
    path: str, download_key: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> None:
    """Run a task by its dotted path, and record how it ended.

    Each call counts as an attempt at the download, and past
    ``ASYNC_DOWNLOADS_MAX_ATTEMPTS`` the task is not called any more, so that a
    queue stops delivering a task that takes its worker down.

    Args:
        path: The task's dotted path.
        download_key: The task's first argument.
        args: Its other positional arguments.
        kwargs: Its keyword arguments.

    Raises:
        BaseException: What the task raised; see ``supervision.supervise``.
    """

    def body() -> object:
        return import_string(path)(download_key, *args, **(kwargs or {}))

    supervise(download_key, body, makes_file=False)


try:
    from celery import shared_task
except ImportError:
    pass
else:
    # The name above stays a plain function; Celery finds the same by its dotted path.
    shared_task(name=f"{__name__}.cleanup_expired_downloads", ignore_result=True)(
        cleanup_expired_downloads
    )
