"""Runs each case in processes of its own, the subjects in turn, round after round."""

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
    """What one subject took for one case.

    Attributes:
        case, database, cache, subject, size: What was measured.
        seconds: Of each round.
        growth: Of the peak of memory, MB, the least of all rounds.
        calls: How many calls the seconds are for.
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
        """The least that any round took: what is above it is other people's work."""
        return min(self.seconds)


class Bench:
    """A place to measure in: a folder, databases with orders, and two environments."""

    def __init__(self, *, old_python: str = "", orders: int = 200_000):
        """Prepare nothing yet.

        Args:
            old_python: The interpreter of an environment with 0.6.0; empty for none.
            orders: How many orders there are to export.
        """
        self.old_python = old_python
        self.orders = orders
        self.folder = Path()
        self.database_name = f"async_downloads_bench_{uuid.uuid4().hex[:8]}"
        self.missing: list[str] = []

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make the databases that there can be, and remove them again."""
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
        """Return whether a database, a cache or a subject is there; it is noted if not."""
        if part in ("old", "import_export"):
            there = bool(self.old_python)
        else:
            there = part in ("sqlite", "locmem", "ours", "floor") or services.available(part)
        if not there and part not in self.missing:
            self.missing.append(part)
        return there

    def run(self, case: Case, *, rounds: int) -> Iterator[list[Result]]:
        """Measure a case on everything that it names, and yield what the subjects took."""
        for database in filter(self.has, case.databases):
            for cache in filter(self.has, case.caches):
                yield self._in_turn(case, database, cache, rounds)

    def memory(self, name: str, database: str, size: int) -> float:
        """Return by how many MB the peak of memory grows in an export of ours."""
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
                took = self._measure(module, name or case.name, case.size, database, cache)
                result.seconds.append(took["seconds"])
                result.growth = min(result.growth, took["growth"])
                result.calls = int(took["calls"])
        return results

    def _measure(
        self, subject: str, case: str, size: int, database: str, cache: str
    ) -> dict[str, float]:
        old = subject in ("old", "import_export")
        paths = [SITE] if old else [SITE, ROOT]
        environment = {
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
        }
        command = [self.old_python if old else sys.executable, "measure.py", subject, case]
        ran = subprocess.run(
            [*command, str(size)], cwd=SITE, env=environment, capture_output=True, text=True
        )
        for kind in ("media-ours", "media-old"):
            shutil.rmtree(self.folder / kind, ignore_errors=True)
        if ran.returncode:
            raise RuntimeError(f"{subject}.{case} on {database} failed:\n{ran.stderr}")
        measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
        return measured

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(services.url("postgres").geturl(), autocommit=True) as connection:
            connection.execute(statement)
