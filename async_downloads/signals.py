"""News of downloads, for whoever wants to listen.

``download_changed`` is sent after the row and the cache hold the new value and,
for everything but progress, after the surrounding transaction has committed.
It is sent robustly: a receiver that raises is logged and harms no export.

Arguments: ``sender`` (the ``Download`` model), ``download_key`` (text; empty
for a purge of many), ``collection_key`` (text), ``user_id`` (the owner's
primary key, None for a collection that belongs to no user) and ``change``, one
of ``"created"``, ``"started"``, ``"progressed"``, ``"completed"``, ``"failed"``
and ``"removed"``.
"""

from django.dispatch import Signal

__all__ = ["download_changed"]

download_changed = Signal()
