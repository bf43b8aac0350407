"""The cases of the bench: their sizes, subjects, databases and caches."""

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["CASES", "MEMORY", "MEMORY_SIZES", "Case"]

BOTH: Final = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        name: The name of the function of each subject.
        title: The title in the table.
        size: The number of rows, calls or downloads.
        subjects: The subjects; the others are compared with the first.
        databases: The databases to measure on.
        caches: The caches to measure with.
    """

    name: str
    title: str
    size: int
    subjects: tuple[str, ...]
    databases: tuple[str, ...] = ("sqlite",)
    caches: tuple[str, ...] = ("locmem",)

    def scaled(self, factor: float) -> "Case":
        """Return the same case with its size multiplied."""
        return replace(self, size=max(1, int(self.size * factor)))


CASES: Final = (
    Case("rows", "{:,} rows from a generator", 1_000_000, ("floor", "old", "ours")),
    Case("async_rows", "{:,} rows from an async generator", 1_000_000, ("ours.rows", "ours")),
    Case(
        "columns",
        "{:,} orders, plain columns",
        200_000,
        ("floor", "floor.columns_by_rows", "old.row_function", "old", "import_export", "ours"),
        BOTH,
    ),
    Case("row_function", "{:,} orders, row function", 200_000, ("floor", "old", "ours"), BOTH),
    Case("labels", "{:,} orders, with labels", 200_000, ("ours.columns", "ours"), BOTH),
    Case("tsv", "{:,} rows of TSV", 200_000, ("floor", "ours")),
    Case("csv_excel", "{:,} rows of CSV for Excel", 200_000, ("floor", "ours")),
    Case("jsonl", "{:,} rows of JSON Lines", 200_000, ("floor", "ours")),
    Case("xlsx", "{:,} rows of XLSX", 200_000, ("floor", "ours")),
    # No library writes it in constant memory.
    Case("ods", "{:,} rows of ODS", 200_000, ("ours.xlsx", "ours")),
    Case("parquet", "{:,} rows of Parquet", 200_000, ("floor", "ours")),
    Case("progress", "{:,} calls of update_percentage", 1_000_000, ("old", "ours")),
    Case("init", "{:,} calls of init_download", 200, ("old", "ours"), BOTH, ("locmem", "redis")),
    Case("many", "downloads for {:,} people", 500, ("ours.each", "ours"), BOTH),
    Case("many", "downloads for {:,} people", 5_000, ("ours.each", "ours"), BOTH),
    Case("cleanup", "clean-up of {:,}", 10_000, ("floor", "old", "ours"), BOTH),
)

#: Exports whose memory must not grow with the rows, and their databases.
MEMORY: Final = {
    "rows": ("sqlite",),
    "async_rows": ("sqlite",),
    "columns": BOTH,
    "row_function": BOTH,
    "jsonl": ("sqlite",),
    "xlsx": ("sqlite",),
    "ods": ("sqlite",),
    "parquet": ("sqlite",),
}

#: The numbers of rows at which memory is measured.
MEMORY_SIZES: Final = (200_000, 2_000_000)
