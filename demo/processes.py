"""Groups of processes: who is in one, and how it ends.

A cluster forks workers that forks of its own look after. What they have in
common is the process group that their first parent was started in.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

__all__ = ["ended", "members", "stop"]

PROC: Final = Path("/proc")

#: Seconds that a group is given after each signal to all of it.
SIGNAL_SECONDS: Final = 3.0


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive.

    Where the system does not list processes as files, the answer is the group's
    first process for as long as there is any.
    """
    if not (PROC / "self" / "stat").exists():
        return [group] if _exists(group) else []
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name of the program, in parentheses, may contain anything.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # One that has ended stays listed until its parent asks how.
            if fields[0] not in "ZX" and int(fields[2]) == group:
                found.append(int(folder.name))
    return found


def ended(groups: Sequence[int]) -> bool:
    """Return whether nothing is left of any of the groups."""
    return not any(members(group) for group in groups)


def stop(
    groups: Sequence[int],
    *,
    patience: float = 0.0,
    hurried: Callable[[], bool] = lambda: False,
    reap: Callable[[], object] = lambda: None,
) -> bool:
    """End groups of processes: ask their first ones, then all, then kill.

    Args:
        groups: The numbers of the groups, which are those of their first processes.
        patience: Seconds to wait for the first ones to see to an orderly end.
        hurried: Whether to stop being patient.
        reap: Called again and again, to take notice of children that have ended.

    Returns:
        Whether nothing is left.
    """
    steps = (
        (os.kill, signal.SIGTERM, patience),
        (os.killpg, signal.SIGTERM, SIGNAL_SECONDS),
        (os.killpg, signal.SIGKILL, SIGNAL_SECONDS),
    )
    for send, number, seconds in steps:
        for group in groups:
            if members(group):
                _send(send, group, number)
        deadline = time.monotonic() + seconds
        while not ended(groups) and time.monotonic() < deadline:
            if send is os.kill and (hurried() or not _any_first(groups)):
                break
            reap()
            time.sleep(0.05)
    reap()
    return ended(groups)


def _send(send: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        # It ended in the meantime; some systems refuse a signal to what is left of it.
        return


def _any_first(groups: Sequence[int]) -> bool:
    """Return whether there is anybody who could still see to an orderly end."""
    return any(group in members(group) for group in groups)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
