"""The list of downloads, with live percentages."""

from typing import Any

from django.http import HttpRequest

from async_downloads import store
from async_downloads.admin.base import KeyedChangeList
from async_downloads.admin.dates import hierarchy

__all__ = ["DownloadChangeList"]


class DownloadChangeList(KeyedChangeList):
    """A list of downloads with live percentages, without their tracebacks."""

    deferred = ("error_detail",)

    def get_results(self, request: HttpRequest) -> None:
        """Read one page, and the percentages by one read of the cache."""
        super().get_results(request)
        self.result_list = store.as_shown(self.result_list)

    @property
    def dates(self) -> dict[str, Any]:
        """The context of Django's template for the date hierarchy."""
        return hierarchy(self)
