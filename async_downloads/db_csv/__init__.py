"""CSV made by the database, for querysets of plain columns."""

from async_downloads.db_csv.compiler import writer_for

__all__ = ["writer_for"]
