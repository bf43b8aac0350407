"""The log file of each process."""

from collections import deque
from pathlib import Path
from typing import IO, Final

from django.conf import settings

__all__ = ["log_path", "log_tail", "open_log"]

#: Lines that a message about a failed process shows.
LOG_LINES: Final = 15


def log_path(name: str) -> Path:
    """Return the path of the log of a process."""
    return Path(settings.VAR) / "log" / f"{name.replace(' ', '-')}.log"


def open_log(name: str) -> IO[bytes]:
    """Empty the log of a process and open it."""
    path = log_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    # A second demo may write to it, too. Only appending leaves no holes.
    return path.open("ab")


def log_tail(name: str) -> str:
    """Return the last lines of a log, and its path."""
    path = log_path(name)
    try:
        with path.open(errors="replace") as log:
            lines = deque(log, maxlen=LOG_LINES)
    except FileNotFoundError:
        return f"{path} does not exist."
    return f"The end of {path}:\n" + "".join(f"  {line}" for line in lines)
