"""The rows that decide which downloads exist, who owns them and what state they are in.

Rows change only by the conditional updates of ``DownloadQuerySet``. Each names the
states and the claim that it may overwrite, and returns the number of changed rows:
an attempt that gets 0 has lost its claim and stops. Nothing calls ``save()`` on an
existing row, because a stale instance would bring back what is gone.
"""

from async_downloads.models.calls import Call
from async_downloads.models.collections import DownloadCollection, DownloadCollectionQuerySet
from async_downloads.models.conditions import DownloadState
from async_downloads.models.downloads import LONG_COLUMNS, Download, DownloadQuerySet
from async_downloads.models.exports import ExportPreset, LastExport
from async_downloads.models.fetches import FetchRecord, FetchRecordQuerySet

__all__ = [
    "LONG_COLUMNS",
    "Call",
    "Download",
    "DownloadCollection",
    "DownloadCollectionQuerySet",
    "DownloadQuerySet",
    "DownloadState",
    "ExportPreset",
    "FetchRecord",
    "FetchRecordQuerySet",
    "LastExport",
]
