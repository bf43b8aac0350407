"""Measures, and judges nothing: ``nox -s bench``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tests.bench import latency, report
from tests.bench.cases import BOTH, CASES, MEMORY, MEMORY_SIZES
from tests.bench.runner import Bench, Result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the JSON."""
    options = _options(arguments)
    sizes = [int(size * options.scale) for size in MEMORY_SIZES]
    chosen = [case for case in CASES if not options.only or case.name in options.only]
    memory = [name for name in MEMORY if not options.only or "memory" in options.only]
    results: list[Result] = []
    growth: dict[tuple[str, str], list[float]] = {}
    bench = Bench(old_python=options.old_python, orders=max(sizes) if memory else sizes[0])
    with bench.ready():
        print(*report.HEAD, sep="\n", flush=True)
        for case in chosen:
            scaled = case.scaled(options.scale)
            for found in bench.run(scaled, rounds=options.rounds):
                results += found
                print(*report.lines(scaled, found), sep="\n", flush=True)
        for name in memory:
            for database in filter(bench.has, BOTH if name in ("columns", "row_function") else BOTH[:1]):
                growth[name, database] = [bench.memory(name, database, size) for size in sizes]
    if growth:
        print("", *report.memory_lines(growth, sizes), sep="\n")
    if bench.missing:
        print(f"\nNot there, so skipped: {', '.join(bench.missing)}.")
    if not options.only or "latency" in options.only:
        latency.run()
    if options.json:
        report.write_json(options.json, results, growth)
        print(f"\nEverything is in {options.json}.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help="cases by name; also: memory, latency"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="so many times as much (default: 1)"
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
