"""A stored file to a response."""

from collections.abc import AsyncIterator
from functools import partial

from asgiref.sync import sync_to_async
from django.http import FileResponse

from async_downloads import files

__all__ = ["StoredFileResponse", "serve"]


class StoredFileResponse(FileResponse):
    """A file in pieces, under WSGI and ASGI alike.

    Django's own class reads the whole file into memory under ASGI, because its
    iterator is a synchronous one.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, each read in a thread."""
        pieces = iter(self)
        read = sync_to_async(partial(next, pieces, None), thread_sensitive=False)
        while (piece := await read()) is not None:
            yield piece


def serve(path: str, filename: str) -> StoredFileResponse:
    """Answer with a stored file, to be saved under the name people know it by.

    It is always an attachment, never sniffed and never kept by a shared cache,
    so that markup in an export cannot run and nobody else is handed it.

    Args:
        path: The file's path in the storage.
        filename: The name to save it under, any Unicode.

    Raises:
        FileNotFoundError: The storage no longer has the file.
    """
    stored = files.storage().open(path, "rb")
    response = StoredFileResponse(stored, as_attachment=True, filename=filename)
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
