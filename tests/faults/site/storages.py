"""A storage whose pace is steered from outside."""

from typing import Any

from django.core.files.storage import FileSystemStorage

from tests.faults.site import steering


class SteeredStorage(FileSystemStorage):
    """After a file was stored, it returns once the test says so, if the test says ``hold``."""

    def _save(self, name: str, content: Any) -> str:
        name = super()._save(name, content)
        if steering.told("hold"):
            steering.tell("stored.log", name)
            steering.wait_for("release")
        return name
