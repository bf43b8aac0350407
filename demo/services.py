"""The web server and the cluster, as children of one foreground process."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

from django.conf import settings

from demo import processes
from demo.client import Client

__all__ = ["PATIENCE", "ServiceError", "Services", "log_tail"]

HOST: Final = "127.0.0.1"
PORTS: Final = 100
START_SECONDS: Final = 60.0

#: What the web server says of a port that was taken while it was starting.
PORT_TAKEN: Final = "already in use"

#: Seconds that running exports are given to finish. The demo has one of five minutes.
PATIENCE: Final = 5.0

#: Lines of a log that are shown when its process has failed.
LOG_LINES: Final = 15

ROOT: Final = Path(__file__).resolve().parent.parent
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServiceError(Exception):
    """A child ended by itself, or did not start."""


class Services:
    """Both children, from the start to the end of a ``with`` block.

    Each is in a session of its own: Ctrl-C reaches the foreground process
    alone, which can then stop them in order, with all that they have forked.
    """

    def __init__(self, first_port: int) -> None:
        self.address = ""
        self.left_over = False
        self._first_port = first_port
        self._run = secrets.token_hex(8)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        self._signals = 0
        self._handlers: dict[signal.Signals, Any] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)
        try:
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

    def _start(self) -> None:
        self._guard = self._spawn("demo.guard", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._launch("cluster", "qcluster")
        for port in free_ports(self._first_port):
            self._launch("web server", "runserver", "--noreload", f"{HOST}:{port}")
            self.address = f"http://{HOST}:{port}/"
            if self._answers(self.address):
                return
        raise ServiceError(f"None of {PORTS} ports from {self._first_port} on is free on {HOST}.")

    def _launch(self, name: str, *arguments: str) -> None:
        with open_log(name) as log:
            child = self._spawn("demo.manage", *arguments, stdin=subprocess.DEVNULL, stdout=log)
        self._children[name] = child
        self._groups.append(child.pid)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{child.pid}\n".encode())
            self._guard.stdin.flush()

    def _spawn(
        self, module: str, *arguments: str, stdin: int, stdout: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DEMO_RUN": self._run,
                "DEMO_VAR": str(settings.VAR),
                "DJANGO_SETTINGS_MODULE": "demo.settings",
                "PYTHONPATH": path,
                "PYTHONUNBUFFERED": "1",
            },
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _answers(self, address: str) -> bool:
        """Wait for the web server.

        Returns:
            Whether it answers; False if somebody else was quicker to take the port.
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
                ended = self._children["web server"].poll() is not None
                if ended and PORT_TAKEN in log_tail("web server"):
                    return False
                raise
            time.sleep(0.1)
        raise ServiceError(
            f"The web server did not answer for {START_SECONDS:.0f} s.\n{log_tail('web server')}"
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
