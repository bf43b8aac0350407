"""The results as a table in Markdown, and as JSON."""

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tests.bench.cases import Case
from tests.bench.runner import Result

__all__ = ["lines", "memory_lines", "write_json"]

NAMES: Final = {
    "floor": "floor",
    "floor.columns_by_rows": "floor by rows",
    "old": "0.6.0",
    "old.row_function": "0.6.0, row function",
    "import_export": "import-export",
    "ours": "ours",
    "ours.each": "ours, one by one",
    "ours.rows": "ours, sync",
    "ours.columns": "ours, values",
    "ours.xlsx": "ours, XLSX",
}

HEAD: Final = (
    "| what | on | who | seconds | × first | × 0.6.0 | peak MB |",
    "| --- | --- | --- | ---: | ---: | ---: | ---: |",
)


def lines(case: Case, results: Sequence[Result]) -> list[str]:
    """Return the lines of one case, on one database and cache."""
    title = case.title.format(case.size)
    on = results[0].database + (f", {results[0].cache}" if len(case.caches) > 1 else "")
    first = results[0].best
    old = next((result.best for result in results if result.subject == "old"), None)
    return [
        f"| {title} | {on} | {NAMES[result.subject]} | {_seconds(result)} "
        f"| {result.best / first:.2f} | {f'{result.best / old:.2f}' if old else ''} "
        f"| {result.growth:.0f} |"
        for result in results
    ]


def _seconds(result: Result) -> str:
    if result.calls > 1:
        return f"{result.best / result.calls * 1e6:,.2f} µs a call"
    return f"{result.best:.2f}"


def memory_lines(growth: Iterable[dict[str, Any]], sizes: Sequence[int]) -> list[str]:
    """Return the table of the growth of memory with ten times as many rows.

    Args:
        growth: MB at each size, with its case and database.
        sizes: The numbers of rows.
    """
    return [
        f"| growth of memory, MB | on | {' | '.join(f'{size:,} rows' for size in sizes)} |",
        f"| --- | --- |{' ---: |' * len(sizes)}",
        *(
            f"| {each['case']} | {each['database']} "
            f"| {' | '.join(f'{size:.1f}' for size in each['growth'])} |"
            for each in growth
        ),
    ]


def write_json(path: Path, results: Iterable[Result], **more: Any) -> None:
    """Write all rounds of all results, with the versions and the machine.

    Args:
        path: The file.
        results: The results of the cases.
        more: Other results, by name.
    """
    content: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "django": version("django"),
        "machine": platform.machine(),
        "results": [
            {name: getattr(result, name) for name in Result.__slots__} for result in results
        ],
        **more,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
