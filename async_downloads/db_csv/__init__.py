"""CSV made by the database, for querysets of plain columns."""

from async_downloads.db_csv.column_types import column_of
from async_downloads.db_csv.compiler import writer_for
from async_downloads.db_csv.dialect import Labels
from async_downloads.db_csv.labels import label_of
from async_downloads.db_csv.selection import expressions_of

__all__ = ["Labels", "column_of", "expressions_of", "label_of", "writer_for"]
