"""Run each case in child processes: the subjects in turn, round after round."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import services
from tests.bench.cases import Case

__all__ = ["Bench", "Result"]

SITE = Path(__file__).parent / "site"
ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Result:
    """The measurements of one subject in one case.

    Attributes:
        case, database, cache, subject, size: The measured combination.
        seconds: The seconds of each round.
        growth: The growth of peak memory in MB, the least of all rounds.
        calls: The number of calls in these seconds.
    """

    case: str
    database: str
    cache: str
    subject: str
    size: int
    seconds: list[float] = field(default_factory=list)
    growth: float = float("inf")
    calls: int = 1

    @property
    def best(self) -> float:
        """The seconds of the fastest round; other processes slow the others."""
        return min(self.seconds)


class Bench:
    """A folder, databases with orders, and the environments of both versions."""

    def __init__(self, *, old_python: str = "", orders: int = 200_000):
        """Store the options; ``ready`` makes the databases.

        Args:
            old_python: The interpreter of an environment with 0.6.0; empty for none.
            orders: The number of orders to export.
        """
        self.old_python = old_python
        self.orders = orders
        self.folder = Path()
        self.database_name = f"async_downloads_bench_{uuid.uuid4().hex[:8]}"
        self.missing: list[str] = []

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Create the databases that this machine can have, and drop them at the end."""
        with tempfile.TemporaryDirectory(prefix="async-downloads-bench-") as folder:
            self.folder = Path(folder)
            try:
                self._measure("ours", "prepare", self.orders, "sqlite", "locmem")
                if self.has("postgres"):
                    self._execute(f"CREATE DATABASE {self.database_name}")
                    self._measure("ours", "prepare", self.orders, "postgres", "locmem")
                yield
            finally:
                if self.has("postgres"):
                    self._execute(f"DROP DATABASE IF EXISTS {self.database_name} WITH (FORCE)")

    def has(self, part: str) -> bool:
        """Return whether a database, cache or subject is available; record a missing one."""
        if part in ("old", "import_export"):
            available = bool(self.old_python)
        else:
            available = part in ("sqlite", "locmem", "ours", "floor") or services.available(part)
        if not available and part not in self.missing:
            self.missing.append(part)
        return available

    def run(self, case: Case, *, rounds: int) -> Iterator[list[Result]]:
        """Measure a case on each of its databases and caches, and yield the results of each."""
        for database in filter(self.has, case.databases):
            for cache in filter(self.has, case.caches):
                yield self._in_turn(case, database, cache, rounds)

    def memory(self, name: str, database: str, size: int) -> float:
        """Return the growth of peak memory in MB during an export of this package."""
        return self._measure("ours", name, size, database, "locmem")["growth"]

    def _in_turn(self, case: Case, database: str, cache: str, rounds: int) -> list[Result]:
        results = [
            Result(case.name, database, cache, subject, case.size)
            for subject in case.subjects
            if self.has(subject.partition(".")[0])
        ]
        for _ in range(rounds):
            for result in results:
                module, _, name = result.subject.partition(".")
                measured = self._measure(module, name or case.name, case.size, database, cache)
                result.seconds.append(measured["seconds"])
                result.growth = min(result.growth, measured["growth"])
                result.calls = int(measured["calls"])
        return results

    def _measure(
        self, subject: str, case: str, size: int, database: str, cache: str
    ) -> dict[str, float]:
        command = ("measure.py", subject, case, str(size))
        with self.start(subject, *command, database=database, cache=cache) as child:
            output, errors = child.communicate()
        for kind in ("media-ours", "media-old"):
            shutil.rmtree(self.folder / kind, ignore_errors=True)
        if child.returncode:
            raise RuntimeError(f"{subject}.{case} on {database} failed:\n{errors}")
        measured: dict[str, float] = json.loads(output.splitlines()[-1])
        return measured

    def start(
        self, subject: str, *command: str, database: str, cache: str, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start a program of the site, in the environment of a subject.

        Args:
            subject: The subject; it decides on the version.
            command: The arguments of its Python.
            database: The database of the site.
            cache: Its cache.
            environment: Further variables.
        """
        old = subject in ("old", "import_export")
        paths = [SITE] if old else [SITE, ROOT]
        return subprocess.Popen(
            [self.old_python if old else sys.executable, *command],
            cwd=SITE,
            env={
                **os.environ,
                "BENCH_FOLDER": str(self.folder),
                "BENCH_PACKAGE": "old" if old else "ours",
                "BENCH_DATABASE": database,
                "BENCH_CACHE": cache,
                "BENCH_POSTGRES_URL": services.url("postgres").geturl(),
                "BENCH_POSTGRES_NAME": self.database_name,
                "BENCH_REDIS_URL": services.redis_url(),
                "BENCH_RUN": uuid.uuid4().hex[:8],
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(services.url("postgres").geturl(), autocommit=True) as connection:
            connection.execute(statement)
