"""Measure the package, without any limits to pass: ``nox -s bench``."""

import argparse
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import admin_list, latency, poll_crowd, report, responses, sockets
from tests.bench.cases import CASES, MEMORY, MEMORY_SIZES, Case
from tests.bench.runner import Bench, Result

#: What is not a case.
OTHERS: Final = frozenset({"memory", "responses", "polls", "latency", "admin", "sockets"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the JSON."""
    options = _options(arguments)
    names = options.only or {case.name for case in CASES} | OTHERS
    results, more = _measure_versions(options, names)
    if "latency" in names:
        latency.run()
    if "admin" in names:
        admin_list.run()
    if "sockets" in names:
        sockets.run(options.scale)
    if options.json:
        report.write_json(options.json, results, **more)
        print(f"\nAll measurements are in {options.json}.")


def _measure_versions(
    options: argparse.Namespace, names: Collection[str]
) -> tuple[list[Result], dict[str, Any]]:
    """Measure what both versions do; return the results of the cases, and those of others."""
    sizes = [int(size * options.scale) for size in MEMORY_SIZES]
    bench = Bench(old_python=options.old_python, orders=sizes["memory" in names])
    more: dict[str, Any] = {}
    with bench.ready():
        cases = [case.scaled(options.scale) for case in CASES if case.name in names]
        results = _measure(bench, cases, options.rounds)
        if "memory" in names:
            more["memory"] = _measure_memory(bench, sizes)
        if "responses" in names:
            more["responses"] = responses.run(bench, options.scale)
        if "polls" in names:
            more["polls"] = poll_crowd.run(bench, options.scale)
    if bench.missing:
        print(f"\nNot there, so skipped: {', '.join(bench.missing)}.")
    return results, more


def _measure(bench: Bench, cases: Sequence[Case], rounds: int) -> list[Result]:
    print(*report.HEAD, sep="\n", flush=True)
    results: list[Result] = []
    for case in cases:
        for measured in bench.run(case, rounds=rounds):
            results += measured
            print(*report.lines(case, measured), sep="\n", flush=True)
    return results


def _measure_memory(bench: Bench, sizes: Sequence[int]) -> list[dict[str, Any]]:
    growth = [
        {
            "case": name,
            "database": database,
            "growth": [bench.memory(name, database, size) for size in sizes],
        }
        for name, databases in MEMORY.items()
        for database in filter(bench.has, databases)
    ]
    print("", *report.memory_lines(growth, sizes), sep="\n", flush=True)
    return growth


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CASE",
        help=f"cases by name; also: {', '.join(sorted(OTHERS))}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a factor for all sizes (default: 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the JSON")
    parser.add_argument(
        "--old-python",
        default=os.environ.get("BENCH_OLD_PYTHON", ""),
        metavar="PATH",
        help="the interpreter of an environment with django-async-downloads 0.6.0",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
