"""Downloads and their collections for staff: to look at, and to intervene."""

from async_downloads.admin.collections import DownloadCollectionAdmin
from async_downloads.admin.downloads import DownloadAdmin

__all__ = ["DownloadAdmin", "DownloadCollectionAdmin"]
