"""Groups of processes: list their members, and stop them.

A cluster forks workers, which fork processes of their own. All of them are in the
process group of the first one.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

__all__ = ["ended", "members", "stop"]

PROC: Final = Path("/proc")

#: Seconds to wait after a signal to a whole group.
SIGNAL_SECONDS: Final = 3.0


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive.

    On a system without ``/proc``, return the first process of the group while any is alive.
    """
    if not (PROC / "self" / "stat").exists():
        return [group] if _exists(group) else []
    alive = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name of the program, in parentheses, may contain anything.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # A process that has ended stays listed until its parent reads the exit code.
            if fields[0] not in "ZX" and int(fields[2]) == group:
                alive.append(int(folder.name))
    return alive


def ended(groups: Sequence[int]) -> bool:
    """Return whether all processes of all groups have ended."""
    return not any(members(group) for group in groups)


def stop(
    groups: Sequence[int],
    *,
    grace: float = 0.0,
    hurry: Callable[[], bool] = lambda: False,
    reap: Callable[[], object] = lambda: None,
) -> bool:
    """Stop groups of processes: SIGTERM to the first ones, SIGTERM to all, SIGKILL to all.

    Args:
        groups: The numbers of the groups, which are the ids of their first processes.
        grace: Seconds that the first processes get to stop the others in order.
        hurry: Whether to end the grace early.
        reap: Called repeatedly, to read the exit codes of children.

    Returns:
        Whether all processes have ended.
    """
    steps = (
        (os.kill, signal.SIGTERM, grace),
        (os.killpg, signal.SIGTERM, SIGNAL_SECONDS),
        (os.killpg, signal.SIGKILL, SIGNAL_SECONDS),
    )
    for send, number, seconds in steps:
        for group in groups:
            if members(group):
                _send(send, group, number)
        deadline = time.monotonic() + seconds
        while not ended(groups) and time.monotonic() < deadline:
            if send is os.kill and (hurry() or not _any_first(groups)):
                break
            reap()
            time.sleep(0.05)
    reap()
    return ended(groups)


def _send(send: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        # It ended in the meantime. Some systems refuse a signal to a process that has ended.
        return


def _any_first(groups: Sequence[int]) -> bool:
    """Return whether the first process of any group is alive and can stop the others."""
    return any(group in members(group) for group in groups)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
