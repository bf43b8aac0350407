"""Storages that are not like Django's own."""

from typing import Any

from django.core.files.storage import FileSystemStorage


class OverwritingStorage(FileSystemStorage):
    """A storage that gives every file the name that was asked for, as object stores do."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Make room by removing what is there."""
        self.delete(name)
        return name


class StorageWithoutList(FileSystemStorage):
    """An object store whose credentials may not list, with an error of its client's own."""

    def listdir(self, path: Any) -> Any:
        """Refuse."""
        raise RuntimeError("AccessDenied: ListBucket")
