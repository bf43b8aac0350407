"""Rows to bytes, one module a format.

What a site needs to add a format of its own is here; ``registry`` knows them all.
"""

from async_downloads.formats.base import Format, Options, Rows
from async_downloads.formats.registry import register

__all__ = ["Format", "Options", "Rows", "register"]
