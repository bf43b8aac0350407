"""Processes of a site: their output, their group, and how they end."""

import contextlib
import os
import re
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

from tests.faults.prepared import ROOT, started
from tests.pace import LONGEST_WAIT

PROC: Final = Path("/proc")

#: Ports below those that systems assign to connections and to servers on port 0.
PORTS: Final = range(20_000, 32_000)

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, why: str) -> T:
    """Call a condition until it returns something true, and return that.

    Args:
        condition: Called every 50 ms.
        why: What the test waits for, in words.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"Not within {LONGEST_WAIT:g} s: {why}. The last answer: {answer!r}"
            )
        time.sleep(0.05)
    return answer


class Child:
    """A process in a group of its own, whose output goes to a file.

    A child that runs this Python is a fork, if ``forked``: see ``tests.faults.prepared``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path = ROOT,
        forked: bool = True,
    ):
        self.log_path = log
        with log.open("wb") as output:
            self._popen = started(
                arguments, env=env, cwd=cwd, out=output.fileno(), err=output.fileno(), forked=forked
            )
        self.pid = self._popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """The output so far, its children's included."""
        return self.log_path.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def lines(self, *words: str) -> list[str]:
        """Return the lines of the log that contain all of these words."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait(self, seconds: float = LONGEST_WAIT) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        return self._popen.wait(seconds)

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self._popen.terminate()

    def kill(self) -> None:
        """Kill the process alone; its children live on."""
        self._popen.kill()
        self._popen.wait(LONGEST_WAIT)

    def interrupt(self) -> None:
        """Press Ctrl-C in its terminal, and wait until it ends."""
        os.killpg(self.pid, signal.SIGINT)
        self.wait()
        self.close()

    def terminate_all(self) -> None:
        """Send SIGTERM to its whole group, as a service manager does."""
        os.killpg(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """Kill the processes left in its group."""
        # The number is not reused until the process is waited for and its group is empty.
        if self._popen.returncode is None or members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(LONGEST_WAIT)
        eventually(lambda: not members(self.pid), why=f"the end of the group of {self.pid}")


class Cluster(Child):
    """A real ``qcluster``: a parent, its sentinel, and workers, monitor and pusher of that."""

    @property
    def sentinel(self) -> int:
        """The process that restarts the workers."""
        (sentinel,) = children(self.pid)
        return sentinel

    @property
    def workers(self) -> list[int]:
        """The workers that are alive, the oldest first."""
        pids = map(int, re.findall(r"ready for work at (\d+)", self.log))
        return [pid for pid in pids if alive(pid)]

    @property
    def deliveries(self) -> int:
        """How many tasks the workers have received."""
        return len(self.lines("processing"))

    @property
    def endings(self) -> int:
        """How many of these tasks have ended, well or badly."""
        return len(self.lines("Processed '")) + len(self.lines("Failed '"))

    @property
    def errors(self) -> list[str]:
        """The errors in the log, but not those of deliveries that another attempt made useless."""
        return [line for line in self.lines("ERROR") if "is with another attempt" not in line]

    @property
    def ready(self) -> bool:
        """Whether the cluster takes tasks; fails if it has ended instead."""
        assert self.alive, f"The cluster has ended:\n{self.log}"
        return bool(self.lines("running.") and self.lines("pushing tasks") and self.workers)


def kill(pid: int) -> None:
    """Kill a process, and wait until it is dead."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid), why=f"the death of {pid}")


def stop(pid: int) -> None:
    """Stop a process (SIGSTOP), and wait until the system says so."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: _stat(pid)[0] == "T", why=f"{pid} stopped")


def resume(pid: int) -> None:
    """Resume a stopped process (SIGCONT)."""
    os.kill(pid, signal.SIGCONT)


def alive(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    return _stat(pid)[0] not in "ZX"


def children(pid: int) -> list[int]:
    """Return the children of a process that are alive."""
    return [child for child in _pids() if alive(child) and _stat(child)[1] == str(pid)]


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive."""
    try:
        # Most groups are empty, and all processes of the machine are many.
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    stats = ((pid, _stat(pid)) for pid in _pids())
    return [pid for pid, stat in stats if stat[2] == str(group) and stat[0] not in "ZX"]


def open_files(pid: int) -> list[str]:
    """Return the files that a process has open; a name ends with "(deleted)" if it is."""
    targets = []
    for link in (PROC / str(pid) / "fd").iterdir():
        # A file may be closed meanwhile.
        with contextlib.suppress(OSError):
            targets.append(str(link.readlink()))
    return targets


def status(pid: int) -> str:
    """Return what ``/proc`` says about a process."""
    return (PROC / str(pid) / "status").read_text()


def peak_bytes(text: str) -> int:
    """Return the most memory that a process has used, from its status in ``/proc``."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) * 1024


def free_port() -> int:
    """Return a port of this machine that no process listens on.

    The system assigns it to no other process, also while a server is restarted: it assigns
    higher ones.
    """
    while True:
        # Not from ``random``, which gives all processes of the tests the same numbers.
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def _pids() -> list[int]:
    return [int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Return the fields of a process in ``/proc``: state, parent, group and more."""
    try:
        # The name of the program, in parentheses, may contain anything.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0", "0"]
