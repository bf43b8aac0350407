"""A storage that takes its process along."""

import os
import signal
from typing import Any

from tests.faults.site import steering
from tests.faults.site.storages import SteeredStorage


class DyingStorage(SteeredStorage):
    """After a file was stored, it kills its process, once, if the test says ``die``."""

    def _save(self, name: str, content: Any) -> str:
        name = super()._save(name, content)
        if steering.told("die"):
            (steering.folder() / "die").unlink()
            steering.tell("stored.log", name)
            os.kill(os.getpid(), signal.SIGKILL)
        return name
