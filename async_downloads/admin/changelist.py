"""The list of downloads, with live percentages."""

from typing import Any

from django.http import HttpRequest

from async_downloads import store
from async_downloads.admin.base import KeyedChangeList
from async_downloads.models import LONG_COLUMNS

__all__ = ["DownloadChangeList"]


class DownloadChangeList(KeyedChangeList):
    """A list of downloads with live percentages, without their tracebacks."""

    deferred = LONG_COLUMNS

    def get_results(self, request: HttpRequest) -> None:
        """Read one page, and the percentages by one read of the cache."""
        super().get_results(request)
        self.result_list = store.as_shown(self.result_list)

    def rows_with(self, keys: list[Any]) -> Any:
        """Return the rows with these keys, which know the time of the database."""
        return super().rows_with(keys).with_database_clock()
