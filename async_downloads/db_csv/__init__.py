"""Rows of plain columns, whose text the database makes."""

from async_downloads.db_csv.compiler import text_of
from async_downloads.db_csv.dialect import Text

__all__ = ["Text", "text_of"]
