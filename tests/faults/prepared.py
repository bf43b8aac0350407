"""Starts of Python that need no new imports: a process has imported Django, and forks.

Most of the time that a short child needs is for imports. A process of each process of the tests
does them once. It has no settings, no threads and no connections; each fork of it runs its code
as a new Python would, in a session of its own.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from django.core.exceptions import ImproperlyConfigured

__all__ = ["ROOT", "started"]

#: What the children of most sites import. None of them reads the settings.
IMPORTED: Final = (
    *("celery.app.amqp", "celery.app.log", "celery.bin.worker", "celery.worker.consumer"),
    *("django.contrib.admin.apps", "django.contrib.auth.apps", "django.contrib.auth.hashers"),
    *("django.contrib.auth.password_validation", "django.contrib.auth.tokens"),
    *("django.contrib.contenttypes.apps", "django.contrib.messages.apps"),
    *("django.contrib.sessions.apps", "django.contrib.staticfiles.apps"),
    *("django.core.cache.backends.redis", "django.core.handlers.asgi"),
    *("django.core.servers.basehttp", "django.db.backends.mysql.base"),
    *("django.db.backends.postgresql.base", "django.db.backends.sqlite3.base"),
    *("croniter", "django_htmx.middleware", "django_q.queues", "kombu.transport.redis"),
    *("multiprocessing.sharedctypes", "pathvalidate", "picklefield.fields"),
)

ROOT: Final = Path(__file__).resolve().parents[2]

#: The largest request, with its environment and code.
LARGEST: Final = 1 << 17


def started(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    out: int,
    err: int,
    cwd: Path = ROOT,
    forked: bool = True,
) -> "subprocess.Popen[bytes] | Fork":
    """Start a program in a session of its own; this Python by a fork.

    Args:
        arguments: The program and its arguments.
        env: Its environment.
        out: The file for its output.
        err: The file for its errors.
        cwd: Its folder.
        forked: Whether a fork will do, whose memory contains all that it could need.
    """
    program, option, *_ = *arguments, ""
    python = program == sys.executable and option in {"-c", "-m"} and cwd == ROOT
    # A library that is loaded before all others needs a new program. Only Linux has these calls.
    if forked and python and "LD_PRELOAD" not in env and hasattr(os, "pidfd_open"):
        return Fork(arguments[1:], env=env, out=out, err=err)
    return subprocess.Popen(
        arguments,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )


class Fork:
    """A process that was forked, with the part of the interface of ``subprocess.Popen`` in use."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str], out: int, err: int):
        self.returncode: int | None = None
        self._ending, theirs = socket.socketpair()
        request = json.dumps([arguments, dict(env)]).encode()
        with theirs, _lock:
            socket.send_fds(_server().control, [request], [theirs.fileno(), out, err])
            pid = self._ending.recv(4)
        assert pid, "The process that forks has ended."
        self.pid = int.from_bytes(pid, "big")

    def poll(self) -> int | None:
        """Return the exit code, or nothing if the process has not ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait until the process ends, and return its exit code."""
        if self.returncode is None:
            self._ending.settimeout(timeout)
            try:
                code = self._ending.recv(4)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(str(self.pid), timeout) from error
            assert code, "The process that forks has ended."
            self.returncode = int.from_bytes(code, "big", signed=True)
            # Only now is the number of the process free for another one.
            self._ending.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """The process that forks, as the tests see it. It ends with their process."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                # Ctrl-C ends the tests, and they end it.
                start_new_session=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self.control.close()
        self.process.wait()


_lock = threading.Lock()
_server = functools.cache(_Server)


def main(control: socket.socket) -> None:
    """Import everything, fork for each request, and say when a fork has ended."""
    for name in IMPORTED:
        # Drivers of databases may be missing.
        with contextlib.suppress(ImportError, ImproperlyConfigured):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    option, target, *others = _serve(control)
    # In a fork, which needs none of the descriptors.
    control.detach()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if option == "-m":
        sys.argv[:] = [target, *others]
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [option, *others]
        module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(target, "<string>", "exec"), vars(module))  # noqa: S102


def _serve(control: socket.socket) -> list[str]:
    """Serve requests until the tests end; in each fork, return its arguments."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    key.data(selector)
                elif arguments := _fork(control, selector):
                    return arguments


def _fork(control: socket.socket, selector: selectors.BaseSelector) -> list[str]:
    request, received, *_ = socket.recv_fds(control, LARGEST, 3)
    if not request:
        os._exit(0)
    pid = os.fork()
    ending, *outputs = received
    if pid:
        for descriptor in outputs:
            os.close(descriptor)
        _Ending(pid, socket.socket(fileno=ending)).watch(selector)
        return []
    arguments, env = json.loads(request)
    os.setsid()
    for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(env)
    os.write(ending, os.getpid().to_bytes(4, "big"))
    return list(arguments)


class _Ending:
    """Sends the exit code of a fork. The number of the fork stays in use until it is received."""

    def __init__(self, pid: int, receiver: socket.socket):
        self._pid = pid
        self._receiver = receiver
        self._descriptor = os.pidfd_open(pid)

    def watch(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._descriptor, selectors.EVENT_READ, self._send)

    def _send(self, selector: selectors.BaseSelector) -> None:
        selector.unregister(self._descriptor)
        os.close(self._descriptor)
        result = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        code = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        with contextlib.suppress(OSError):
            self._receiver.send(code.to_bytes(4, "big", signed=True))
        # The receiver closes its end.
        selector.register(self._receiver, selectors.EVENT_READ, self._bury)

    def _bury(self, selector: selectors.BaseSelector) -> None:
        selector.unregister(self._receiver)
        self._receiver.close()
        os.waitpid(self._pid, 0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
