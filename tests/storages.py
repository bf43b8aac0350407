"""Storages that differ from Django's."""

from typing import Any

from django.core.files.storage import FileSystemStorage


class OverwritingStorage(FileSystemStorage):
    """A storage that gives each file the requested name, as object stores do."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Delete the existing file, and return its name."""
        self.delete(name)
        return name


class StorageWithoutList(FileSystemStorage):
    """An object store whose credentials may not list, which its client reports by its own error."""

    def listdir(self, path: Any) -> Any:
        """Refuse to list files."""
        raise RuntimeError("AccessDenied: ListBucket")
