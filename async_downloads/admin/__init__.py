"""The admin of downloads, collections, presets and the ledger: lists, pages, bulk actions."""

from async_downloads.admin.collections import DownloadCollectionAdmin
from async_downloads.admin.downloads import DownloadAdmin
from async_downloads.admin.fetches import FetchRecordAdmin
from async_downloads.admin.presets import ExportPresetAdmin

__all__ = ["DownloadAdmin", "DownloadCollectionAdmin", "ExportPresetAdmin", "FetchRecordAdmin"]
