"""Storages that a test steers, and storages that choose names of their own."""

import hashlib
import os
import signal
import uuid
from pathlib import PurePosixPath
from typing import Any

from django.core.files.storage import FileSystemStorage

from tests.faults.site import steering


class SteeredStorage(FileSystemStorage):
    """Once the test has set ``hold``, ``save`` returns only after it sets ``release``."""

    def _save(self, name: str, content: Any) -> str:
        name = super()._save(name, content)
        if steering.is_set("hold"):
            steering.append("stored.log", name)
            steering.wait_for("release")
        return name


class KillingStorage(SteeredStorage):
    """Once the test has set ``die``, it kills its process after the next file is stored."""

    def _save(self, name: str, content: Any) -> str:
        name = super()._save(name, content)
        if steering.is_set("die"):
            (steering.folder() / "die").unlink()
            steering.append("stored.log", name)
            os.kill(os.getpid(), signal.SIGKILL)
        return name


class SlowlyDeletingStorage(FileSystemStorage):
    """Once the test has set ``hold``, ``delete`` waits until it sets ``release``."""

    def delete(self, name: str) -> None:
        """Record the name, wait, and delete."""
        if steering.is_set("hold"):
            steering.append("deleting.log", name)
            steering.wait_for("release")
        super().delete(name)


class FlatStorage(FileSystemStorage):
    """Keeps all files in one folder, each under a digest of its name."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a digest of the name, in the one folder."""
        digest = hashlib.sha256(str(name).encode()).hexdigest()
        return f"flat/{digest}{PurePosixPath(name).suffix}"


class ScatteringStorage(FileSystemStorage):
    """Keeps each file in a new folder, named by a UUID like the folders of downloads."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a name in a new folder beside the requested one."""
        path = PurePosixPath(name)
        return str(path.parent.parent / str(uuid.uuid4()) / path.name)
