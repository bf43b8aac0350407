"""The check of SQLite reports what is wrong, and only that."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.db import connections

from tests.checks.test_checks import ids

SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL;",
}


class ElsewhereRouter:
    """Keep downloads in the database "faraway"."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "faraway" if model._meta.app_label == "async_downloads" else None


@pytest.fixture
def sqlite_with(settings: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep downloads in an SQLite with these options, whatever database the tests run on."""

    def use(options: dict[str, Any]) -> None:
        connections.settings["faraway"] = {
            **deepcopy(connections.settings["default"]),
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": options,
        }
        settings.DATABASE_ROUTERS = [f"{__name__}.{ElsewhereRouter.__name__}"]

    yield use
    settings.DATABASE_ROUTERS = []
    connections.settings.pop("faraway", None)
    if hasattr(connections._connections, "faraway"):
        del connections["faraway"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transaction_mode": "IMMEDIATE"},
        {"init_command": "PRAGMA journal_mode=WAL;"},
        {**SQLITE_OPTIONS, "transaction_mode": "DEFERRED"},
        {**SQLITE_OPTIONS, "transaction_mode": None},
        {**SQLITE_OPTIONS, "init_command": "PRAGMA journal_mode=DELETE;"},
    ],
    ids=str,
)
def test_w004_reports_an_sqlite_that_fails_with_locks(
    sqlite_with: Any, options: dict[str, Any]
) -> None:
    sqlite_with(options)
    assert ids() == ["W004"]


@pytest.mark.parametrize(
    "options",
    [
        SQLITE_OPTIONS,
        {**SQLITE_OPTIONS, "transaction_mode": "EXCLUSIVE"},
        {"transaction_mode": "immediate", "init_command": "pragma journal_mode = wal"},
    ],
    ids=str,
)
def test_w004_accepts_an_sqlite_that_waits_for_locks(
    sqlite_with: Any, options: dict[str, Any]
) -> None:
    sqlite_with(options)
    assert ids() == []
