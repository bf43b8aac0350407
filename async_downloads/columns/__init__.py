"""Rows of plain columns, whose text the database makes."""

from async_downloads.columns.base import Text
from async_downloads.columns.queries import text_of

__all__ = ["Text", "text_of"]
