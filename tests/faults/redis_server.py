"""A private Redis that a test may stop, fill and kill."""

import contextlib
import itertools
import shutil
import signal
import subprocess
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.processes import eventually, free_port
from tests.pace import LONGEST_WAIT

__all__ = ["RedisServer"]


class RedisServer:
    """A ``redis-server`` on a free port, which keeps nothing on disk.

    Args:
        maxmemory: The limit (``"3mb"``) beyond which writes fail with the error ``OOM``.
    """

    def __init__(self, maxmemory: str = "0"):
        self.maxmemory = maxmemory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @staticmethod
    def missing() -> str:
        """Return why this machine cannot run it; an empty text if it can."""
        return "" if shutil.which("redis-server") else "no redis-server is installed"

    @property
    def url(self) -> str:
        """Its URL, for a cache or a broker."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def answers(self) -> bool:
        """Whether it answers within two seconds."""
        try:
            with self.client(timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, timeout: float = LONGEST_WAIT) -> "redis.Redis":
        """Return a client that does not try again; close it, or use it in ``with``."""
        no_retry = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(
            self.url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=no_retry
        )

    def start(self) -> None:
        """Start an empty server, and wait until it answers."""
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
        """Kill the server; connections are refused then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Replace the server by an empty one on the same port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop the process, so that it accepts connections and never answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the stopped process."""
        self._signal(signal.SIGCONT)

    def fill(self) -> None:
        """Write until the server refuses to store more."""
        assert self.maxmemory != "0", "It has no limit."
        refused = contextlib.suppress(redis.exceptions.OutOfMemoryError)
        with self.client() as client, refused:
            for index in itertools.count():
                client.set(f"filler-{index}", b"x" * 1000)

    def flush(self) -> None:
        """Delete everything in it."""
        with self.client() as client:
            client.flushall()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "It is not running."
        self._process.send_signal(number)
