"""The common cases in one call."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from async_downloads import cache, executors, store
from async_downloads.exceptions import DownloadError

__all__ = ["init_generic_csv_download", "queryset_to_csv"]

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)

#: Rows that are read from the database, and prefetched for, at a time.
CHUNK_SIZE: Final = 2000


def queryset_to_csv(
    download_key: str,
    header: Iterable[str],
    queryset: "QuerySet[M, M]",
    row_function: Callable[[M], Iterable[Any]],
) -> None:
    """Save a queryset as a CSV file, a row for each of its objects.

    The queryset is read in chunks, with its prefetches, and progress is recorded.

    Args:
        download_key: The key that ``init_download`` returned.
        header: The first row.
        queryset: The objects.
        row_function: Makes the cells of one object.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another run.
        ValueError: ``queryset`` is not a queryset.
    """
    if not isinstance(queryset, QuerySet):
        raise ValueError(f"queryset must be a QuerySet, not {type(queryset).__name__}.")

    def rows() -> Iterator[Iterable[Any]]:
        yield header
        total = queryset.count()
        for index, instance in enumerate(queryset.iterator(chunk_size=CHUNK_SIZE)):
            yield row_function(instance)
            cache.update_percentage(download_key, total, index)

    cache.save_download(download_key, rows())


def init_generic_csv_download(
    task: Any, user: Any, name: str, *task_args: Any, **task_kwargs: Any
) -> tuple[str, str]:
    """Make the record of a CSV download and queue the task that builds it.

    The task is queued once the surrounding transaction has committed, so that a
    fast worker finds the record. If the queue cannot be reached, the download is
    failed and says so.

    Args:
        task: A Celery task, a Django task, or a plain function or its dotted
            path, which django-q2 runs. It is called with the download key first.
        user: Whose download, as for ``init_download``.
        name: What it is about: "Open orders" is listed as "Open orders
            2026-01-31" and saved as ``Open_orders_2026-01-31_09-05.csv``.
        *task_args: Handed to the task.
        **task_kwargs: Handed to the task.

    Returns:
        The collection key and the download key.

    Raises:
        TypeError: ``task`` is no task, or ``user`` names nobody.
        ValueError: No worker could import the task, or ``user`` cannot own downloads.
    """
    enqueue = executors.enqueuer_for(task)
    now = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    collection_key, download_key = cache.init_download(
        user,
        f"{name.replace(' ', '_')}_{now:%Y-%m-%d_%H-%M}.csv",
        f"{name} {now:%Y-%m-%d}",
    )
    start = partial(enqueue, download_key, *task_args, **task_kwargs)
    store.after_commit(partial(_start, start, download_key))
    return collection_key, download_key


def _start(start: Callable[[], object], download_key: str) -> None:
    try:
        start()
    except Exception:
        logger.exception("The task of download %s could not be queued", download_key)
        text = _("The export could not be queued. Please try again later.")
        cache.set_error(download_key, DownloadError(text))
