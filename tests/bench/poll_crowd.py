"""A crowd of people whose pages poll a server of each version, beside 0.6.0.

The server is Gunicorn, with two processes of eight threads. Each person has one running download
and a closed menu, and polls a second after the last response; other processes report progress.
Then the same people poll without a pause, which shows how many answers the server can give.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.runner import Bench
from tests.faults.processes import eventually, free_port

__all__ = ["run"]

#: Seconds between a response and the next poll.
PAUSES: Final = (1.0, 0.0)

#: People, unless the bench is scaled.
PEOPLE: Final = 300

#: Rounds of each version, and the seconds of one, after those in which the polls begin.
ROUNDS: Final = 2
SECONDS: Final = 20
WARM_UP: Final = 5

SERVER: Final = (
    *("-m", "gunicorn", "--workers", "2", "--threads", "8", "--log-level", "error"),
    *("--no-control-socket", "--keep-alive", "10", "wsgi:application", "--bind"),
)


def run(bench: Bench, scale: float = 1.0) -> list[dict[str, Any]]:
    """Measure, and print the results.

    Args:
        bench: The environments, with their databases.
        scale: A factor for the number of people.

    Returns:
        The results of each round.
    """
    if not bench.has("redis"):
        print("\nCrowd of polls: skipped, Redis does not answer.")
        return []
    count = max(1, int(PEOPLE * scale))
    database = "postgres" if bench.has("postgres") else "sqlite"
    return [each for pause in PAUSES for each in measure_versions(bench, database, count, pause)]


def measure_versions(bench: Bench, database: str, count: int, pause: float) -> list[dict[str, Any]]:
    """Measure each version in turn with the same pause, and print the results."""
    how = "each second" if pause else "without a pause"
    print(f"\n{count:,} people poll {how}, Gunicorn, {database} and Redis:", flush=True)
    rounds = [
        measure(bench, subject, database, count, pause)
        for _ in range(ROUNDS)
        for subject in filter(bench.has, ("old", "ours"))
    ]
    for subject in ("old", "ours"):
        show(subject, [each for each in rounds if each["subject"] == subject])
    return rounds


def show(subject: str, rounds: list[dict[str, Any]]) -> None:
    """Print the medians of a version."""
    if not rounds:
        return
    name = {"old": "0.6.0", "ours": "ours"}[subject]
    rate, core, wait = (
        statistics.median(each[figure] for each in rounds)
        for figure in ("answers", "core", "median")
    )
    statuses = {key: sum(each["statuses"].get(key, 0) for each in rounds) for key in ("200", "204")}
    print(
        f"- {name}: {rate:.0f} answers a second, {core * 1000:.2f} ms of a core for each, "
        f"{wait * 1000:.0f} ms at the median; {statuses['204']:,} unchanged, "
        f"{statuses['200']:,} with a body",
        flush=True,
    )


def measure(bench: Bench, subject: str, database: str, count: int, pause: float) -> dict[str, Any]:
    """Return what one version answers in a round to people with a pause between polls."""
    where = {"database": database, "cache": "redis", "BENCH_RUN": f"crowd-{os.getpid()}"}
    port = free_port()
    with (
        bench.start(subject, "crowd.py", subject, str(count), **where) as workers,
        bench.start(subject, *SERVER, f"127.0.0.1:{port}", **where) as server,
    ):
        try:
            assert workers.stdout is not None
            assert workers.stdin is not None
            people = json.loads(workers.stdout.readline())
            eventually(lambda: len(processes_of(server.pid)) == 3, why="a server that has started")
            with crowd(bench.folder, port, people, pause) as polls:
                workers.stdin.write("\n")
                workers.stdin.flush()
                assert polls.stdout is not None
                polls.stdout.readline()
                before = core_of(server.pid)
                measured: dict[str, Any] = json.loads(polls.stdout.readline())
                core = core_of(server.pid) - before
        finally:
            workers.kill()
            server.terminate()
    answers = sum(measured["statuses"].values())
    return {
        "subject": subject,
        "database": database,
        "pause": pause,
        "answers": answers / measured["seconds"],
        "core": core / answers,
        **measured,
    }


@contextmanager
def crowd(
    folder: Path, port: int, people: list[dict[str, str]], pause: float
) -> "Iterator[subprocess.Popen[str]]":
    """Let people poll, in a process of its own."""
    given = folder / "people.json"
    given.write_text(json.dumps(people))
    times = map(str, (pause, WARM_UP, SECONDS))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.polling_people", str(port), str(given), *times],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_of(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def core_of(pid: int) -> float:
    """Return the seconds of a core that a process and its children have used."""
    ticks = 0
    for each in processes_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
