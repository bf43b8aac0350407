"""Files in a shared folder, by which a test steers tasks, and tasks report to the test.

Each start of a task is a line of ``starts.log``: download key, process, attempts.
"""

import os
import time
from pathlib import Path

from django.conf import settings

from async_downloads.models import Download


def folder() -> Path:
    """Return the shared folder."""
    return Path(settings.FAULTS_STEERING)


def record_start(download_key: str) -> None:
    """Record that this process has started the task of a download."""
    row = Download.objects.filter(pk=download_key).values("attempts").first()
    attempts = "-" if row is None else row["attempts"]
    append("starts.log", f"{download_key} {os.getpid()} {attempts}")


def append(name: str, line: str) -> None:
    """Append a line to a file, which the test reads with ``site.messages(name)``."""
    with (folder() / name).open("a") as file:
        file.write(line + "\n")


def is_set(name: str) -> bool:
    """Return whether the test has called ``site.go(name)``."""
    return (folder() / name).exists()


def wait_for(name: str) -> None:
    """Wait until the test calls ``site.go(name)``."""
    while not is_set(name):
        time.sleep(0.02)
