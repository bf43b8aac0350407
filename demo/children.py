"""Processes as children of one foreground process, which stops them in order."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, ClassVar, Final, Self

from django.conf import settings

from demo import processes
from demo.client import Client

__all__ = [
    "HOST",
    "PATIENCE",
    "PYTHON",
    "Children",
    "ServiceError",
    "free_ports",
    "is_free",
    "log_path",
    "log_tail",
]

HOST: Final = "127.0.0.1"
PORTS: Final = 100
START_SECONDS: Final = 60.0

#: What a web server says of a port that was taken while it was starting.
PORT_TAKEN: Final = "already in use"

#: Seconds that running exports are given to finish. The demo has one of five minutes.
PATIENCE: Final = 5.0

#: Lines of a log that are shown when its process has failed.
LOG_LINES: Final = 15

ROOT: Final = Path(__file__).resolve().parent.parent
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: How Python runs a module of this project.
PYTHON: Final = (sys.executable, "-m")


class ServiceError(Exception):
    """A child ended by itself, or did not start."""


class Children:
    """All of them, from the start to the end of a ``with`` block.

    Each is in a session of its own: Ctrl-C reaches the foreground process
    alone, which can then stop them in order, with all that they have forked.

    Attributes:
        address: What people are told.
        left_over: Whether some could not be stopped.
        notes: What else people are told at the start.
        environ: Variables for all of them, besides one's own.

    Args:
        first_port: The port that people are given, or the first free one after it.
    """

    #: What all of them together are called, at the beginning of a sentence.
    TITLE: ClassVar[str]

    def __init__(self, first_port: int) -> None:
        self.address = ""
        self.left_over = False
        self.notes: list[str] = []
        self.environ: dict[str, str] = {}
        self._first_port = first_port
        self._run = settings.RUN or secrets.token_hex(8)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        self._signals = 0
        self._handlers: dict[signal.Signals, Any] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)
        try:
            guard = [*PYTHON, "demo.guard"]
            self._guard = self._spawn(guard, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def names(self) -> list[str]:
        """Those that have been started and not been stopped on purpose."""
        return list(self._children)

    def watch(self) -> None:
        """See whether everything is as it should be.

        Raises:
            ServiceError: A child has ended.
            KeyboardInterrupt: Somebody pressed Ctrl-C, or the like.
        """
        if self._signals:
            raise KeyboardInterrupt
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ServiceError(
                    f"The {name} has ended (exit code {child.returncode}).\n{log_tail(name)}"
                )

    def wait(self, seconds: float) -> None:
        """Watch for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.watch()
            time.sleep(0.05)
        self.watch()

    def launch(self, name: str, command: Sequence[str]) -> None:
        """Start one of them, with an empty log.

        Args:
            name: What it is called, in messages and for its log.
            command: The program and its arguments.
        """
        with open_log(name) as log:
            child = self._spawn(command, stdin=subprocess.DEVNULL, stdout=log)
        self._children[name] = child
        self._groups.append(child.pid)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{child.pid}\n".encode())
            self._guard.stdin.flush()

    def kill(self, name: str) -> None:
        """Kill one of them with all that it has forked, as a machine that loses its power does."""
        child = self._children.pop(name)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def retire(self, name: str, patience: float) -> int:
        """Ask one of them to end once it is done with its work, and wait until it has.

        Args:
            name: Which one.
            patience: Seconds that it is given.

        Returns:
            Its exit code.

        Raises:
            ServiceError: It took longer.
        """
        child = self._children.pop(name)
        child.terminate()
        try:
            return child.wait(patience)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(
                f"The {name} did not end within {patience:.0f} s.\n{log_tail(name)}"
            ) from error

    def answers(self, name: str, address: str) -> bool:
        """Wait for a web server.

        Args:
            name: What it is called.
            address: Where it should answer.

        Returns:
            Whether it answers; False if somebody else was quicker to take the port.

        Raises:
            ServiceError: It has ended, or takes too long.
        """
        client = Client(address)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, HTTPException):
                # What answers may be somebody else's server, as long as ours is still starting.
                if self._run.encode() in client.get("/sign-in/").body:
                    return True
            try:
                self.watch()
            except ServiceError:
                ended = self._children[name].poll() is not None
                if ended and PORT_TAKEN in log_tail(name).casefold():
                    return False
                raise
            time.sleep(0.1)
        raise ServiceError(
            f"The {name} did not answer for {START_SECONDS:.0f} s.\n{log_tail(name)}"
        )

    def no_port(self) -> ServiceError:
        """Return the error for want of a port."""
        return ServiceError(f"None of {PORTS} ports from {self._first_port} on is free on {HOST}.")

    def _start(self) -> None:
        """Launch all of them, and set the address that people are given."""
        raise NotImplementedError

    def _spawn(
        self, command: Sequence[str], *, stdin: int, stdout: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                **self.environ,
                "DEMO_RUN": self._run,
                "DEMO_VAR": str(settings.VAR),
                "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
                "PYTHONPATH": path,
                "PYTHONUNBUFFERED": "1",
            },
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _stop(self) -> None:
        asked = self._signals
        self.left_over = not processes.stop(
            self._groups,
            patience=PATIENCE,
            # Another Ctrl-C is an order to be quick.
            hurried=lambda: self._signals > asked,
            reap=lambda: [child.poll() for child in self._children.values()],
        )
        if self._guard is not None:
            self._guard.communicate()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1


def free_ports(first: int) -> Iterator[int]:
    """Yield the free ones of ``PORTS`` ports."""
    return (port for port in range(first, min(first + PORTS, 65536)) if is_free(port))


def is_free(port: int) -> bool:
    """Return whether nothing listens on a port."""
    with socket.socket() as candidate:
        # As the web server does: a port that was in use a moment ago is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


def log_path(name: str) -> Path:
    """Return where a child writes what it has to say."""
    return Path(settings.VAR) / "log" / f"{name.replace(' ', '-')}.log"


def open_log(name: str) -> IO[bytes]:
    """Open an empty log."""
    path = log_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    # A second demo may be writing to it: only what is appended leaves no holes.
    return path.open("ab")


def log_tail(name: str) -> str:
    """Return the last lines of a child's log, and where the rest is."""
    path = log_path(name)
    try:
        with path.open(errors="replace") as log:
            lines = deque(log, maxlen=LOG_LINES)
    except FileNotFoundError:
        return f"There is no {path}."
    return f"The end of {path}:\n" + "".join(f"  {line}" for line in lines)
