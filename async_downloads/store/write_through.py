"""The order in which a change becomes visible: row, entry, version token, signal.

The row is written, and committed, before anything here happens. None of what follows
may keep the rest from happening: each step that fails is logged, and the next is taken.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.utils import timezone

from async_downloads import signals
from async_downloads.models import Download, DownloadCollection
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries
from async_downloads.store.cache_entries import DownloadEntry
from async_downloads.store.outages import retry_on_outage
from async_downloads.store.transactions import after_commit, downloads, retry_on_new_connection
from async_downloads.utils.log import get_logger

__all__ = [
    "cache_entry_of",
    "publish_change",
    "run_all",
    "send_signal",
    "write_progress",
    "write_through",
    "write_through_all",
]

logger = get_logger(__name__)

#: One line for each step of a download's life, with its key and numbers as attributes.
lifecycle_log: Final = get_logger(signals.__name__)

#: The columns that are attributes of such a line.
LOGGED: Final = ("state", "attempts", "size", "rows_written")

#: The signal of each change that has one.
SIGNALS: Final = {
    "created": signals.download_created,
    "started": signals.download_started,
    "completed": signals.download_completed,
    "failed": signals.download_failed,
    "cancelled": signals.download_cancelled,
    "expired": signals.download_expired,
    "fetched": signals.download_fetched,
}


def run_all(*steps: Callable[[], object]) -> None:
    """Take steps that do not depend on each other: one that raises is logged and passed over."""
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("A change was not published as a whole")


def cache_entry_of(download: Download, *, user: str | None = None) -> DownloadEntry:
    """Return a download as plain values, in the documented shape.

    Args:
        download: The row.
        user: The owner's name, if the caller knows it; else it is read from
            the collection, so select ``collection__user`` along with the row.
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


def write_through(download_key: uuid.UUID, change: str) -> None:
    """Make a changed row visible, once its transaction has committed.

    The entry is made from the row as it is by then, so that of two writers the
    later one cannot leave the earlier one's entry behind.

    Args:
        download_key: The row that was changed.
        change: What happened, in the words of ``signals``.
    """

    write_through_all([download_key], change)


def write_through_all(download_keys: Sequence[uuid.UUID], change: str) -> None:
    """Make changed rows visible, once their transaction has committed.

    Args:
        download_keys: The rows that were changed, as many as fit into one query.
        change: What happened to each, in the words of ``signals``.
    """

    def make_visible() -> None:
        changed = downloads().select_related("collection__user").filter(pk__in=download_keys)
        # A step of its life is told once; of progress there will be more.
        read = retry_on_outage if change in SIGNALS else retry_on_new_connection
        for download in read(lambda: list(changed)):
            publish(download, change)

    after_commit(make_visible)


def publish(download: Download, change: str) -> None:
    """Make a committed change of one download visible: entry, version token, signals.

    Args:
        download: The row, with ``collection__user`` selected.
        change: What happened, in the words of ``signals``.
    """
    run_all(
        lambda: cache_entries.set_entry(cache_entry_of(download)),
        lambda: publish_change(download.collection, change, download.download_key),
        lambda: send_signal(download, change),
    )


def write_progress(download: Download, percentage: int) -> None:
    """Make progress visible from inside a caller's transaction.

    The row is left alone: its lock, or SQLite's, would be held until the caller
    commits, and a person who clears the download would wait that long. The
    entry is seen at once, and the later stamp makes it count.

    Args:
        download: The row as it was read, with ``collection__user`` selected.
        percentage: 0 to 100.
    """

    def set_entry() -> None:
        entry = cache_entry_of(download)
        entry["percentage"] = percentage
        entry["stamp"] = timezone.now().isoformat()
        cache_entries.set_entry(entry)

    run_all(
        set_entry, lambda: publish_change(download.collection, "progressed", download.download_key)
    )


def publish_change(collection: DownloadCollection, change: str, download_key: str = "") -> None:
    """Renew the collection's version token and send the signal, in this order."""
    arguments: dict[str, Any] = {
        "download_key": download_key,
        "collection_key": collection.key,
        "user_id": collection.user_id,
        "change": change,
    }
    run_all(
        lambda: cache_entries.renew_version(collection.key),
        lambda: download_changed.send_robust(sender=Download, **arguments),
    )


def send_signal(download: Download, change: str, **arguments: Any) -> None:
    """Log a change of one download and send the signal that it has of its own, if it has one.

    Args:
        download: The row; as it was, if it is gone.
        change: What happened, in the words of ``signals``.
        **arguments: What else the signal tells.
    """
    signal = SIGNALS.get(change)
    if signal is None:
        return
    key = download.download_key
    details = {name: getattr(download, name) for name in LOGGED}
    run_all(
        lambda: lifecycle_log.info(
            "Download %s: %s", key, change, extra={"change": change, **details}
        ),
        lambda: signal.send_robust(
            sender=Download, download=download, download_key=key, **arguments
        ),
    )
