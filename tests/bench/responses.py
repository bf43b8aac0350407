"""What page views and polls cost, beside 0.6.0: in turn, in one process of each version.

A worker of each version reports progress before each response that shows a change.
"""

import json
import random
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.runner import Bench

__all__ = ["run"]

#: Measurements of each exchange; a measurement is the median of some requests.
ROUNDS: Final = 30

#: The numbers of downloads of people for whom nothing is built, and for whom one file is.
IDLE: Final = (0, 1, 20, 100)
BUSY: Final = (1, 100)

#: Databases and caches. Only a cache that processes share keeps version tokens.
PARTS: Final = (("sqlite", "redis"), ("sqlite", "locmem"), ("postgres", "redis"))

HEAD: Final = (
    "| response | 0.6.0 | ours | × bare | × 0.6.0 | of a core: × bare | × 0.6.0 "
    "| further queries | cache reads | bytes |",
    f"| --- |{' ---: |' * 9}",
)


@dataclass(frozen=True, slots=True)
class Response:
    """A line of the table.

    Attributes:
        title: What is requested.
        ours: The exchange of this version.
        old: The exchange of 0.6.0 that does the same.
        page: Whether it is a page, which is compared with the same page without the centre.
    """

    title: str
    ours: str
    old: str
    page: bool = False


RESPONSES: Final = (
    Response("bare page", "bare", "", page=True),
    # The floor of a page that reads a shared cache: as a site does, and with no library between.
    Response("bare page, one key read", "key", "", page=True),
    Response("bare page, one key read, raw", "bytes", "", page=True),
    # What ran before it has filled the caches of the processor with other things.
    Response("bare page, one key read, just changed", "key_changed", "", page=True),
    # The floor of a page with a cache in the memory of one process.
    Response("bare page, one query", "query", "", page=True),
    *(Response(f"page, {size:3} complete", f"page_{size}", "page", page=True) for size in IDLE),
    *(
        Response(f"page, {size:3} with one running", f"page_running_{size}", "page", page=True)
        for size in BUSY
    ),
    *(
        Response(f"page, {size:3}, just changed", f"page_changed_{size}", "page", page=True)
        for size in BUSY
    ),
    # The floors of polls after a change: one read; two, a query and a form.
    Response("poll, menu closed, changed, floor", "key_changed", "poll_1"),
    Response("poll, menu open, changed, floor", "least_list", "poll_1"),
    *(
        Response(f"poll, menu {menu}, {kind}, {size:3}", f"{menu}_{kind}_{size}", f"poll_{size}")
        for menu in ("closed", "open")
        for kind in ("unchanged", "changed")
        for size in BUSY
    ),
    *(
        Response(f"poll, 20 as JSON, changed, {size:3}", f"json_changed_{size}", f"poll_{size}")
        for size in BUSY
    ),
)


class Responder:
    """A process of one version that answers requests and measures itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.names: list[str] = self._read()

    def measure(self, name: str) -> dict[str, float]:
        """Measure an exchange."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        measured: dict[str, float] = self._read()
        return measured

    def _read(self) -> Any:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        raise RuntimeError(self._process.stderr.read())


def run(bench: Bench, scale: float = 1.0) -> list[dict[str, Any]]:
    """Measure with each available database and cache, and print a table for each.

    Args:
        bench: The environments, with their databases.
        scale: A factor for the number of rounds.

    Returns:
        The lines of the tables.
    """
    lines = []
    rounds = max(1, int(ROUNDS * scale))
    for database, cache in PARTS:
        if not (bench.has(database) and bench.has(cache)):
            continue
        print(f"\nResponses with {database} and {cache}:", *HEAD, sep="\n", flush=True)
        with responders(bench, database, cache) as subjects:
            measured = in_turn(subjects, rounds)
        for response in RESPONSES:
            if ("ours", response.ours) not in measured:
                continue
            line = {"database": database, "cache": cache, **compare(response, measured)}
            print(as_text(line), flush=True)
            lines.append(line)
    return lines


@contextmanager
def responders(bench: Bench, database: str, cache: str) -> Iterator[dict[str, Responder]]:
    """Start a process of each available version."""
    with ExitStack() as stack:
        subjects = {}
        for subject in filter(bench.has, ("ours", "old")):
            process = stack.enter_context(
                bench.start(subject, "respond.py", subject, database=database, cache=cache)
            )
            stack.callback(process.kill)
            subjects[subject] = Responder(process)
        yield subjects


def in_turn(
    subjects: dict[str, Responder], rounds: int
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Measure all exchanges of all subjects, round after round, in a new order each time."""
    measured = defaultdict(list)
    order = [(subject, name) for subject, responder in subjects.items() for name in responder.names]
    for _ in range(rounds):
        random.shuffle(order)
        for subject, name in order:
            measured[subject, name].append(subjects[subject].measure(name))
    return measured


def compare(
    response: Response, measured: dict[tuple[str, str], list[dict[str, float]]]
) -> dict[str, Any]:
    """Return a line: medians, and medians of the ratios in each round."""
    ours = measured["ours", response.ours]
    old = measured.get(("old", response.old))
    bare = measured["ours", "bare"]
    size = median_of(ours, "bytes")
    return {
        "response": response.title,
        "old": median_of(old, "seconds") if old else None,
        "ours": median_of(ours, "seconds"),
        **{
            f"{figure}_by_{name}": ratio(ours, other, figure) if other else None
            for figure in ("seconds", "core")
            for name, other in (("bare", bare if response.page else None), ("old", old))
        },
        # Each response reads the session and the user.
        "queries": median_of(ours, "queries") - median_of(bare, "queries"),
        "reads": median_of(ours, "reads"),
        "bytes": size - median_of(bare, "bytes") if response.page else size,
    }


def median_of(rounds: list[dict[str, float]], name: str) -> float:
    """Return the median of a figure over all rounds."""
    return statistics.median(each[name] for each in rounds)


def ratio(first: list[dict[str, float]], second: list[dict[str, float]], figure: str) -> float:
    """Return the median of the ratio of a figure in each round."""
    return statistics.median(
        one[figure] / other[figure] for one, other in zip(first, second, strict=True)
    )


def as_text(line: dict[str, Any]) -> str:
    """Return a line of the table."""
    ratios = ("seconds_by_bare", "seconds_by_old", "core_by_bare", "core_by_old")
    cells = [
        line["response"],
        f"{line['old'] * 1000:.2f} ms" if line["old"] else "",
        f"{line['ours'] * 1000:.2f} ms",
        *(f"{line[name]:.2f}" if line[name] else "" for name in ratios),
        f"{line['queries']:.0f}",
        f"{line['reads']:.0f}",
        f"{line['bytes']:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"
