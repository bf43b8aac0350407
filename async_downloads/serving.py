"""A stored file to a response."""

from django.http import FileResponse

from async_downloads import files

__all__ = ["serve"]


def serve(path: str, filename: str) -> FileResponse:
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
    response = FileResponse(stored, as_attachment=True, filename=filename)
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
