"""Rows to bytes, with one module for each format.

A site that adds a format of its own imports from here; ``registry`` knows all formats.
"""

from async_downloads.formats.base import Column, Format, Options, Rows
from async_downloads.formats.registry import register

__all__ = ["Column", "Format", "Options", "Rows", "register"]
