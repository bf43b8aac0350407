"""The steps of a check: print each one, and stop at the first that fails."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from demo import database
from demo.servers.logs import log_tail
from demo.servers.supervisor import ServerError, Supervisor

__all__ = ["TIMEOUT", "CheckError", "Entry", "Log", "expect", "run", "wait_until"]

#: Seconds after which a step has failed: generous, because a busy machine can be slow.
TIMEOUT: Final = 300.0

#: A download, as the JSON of the list has it.
Entry = dict[str, Any]


class CheckError(Exception):
    """A step failed."""


class Log:
    """Prints the steps, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def write(self, text: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._start:6.1f} s  {text}", flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """Print a line once the block has succeeded, with the details that it put in the list."""
        start = time.monotonic()
        details: list[str] = []
        try:
            yield details
        except (CheckError, LookupError) as error:
            raise CheckError(f"{text}: {error}") from error
        took = f"{time.monotonic() - start:.1f} s"
        self.write(f"{text} ({', '.join([*details, took])})")


def run(servers: Supervisor, check: Callable[[Log], None]) -> int:
    """Run a check, and return the exit code.

    Args:
        servers: The servers to start before it and to stop after it.
        check: A function that does the steps and prints them.
    """
    log = Log()
    problems = []
    try:
        log.write(database.prepare())
        with servers:
            log.write(f"{servers.TITLE} have started at {servers.address}")
            try:
                check(log)
            except OSError:
                # If a server has ended, its log explains more than a refused connection.
                servers.watch()
                raise
    except ServerError as error:
        problems.append(str(error))
    except (CheckError, OSError) as error:
        # Print the logs now: the temporary folder is removed.
        problems += [str(error), *map(log_tail, servers.names)]
    except KeyboardInterrupt:
        problems.append("Interrupted.")
    if servers.left_over:
        problems.append("Some processes did not stop.")
    elif servers.address:
        log.write(f"{servers.TITLE} have stopped, and no process is left")
    log.write("FAILED: " + "\n".join(problems) if problems else "Everything works")
    return 1 if problems else 0


def expect(condition: object, problem: str) -> None:
    """Fail unless the condition holds.

    Raises:
        CheckError: The condition does not hold.
    """
    if not condition:
        raise CheckError(problem)


def wait_until(
    servers: Supervisor,
    condition: Callable[[], bool],
    problem: str,
    *,
    timeout: float = TIMEOUT,
    every: float = 0.1,
) -> None:
    """Wait until the condition holds, and watch the servers meanwhile.

    Raises:
        CheckError: It takes longer than ``timeout``.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        expect(time.monotonic() < deadline, f"{problem} (within {timeout:.0f} s)")
        servers.wait(every)
