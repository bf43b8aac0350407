"""The admin of downloads and their collections: lists, pages and bulk actions."""

from async_downloads.admin.collections import DownloadCollectionAdmin
from async_downloads.admin.downloads import DownloadAdmin

__all__ = ["DownloadAdmin", "DownloadCollectionAdmin"]
