"""The signals that a site can receive.

Each is sent after the row and the cache hold the new value and, for everything
but progress, after the surrounding transaction has committed. Each is sent
robustly: an exception of a receiver is logged, and does not fail the export.

The steps of one download's life have a signal each: ``download_created``,
``download_started`` (at each attempt), ``download_completed``,
``download_failed``, ``download_cancelled`` (cleared or purged before it was
finished), ``download_expired`` (removed by the clean-up) and
``download_fetched``; and ``download_requeued`` (its task is to be queued again, because
its worker has died, because the queue has lost it, or because a person wants another
attempt). ``download_stalled`` is sent when an attempt is found that gives no heartbeats any
more, before the signal of what follows: ``download_requeued``, ``download_started`` by another
worker, or ``download_failed``. Their arguments: ``sender`` (the ``Download`` model),
``download`` (the row; of a deleted one, its last state), ``download_key`` (text)
and, for ``download_fetched``, ``user`` (who fetched the file).

``download_changed`` is sent for every change that a page shows.
Arguments: ``sender`` (the ``Download`` model), ``download_key`` (text; empty
for a purge of many), ``collection_key`` (text), ``user_id`` (the owner's
primary key, None for a collection that belongs to no user) and ``change``, one
of ``"created"``, ``"started"``, ``"progressed"``, ``"completed"``, ``"failed"``,
``"requeued"`` and ``"removed"``.
"""

from django.dispatch import Signal

__all__ = [
    "download_cancelled",
    "download_changed",
    "download_completed",
    "download_created",
    "download_expired",
    "download_failed",
    "download_fetched",
    "download_requeued",
    "download_stalled",
    "download_started",
]

download_created = Signal()
download_started = Signal()
download_completed = Signal()
download_failed = Signal()
download_cancelled = Signal()
download_expired = Signal()
download_fetched = Signal()
download_requeued = Signal()
download_stalled = Signal()
download_changed = Signal()
