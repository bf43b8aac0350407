"""The rows that decide what exists, whose it is and what state it is in.

Rows change only by the conditional updates of ``DownloadQuerySet``: each says
which states and which claim it may overwrite, and answers how many rows it
changed. A writer that is told 0 has lost. Nothing calls ``save()`` on a row
that exists, because a stale instance would bring back what is gone.
"""

from async_downloads.models.collections import DownloadCollection, DownloadCollectionQuerySet
from async_downloads.models.conditions import DownloadState
from async_downloads.models.downloads import Download, DownloadQuerySet

__all__ = [
    "Download",
    "DownloadCollection",
    "DownloadCollectionQuerySet",
    "DownloadQuerySet",
    "DownloadState",
]
