"""Where the file of a run goes, and what it is called."""

import uuid

from async_downloads.files.names import beside, with_suffix
from async_downloads.files.storage import StoredFile
from async_downloads.models import Download, DownloadQuerySet, DownloadState
from async_downloads.store.transactions import downloads

__all__ = ["OutputFile"]


class OutputFile:
    """The file that a run makes.

    Attributes:
        filename: The name that it is saved under when fetched.
        path: What is asked of the storage.
    """

    def __init__(self, download: Download, token: uuid.UUID | None):
        """Begin with what was asked for.

        Args:
            download: The row as it was before the claim.
            token: The claim.
        """
        self.filename = download.filename
        self.path = download.filepath
        self._download = download
        self._token = token
        self._suffix = ""
        if download.state == DownloadState.RUNNING and token is not None:
            # The run that is taken over may yet come back: it must not write to our name.
            self._suffix = token.hex[:8]
            self.path = with_suffix(self.path, self._suffix)

    def rename(self, filename: str) -> None:
        """Have the file saved under another name than was asked for, once it is whole."""
        if filename == self.filename:
            return
        self.filename = filename
        self.path = beside(self._download.filepath, filename)
        if self._suffix:
            self.path = with_suffix(self.path, self._suffix)

    def reach(self, held: DownloadQuerySet, stored: StoredFile, **rows: int | None) -> int:
        """Write that the whole file is in the storage; return how many rows say so.

        Args:
            held: The row, as long as the run may write to it.
            stored: The file.
            **rows: How many rows it has.
        """
        names = self.names
        written = held.complete(path=stored.path, size=stored.size, names=names, **rows)
        # A connection that died may have died after the write.
        own = downloads().filter(pk=self._download.pk, claim=self._token, filepath=stored.path)
        return written or own.filter(state=DownloadState.COMPLETE).count()

    @property
    def names(self) -> dict[str, str]:
        """The columns to write, where the file has another name than was asked for."""
        asked, shown = self._download.filename, self._download.name
        if self.filename == asked:
            return {}
        return {"filename": self.filename, "name": self.filename if shown == asked else shown}
