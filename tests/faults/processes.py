"""Processes of a site: what they print, who is in their group, and how they end."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from tests.pace import LONGEST_WAIT

ROOT: Final = Path(__file__).resolve().parents[2]
PROC: Final = Path("/proc")

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, why: str) -> T:
    """Return the first true answer of a condition that is asked again and again.

    Args:
        condition: What is asked.
        why: What is waited for, in words.
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
    """A process in a group of its own, whose output goes to a file."""

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path = ROOT
    ):
        self.log_path = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                arguments,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What it has printed so far, with what its children have printed."""
        return self.log_path.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def lines(self, *words: str) -> list[str]:
        """Return the lines of its log that hold all of these words."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        return self._popen.wait(LONGEST_WAIT)

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def kill(self) -> None:
        """Kill it alone; its children live on."""
        self._popen.kill()
        self._popen.wait()

    def interrupt(self) -> None:
        """Press Ctrl-C in its terminal, and wait until it has ended."""
        os.killpg(self.pid, signal.SIGINT)
        self.wait()
        self.close()

    def terminate_all(self) -> None:
        """Ask all of its group to end, as a service manager does."""
        os.killpg(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """Kill what is left of its group."""
        # As long as it is not waited for, or anybody is in the group, the number is not reused.
        if self._popen.returncode is None or members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        eventually(lambda: not members(self.pid), why=f"the end of the group of {self.pid}")


class Cluster(Child):
    """A real ``qcluster``: a parent, its sentinel, and that one's workers, monitor and pusher."""

    @property
    def sentinel(self) -> int:
        """The process that looks after the others."""
        (sentinel,) = children(self.pid)
        return sentinel

    @property
    def workers(self) -> list[int]:
        """The workers that are alive, the oldest first."""
        told = re.findall(r"ready for work at (\d+)", self.log)
        return [pid for pid in map(int, told) if alive(pid)]

    @property
    def deliveries(self) -> int:
        """How many tasks its workers have taken up."""
        return len(self.lines("processing"))

    @property
    def endings(self) -> int:
        """How many of them have ended, well or badly."""
        return len(self.lines("Processed '")) + len(self.lines("Failed '"))

    @property
    def errors(self) -> list[str]:
        """The errors in its log, but for what a delivery says that leaves a task to another."""
        return [line for line in self.lines("ERROR") if "is with another attempt" not in line]

    @property
    def ready(self) -> bool:
        """Whether it takes tasks; fails if it has ended instead."""
        assert self.alive, f"The cluster has ended:\n{self.log}"
        return bool(self.lines("running.") and self.lines("pushing tasks") and self.workers)


def kill(pid: int) -> None:
    """Kill a process, and return when it is dead."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid), why=f"the death of {pid}")


def stop(pid: int) -> None:
    """Stop a process (SIGSTOP), and return when it stands still."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: _stat(pid)[0] == "T", why=f"{pid} standing still")


def cont(pid: int) -> None:
    """Let a stopped process go on."""
    os.kill(pid, signal.SIGCONT)


def alive(pid: int) -> bool:
    """Return whether there is such a process that has not ended."""
    return _stat(pid)[0] not in "ZX"


def children(pid: int) -> list[int]:
    """Return the children of a process that are alive."""
    return [child for child in _pids() if alive(child) and _stat(child)[1] == str(pid)]


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive."""
    return [pid for pid in _pids() if alive(pid) and _stat(pid)[2] == str(group)]


def _pids() -> list[int]:
    return [int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Return what the system knows of a process: state, parent, group and more."""
    try:
        # The name of the program, in parentheses, may contain anything.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0", "0"]
