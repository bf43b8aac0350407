"""The list of downloads, with live percentages."""

from typing import Any

from async_downloads import store
from async_downloads.admin.base import KeyedChangeList
from async_downloads.admin.dates import hierarchy

__all__ = ["DownloadChangeList"]


class DownloadChangeList(KeyedChangeList):
    """Rows with their live percentages, without the tracebacks that no list shows."""

    def narrowed(self, rows: Any) -> Any:
        """Leave out the tracebacks."""
        return rows.defer("error_detail")

    def shown(self, rows: list[Any]) -> list[Any]:
        """Lay the live percentages over the rows, in one read of the cache."""
        return store.as_shown(rows)

    @property
    def dates(self) -> dict[str, Any]:
        """The dates to choose from, for Django's own template."""
        return hierarchy(self)
