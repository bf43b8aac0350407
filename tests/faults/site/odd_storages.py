"""Storages that put files elsewhere than asked, or that are slow to delete."""

import hashlib
import uuid
from pathlib import PurePosixPath

from django.core.files.storage import FileSystemStorage

from tests.faults.site import steering


class FlatStorage(FileSystemStorage):
    """Keeps all files in one folder of its own, under names of its own."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Answer a digest of the name."""
        digest = hashlib.sha256(str(name).encode()).hexdigest()
        return f"flat/{digest}{PurePosixPath(name).suffix}"


class ScatteringStorage(FileSystemStorage):
    """Keeps each file in a new folder, which is named by a UUID as those of downloads are."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Answer a name in a new folder beside the one that was asked for."""
        path = PurePosixPath(name)
        return str(path.parent.parent / str(uuid.uuid4()) / path.name)


class HeldStorage(FileSystemStorage):
    """Before it deletes anything, it waits until the test says so, if the test says ``hold``."""

    def delete(self, name: str) -> None:
        """Tell, wait, and delete."""
        if steering.told("hold"):
            steering.tell("deleting.log", name)
            steering.wait_for("release")
        super().delete(name)
