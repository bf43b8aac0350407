"""The path and the name of the file that an attempt makes."""

import uuid

from async_downloads.files.names import beside, with_suffix
from async_downloads.files.storage import StoredFile
from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store.transactions import downloads

__all__ = ["OutputFile"]


class OutputFile:
    """The file that an attempt makes.

    Attributes:
        filename: The name that it is saved under.
        path: The path that the storage is asked to use.
    """

    def __init__(self, download: Download, token: uuid.UUID | None):
        """Begin with the requested name.

        Args:
            download: The row as it was before the claim.
            token: The claim.
        """
        self.filename = download.filename
        self._download = download
        self._token = token
        # An attempt before this one may still be alive, and must not write to this path. After a
        # retry or a rescue the row is pending, with a claim.
        follows_another = download.state == DownloadState.RUNNING or download.claim is not None
        self._suffix = token.hex[:8] if token is not None and follows_another else ""
        # The path on the row may have the suffix of the attempt before.
        path = beside(download.filepath, download.filename) if self._suffix else download.filepath
        self.path = self._suffixed(path)

    def rename(self, filename: str) -> None:
        """Save the file under another name than the requested one."""
        if filename != self.filename:
            self.filename = filename
            self.path = self._suffixed(beside(self._download.filepath, filename))

    def record_stored(self, row: DownloadQuerySet, stored: StoredFile, **counts: int | None) -> int:
        """Record that the whole file is in the storage; return how many rows say so.

        Args:
            row: The row, if the attempt may write to it.
            stored: The file.
            **counts: The columns that count its rows.
        """
        names = self.changed_names
        written = row.complete(path=stored.path, size=stored.size, names=names, **counts)
        # A connection that broke may have written before it broke.
        own = downloads().filter(pk=self._download.pk, claim=self._token, filepath=stored.path)
        return written or own.filter(state=DownloadState.COMPLETE).count()

    @property
    def changed_names(self) -> dict[str, str]:
        """The columns to write if the file has another name than the requested one."""
        requested, shown = self._download.filename, self._download.name
        if self.filename == requested:
            return {}
        return {
            "filename": self.filename,
            "name": self.filename if shown == requested else shown,
        }

    def _suffixed(self, path: str) -> str:
        return with_suffix(path, self._suffix) if self._suffix else path
