"""Start the processes of the demo as children of one process, watch them and stop them."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, ClassVar, Final, Self

from django.conf import settings

from demo.http_client import Client
from demo.servers import process_groups
from demo.servers.logs import log_tail, open_log
from demo.servers.ports import HOST, PORTS, free_ports

__all__ = ["GRACE_SECONDS", "PYTHON", "ServerError", "Supervisor"]

#: Seconds in which a web server must answer for the first time.
START_SECONDS: Final = 60.0

#: The log of a web server says this if another program took its port in the meantime.
PORT_TAKEN: Final = "already in use"

#: Seconds that exports get to finish when the demo stops. One of them takes five minutes.
GRACE_SECONDS: Final = 5.0

ROOT: Final = Path(__file__).resolve().parents[2]
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: The beginning of a command that runs a Python module.
PYTHON: Final = (sys.executable, "-m")


class ServerError(Exception):
    """A child ended by itself, or did not start."""


class Supervisor:
    """A context manager that starts child processes and stops them at the end.

    Each child is in a session of its own. Ctrl-C therefore reaches this process alone,
    which stops the children in order, with all that they have forked.

    Attributes:
        address: The address of the site, for people.
        left_over: Whether some processes did not stop.
        notes: More lines to print at the start.
        environ: Environment variables for all children, besides those of this process.

    Args:
        first_port: The port of the site. If it is taken, the next free one.
    """

    #: The name of all children together, at the beginning of a sentence.
    TITLE: ClassVar[str]

    def __init__(self, first_port: int) -> None:
        self.address = ""
        self.left_over = False
        self.notes: list[str] = []
        # The clusters, whose mails have links, start before the web server.
        port = next(free_ports(first_port), first_port)
        self.environ: dict[str, str] = {"DEMO_URL": f"http://{HOST}:{port}"}
        self._first_port = first_port
        self._run = settings.RUN or secrets.token_hex(8)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        self._signals = 0
        self._handlers: dict[signal.Signals, Any] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)
        try:
            watchdog = [*PYTHON, "demo.servers.watchdog"]
            self._watchdog = self._spawn(watchdog, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
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
        """The names of the children that were started and not stopped on purpose."""
        return list(self._children)

    def watch(self) -> None:
        """Check that all children are alive.

        Raises:
            ServerError: A child has ended.
            KeyboardInterrupt: This process got SIGINT, SIGTERM or SIGHUP.
        """
        if self._signals:
            raise KeyboardInterrupt
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ServerError(
                    f"The {name} has ended (exit code {child.returncode}).\n{log_tail(name)}"
                )

    def wait(self, seconds: float) -> None:
        """Wait, and watch the children meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.watch()
            time.sleep(0.05)
        self.watch()

    def launch(self, name: str, command: Sequence[str]) -> None:
        """Start a child, with an empty log.

        Args:
            name: Its name in messages, and that of its log.
            command: The program and its arguments.
        """
        with open_log(name) as log:
            child = self._spawn(command, stdin=subprocess.DEVNULL, stdout=log)
        self._children[name] = child
        self._groups.append(child.pid)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.write(f"{child.pid}\n".encode())
            self._watchdog.stdin.flush()

    def kill(self, name: str) -> None:
        """Kill a child with all that it has forked, as a power cut does."""
        child = self._children.pop(name)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def stop_gracefully(self, name: str, seconds: float) -> int:
        """Send SIGTERM to a child, and wait until it has finished its work and ended.

        Args:
            name: The name of the child.
            seconds: How long to wait.

        Returns:
            Its exit code.

        Raises:
            ServerError: It took longer.
        """
        child = self._children.pop(name)
        child.terminate()
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ServerError(
                f"The {name} did not end within {seconds:.0f} s.\n{log_tail(name)}"
            ) from error

    def wait_for_answer(self, name: str, address: str) -> bool:
        """Wait for the first answer of a web server.

        Args:
            name: The name of the child.
            address: Its address.

        Returns:
            Whether it answers. False if another program took the port in the meantime.

        Raises:
            ServerError: It has ended, or takes too long.
        """
        client = Client(address)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, HTTPException):
                # Another program's server may answer while this one still starts.
                if self._run.encode() in client.get("/sign-in/").body:
                    return True
            try:
                self.watch()
            except ServerError:
                ended = self._children[name].poll() is not None
                if ended and PORT_TAKEN in log_tail(name).casefold():
                    return False
                raise
            time.sleep(0.1)
        raise ServerError(f"The {name} did not answer for {START_SECONDS:.0f} s.\n{log_tail(name)}")

    def no_port_error(self) -> ServerError:
        """Return the error that says that all ports are taken."""
        return ServerError(f"All {PORTS} ports from {self._first_port} on are taken on {HOST}.")

    def _start(self) -> None:
        """Launch all children, and set ``address``."""
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
        signals = self._signals
        self.left_over = not process_groups.stop(
            self._groups,
            grace=GRACE_SECONDS,
            # A second Ctrl-C ends the grace.
            hurry=lambda: self._signals > signals,
            reap=lambda: [child.poll() for child in self._children.values()],
        )
        if self._watchdog is not None:
            self._watchdog.communicate()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
