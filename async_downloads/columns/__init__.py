"""Rows of plain columns, whose text the database makes."""

from async_downloads.columns.queries import Text, text_of

__all__ = ["Text", "text_of"]
