"""Checks of the database that holds the rows."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db import connections, router

from async_downloads.models import Download

__all__ = ["check_sqlite"]


def check_sqlite(**_: Any) -> Iterator[CheckMessage]:
    """W004: an SQLite database without the options for concurrent writers."""
    connection = connections[router.db_for_write(Download)]
    if connection.vendor != "sqlite":
        return
    options = connection.settings_dict.get("OPTIONS", {})
    immediate = str(options.get("transaction_mode", "")).upper() in {"IMMEDIATE", "EXCLUSIVE"}
    wal = "journal_mode=wal" in str(options.get("init_command", "")).lower().replace(" ", "")
    if not (immediate and wal):
        yield CheckWarning(
            'SQLite answers "database is locked" if two processes write at the same time.',
            hint='Set OPTIONS to {"transaction_mode": "IMMEDIATE", '
            '"init_command": "PRAGMA journal_mode=WAL;"} for this database.',
            id="async_downloads.W004",
        )
