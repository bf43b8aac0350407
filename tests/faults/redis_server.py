"""A Redis of one's own, to be stopped, filled and killed."""

import contextlib
import itertools
import shutil
import signal
import socket
import subprocess
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.processes import eventually

__all__ = ["RedisServer"]


class RedisServer:
    """A ``redis-server`` on a free port, which keeps nothing on disk.

    Args:
        maxmemory: How much it holds (``"3mb"``); what is more is refused, as by
            default, with the error ``OOM``.
    """

    def __init__(self, maxmemory: str = "0"):
        self.maxmemory = maxmemory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @staticmethod
    def missing() -> str:
        """Return what it lacks on this machine; an empty text if nothing."""
        return "" if shutil.which("redis-server") else "no redis-server is installed"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def answers(self) -> bool:
        """Whether it answers within a moment."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> "redis.Redis":
        """Return a client that does not wait for long; close it, or use it in ``with``."""
        never = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(
            self.url, socket_timeout=2, socket_connect_timeout=2, retry=never
        )

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "maxmemory": self.maxmemory,
            "maxmemory-policy": "noeviction",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["redis-server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: self.answers, why="an answer of redis-server")

    def kill(self) -> None:
        """Kill it; what connects is refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it anew, empty, on the same port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Let it hang: it takes connections, and never answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def fill(self) -> None:
        """Fill it until it refuses to hold more."""
        assert self.maxmemory != "0", "It has no limit."
        refused = contextlib.suppress(redis.exceptions.OutOfMemoryError)
        with self.client() as client, refused:
            for index in itertools.count():
                client.set(f"filler-{index}", b"x" * 1000)

    def flush(self) -> None:
        """Empty it."""
        with self.client() as client:
            client.flushall()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "It is not running."
        self._process.send_signal(number)
