"""The tasks of a worker: the two periodic jobs, and the runner for django-q2."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import mail, store
from async_downloads.executors.runner import supervise
from async_downloads.utils.log import get_logger

__all__ = ["cleanup_expired_downloads", "rescue_stalled_downloads", "run_task"]

logger = get_logger(__name__)


def cleanup_expired_downloads() -> None:
    """Delete expired downloads with their files, fail overdue ones, and send the mails due.

    Run it periodically. While another process cleans up, it does nothing, so it
    is harmless to run it too often, or many times at once.
    """
    cleanup = store.clean_up_alone()
    if cleanup is None:
        logger.info("Another process is cleaning up")
    else:
        _log_cleanup(cleanup)
    mail.send_due()


def _log_cleanup(cleanup: store.Cleanup) -> None:
    logger.info(
        "Removed %s expired downloads (%s bytes) and %s empty collections",
        cleanup.downloads,
        cleanup.size,
        cleanup.collections,
    )
    if cleanup.failed:
        logger.warning("Failed %s downloads that no worker has finished in time", cleanup.failed)


def rescue_stalled_downloads() -> None:
    """Queue the tasks of stalled downloads again, and fail those that had their last attempt.

    It sends the mails due as well. Run it each minute. While another process does the same,
    it does nothing, so it is harmless to run it too often, or many times at once. Without
    ``ASYNC_DOWNLOADS_RESCUE`` it rescues nothing.
    """
    rescue = store.rescue_alone()
    if rescue is None:
        logger.info("Another process is rescuing stalled downloads")
    else:
        _log_rescue(rescue)
    mail.send_due()


def _log_rescue(rescue: store.Rescue) -> None:
    logger.info("Queued %s stalled downloads again", rescue.requeued)
    if rescue.failed:
        logger.warning("Failed %s downloads whose last attempt has stalled", rescue.failed)
    if rescue.errors:
        logger.warning("Could not rescue %s stalled downloads", rescue.errors)


def run_task(
    path: str, download_key: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> None:
    """Run a task by its dotted path, and record how it ended.

    Each call counts as an attempt at the download. After
    ``ASYNC_DOWNLOADS_MAX_ATTEMPTS`` the task is not called again, so that a
    queue stops delivering a task that kills its worker.

    Args:
        path: The task's dotted path.
        download_key: The task's first argument.
        args: Its other positional arguments.
        kwargs: Its keyword arguments.

    Raises:
        BaseException: The task raised it; see ``executors.runner.supervise``.
    """

    def body() -> object:
        return import_string(path)(download_key, *args, **(kwargs or {}))

    supervise(download_key, body, makes_file=False)


try:
    from celery import shared_task
except ImportError:
    pass
else:
    # The names above stay plain functions; Celery finds the tasks by their dotted paths.
    for function in (cleanup_expired_downloads, rescue_stalled_downloads):
        shared_task(name=f"{__name__}.{function.__name__}", ignore_result=True)(function)
