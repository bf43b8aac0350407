"""Clocks that differ: that of the database, and that of all at another time."""

from datetime import timedelta

import pytest
from django.utils import timezone

from async_downloads.models.timing import DatabaseNow

__all__ = ["move_clock", "put_database_ahead"]


def put_database_ahead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of the database be so many seconds ahead of the clock of this process."""
    name_time = DatabaseNow.__init__

    def name_later_time(self: DatabaseNow, offset: float = 0) -> None:
        name_time(self, offset + seconds)

    monkeypatch.setattr(DatabaseNow, "__init__", name_later_time)


def move_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Let the clock of this process be so far ahead, as if that time had passed."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + by)
