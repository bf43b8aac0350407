"""How a test outside steers a task inside: files in a folder that both know.

Each start of a task is a line of ``starts.log``: download key, process, attempts.
"""

import os
import time
from pathlib import Path

from django.conf import settings

from async_downloads.models import Download


def folder() -> Path:
    """Return the folder of the files that steer."""
    return Path(settings.FAULTS_STEERING)


def started(download_key: str) -> None:
    """Tell that a task was started for a download, and by whom."""
    row = Download.objects.filter(pk=download_key).values("attempts").first()
    attempts = "-" if row is None else row["attempts"]
    tell("starts.log", f"{download_key} {os.getpid()} {attempts}")


def tell(name: str, line: str) -> None:
    """Append a line to a file of the folder."""
    with (folder() / name).open("a") as file:
        file.write(line + "\n")


def told(name: str) -> bool:
    """Return whether the test has said ``site.go(name)``."""
    return (folder() / name).exists()


def wait_for(name: str) -> None:
    """Wait until the test says ``site.go(name)``."""
    while not told(name):
        time.sleep(0.02)
