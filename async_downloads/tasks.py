"""What a worker runs: the periodic clean-up, and the tasks of django-q2."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled

__all__ = ["cleanup_expired_downloads", "run_task"]

logger = logging.getLogger(__name__)


def cleanup_expired_downloads() -> None:
    """Delete the downloads that have expired, files included.

    Run it periodically. It is harmless to run it too often, or twice at once.
    """
    done = store.clean_up()
    logger.info("Removed %s expired downloads (%s bytes)", done.downloads, done.size)


def run_task(
    path: str, download_key: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> None:
    """Run a task by its dotted path, and record how it ended if it ended badly.

    Its return value is dropped: the queue would have to store it.

    Args:
        path: The task's dotted path.
        download_key: The task's first argument.
        args: Its other positional arguments.
        kwargs: Its keyword arguments.
    """
    try:
        import_string(path)(download_key, *args, **(kwargs or {}))
    except DownloadCancelled:
        logger.info("Download %s was cancelled", download_key)
    except BaseException as error:
        cache.set_error(download_key, error)
        raise


try:
    from celery import shared_task
except ImportError:
    pass
else:
    # The name above stays a plain function; Celery finds the same by its dotted path.
    shared_task(name=f"{__name__}.cleanup_expired_downloads", ignore_result=True)(
        cleanup_expired_downloads
    )
