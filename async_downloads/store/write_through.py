"""Make a change visible, in this order: row, cache entry, version token, signal.

The row is written and committed first. Each later step runs even if the one before it has
failed; a failure is logged.
"""

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.dispatch import Signal

from async_downloads import signals
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries
from async_downloads.store.cache_entries import DownloadEntry
from async_downloads.store.outages import durable_write, retry_on_outage
from async_downloads.store.transactions import after_commit, downloads, retry_on_new_connection
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import time_limit_in

__all__ = [
    "cache_entry_of",
    "fail_and_publish",
    "loaded_key",
    "publish_change",
    "publish_created",
    "run_all",
    "send_signal",
    "write_and_publish",
    "write_heartbeat",
    "write_progress",
    "write_through",
    "write_through_all",
]

logger = get_logger(__name__)

#: One line for each step of a download's life, with its keys and numbers as attributes.
lifecycle_log: Final = get_logger(signals.__name__)

#: The columns and properties of a download that such a line has as attributes.
LOGGED: Final = (
    *("task", "state", "attempts", "size", "rows_written"),
    *("seconds_queued", "seconds_building"),
)

#: The signal of each change that has one.
SIGNALS: Final = {
    "created": signals.download_created,
    "started": signals.download_started,
    "completed": signals.download_completed,
    "failed": signals.download_failed,
    "cancelled": signals.download_cancelled,
    "expired": signals.download_expired,
    "fetched": signals.download_fetched,
    "requeued": signals.download_requeued,
    "stalled": signals.download_stalled,
}


def run_all(*steps: Callable[[], object]) -> None:
    """Run independent steps: log one that raises, and run the next.

    The exception of a time limit is raised after the last step.
    """
    time_limit: BaseException | None = None
    for step in steps:
        try:
            step()
        except Exception as error:
            time_limit = time_limit_in(error) or time_limit
            logger.exception("A change was not published as a whole")
    if time_limit is not None:
        raise time_limit


def cache_entry_of(download: Download, *, user: str | None = None) -> DownloadEntry:
    """Return a download as plain values, in the documented shape.

    Args:
        download: The row.
        user: The owner's name; read from the collection if left out, so select
            ``collection__user`` with the row.
    """
    return {
        "download_key": download.download_key,
        "user": download.collection.owner.name if user is None else user,
        "name": download.name,
        "timestamp": download.timestamp.isoformat(),
        "filepath": download.filepath,
        "url": download.url,
        "state": download.state,
        "percentage": download.percentage,
        "complete": download.complete,
        "errors": download.errors,
        "css_class": download.css_class,
        "stamp": download.heard_at.isoformat(),
    }


def write_and_publish(
    statement: Callable[[], int],
    download_key: uuid.UUID | str,
    change: str,
    *,
    stalled: bool = False,
    seconds_queued: float | None = None,
) -> bool:
    """Run a statement that changes one row at most, and publish the change if it did.

    Args:
        statement: Returns how many rows it has changed.
        download_key: The row.
        change: What happened, in the words of ``signals``; empty to publish nothing.
        stalled: As for ``write_through``.
        seconds_queued: As for ``write_through``.

    Returns:
        Whether the row was changed.
    """
    changed = statement() > 0
    if changed and change:
        write_through(download_key, change, stalled=stalled, seconds_queued=seconds_queued)
    return changed


def fail_and_publish(
    rows: DownloadQuerySet, download_key: uuid.UUID | str, errors: str, detail: str
) -> bool:
    """Record a failure even if the caller's transaction is rolled back; return whether it was.

    Args:
        rows: The row, or none if it must not change.
        download_key: The row.
        errors: The text for the owner.
        detail: The text for staff.

    Raises:
        DownloadUnavailable: The database was away for too long.
    """

    def write() -> int:
        return write_and_publish(lambda: rows.fail(errors, detail=detail), download_key, "failed")

    return durable_write(rows, write) > 0


def write_through(
    download_key: uuid.UUID | str,
    change: str,
    *,
    stalled: bool = False,
    seconds_queued: float | None = None,
) -> None:
    """Make a changed row visible once its transaction has committed.

    The cache entry shows the row as it is then: of several changes in one transaction, only
    the last is seen.

    Args:
        download_key: The row that was changed.
        change: What happened, in the words of ``signals``.
        stalled: Whether it ends an attempt that has stalled.
        seconds_queued: How long it had waited for the attempt that the change begins, if known.
    """
    ended = [download_key] if stalled else []
    write_through_all([download_key], change, stalled=ended, seconds_queued=seconds_queued)


def write_through_all(
    download_keys: Sequence[uuid.UUID | str],
    change: str,
    *,
    stalled: Collection[uuid.UUID | str] = (),
    seconds_queued: float | None = None,
) -> None:
    """Make changed rows visible once their transaction has committed.

    Args:
        download_keys: The rows that were changed, as many as fit into one query.
        change: What happened to each, in the words of ``signals``.
        stalled: Those of them whose attempt has stalled, which the change ends.
        seconds_queued: As for ``write_through``.
    """
    ended = set(map(str, stalled))

    def make_visible() -> None:
        rows = downloads().select_related("collection__user").filter(pk__in=download_keys)
        # A signal is sent once, so the read waits for the database; more progress will follow.
        retry = retry_on_outage if change in SIGNALS else retry_on_new_connection
        for download in retry(lambda: list(rows)):
            download.seconds_queued = seconds_queued
            if download.download_key in ended:
                send_signal(download, "stalled")
            _publish(download, change)

    after_commit(make_visible)


def write_progress(
    download: Download, percentage: int, *, moved_at: datetime | None = None
) -> bool:
    """Make progress visible from inside a caller's transaction, without writing the row.

    A write would lock the row, or SQLite's whole database, until the caller commits, and an
    owner who clears the download would wait for that. The cache entry is visible at once. It
    counts because its stamp is newer than the row.

    Args:
        download: The row as it was read, with ``collection__user`` selected.
        percentage: 0 to 100.
        moved_at: When the work came further; now if left out.

    Returns:
        Whether other processes see it.
    """
    written = write_heartbeat(download, percentage, moved_at=moved_at or download.database_time())
    publish_change(download.collection, "progressed", download.download_key)
    return written


def write_heartbeat(download: Download, percentage: int, *, moved_at: datetime) -> bool:
    """Put a heartbeat into the cache entry alone, and publish nothing.

    Args:
        download: The row as it was read, with ``collection__user`` selected.
        percentage: 0 to 100.
        moved_at: When the work came further.

    Returns:
        Whether other processes see it.
    """
    written = False

    def set_entry() -> None:
        nonlocal written
        entry = cache_entry_of(download)
        entry["percentage"] = percentage
        entry["stamp"] = download.database_time().isoformat()
        entry["moved_at"] = moved_at.isoformat()
        written = cache_entries.set_entry(entry, download.timeout) and cache_entries.is_shared()

    run_all(set_entry)
    return written


def publish_change(collection: DownloadCollection, change: str, download_key: str = "") -> None:
    """Renew the collection's version token, then send ``download_changed``."""
    run_all(
        lambda: cache_entries.renew_version(collection.key),
        lambda: _send_change(collection, change, download_key),
    )


def publish_created(new: Sequence[Download]) -> None:
    """Renew the version tokens of the collections of new downloads, then send their signals."""
    run_all(
        lambda: cache_entries.renew_versions(download.collection.key for download in new),
        *(partial(_send_created, download) for download in new),
    )


def _send_created(download: Download) -> None:
    run_all(
        lambda: _send_change(download.collection, "created", download.download_key),
        lambda: send_signal(download, "created"),
    )


def _send_change(collection: DownloadCollection, change: str, download_key: str) -> None:
    _send(
        download_changed,
        download_key=download_key,
        collection_key=collection.key,
        user_id=collection.user_id,
        change=change,
    )


def send_signal(download: Download, change: str, **arguments: Any) -> None:
    """Log a change that has a signal of its own, and send that signal.

    Args:
        download: The row; the last state of one that is deleted.
        change: What happened, in the words of ``signals``.
        **arguments: Further arguments of the signal.
    """
    signal = SIGNALS.get(change)
    if signal is None:
        return
    key = download.download_key
    details = {name: getattr(download, name) for name in LOGGED}
    details["collection_key"] = loaded_key(download)
    run_all(
        lambda: lifecycle_log.info(
            "Download %s: %s", key, change, extra={"change": change, **details}
        ),
        lambda: _send(signal, download=download, download_key=key, **arguments),
    )


def loaded_key(download: Download) -> str | None:
    """Return the collection key for a log line; None if that took a query."""
    return download.collection.key if Download.collection.is_cached(download) else None


def _send(signal: Signal, **arguments: Any) -> None:
    """Send a signal to all receivers, whatever each raises; raise a time limit afterwards."""
    for _, response in signal.send_robust(sender=Download, **arguments):
        if isinstance(response, Exception) and (time_limit := time_limit_in(response)):
            raise time_limit


def _publish(download: Download, change: str) -> None:
    run_all(
        lambda: cache_entries.set_entry(cache_entry_of(download), download.timeout),
        lambda: publish_change(download.collection, change, download.download_key),
        lambda: send_signal(download, change),
    )
