"""Restore the databases after a transactional test, with a few short statements.

Django flushes every table after such a test and then sends ``post_migrate``. The receivers
create content types, permissions and schedules again with hundreds of queries, which took longer
than most of these tests. This module empties the tables that are not empty, and restores the rows
of migrations only if a test has changed them.

Django also opens new connections for the next test. Here they stay open: a test that changes the
session of a connection closes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from typing import Any
from unittest.mock import patch

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

__all__ = ["Table", "contents", "replaced"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a database, and its rows before the first test."""

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


def contents() -> dict[str, list[Table]]:
    """Return the tables that Django would flush, by the alias of their database."""
    tables: dict[str, list[Table]] = {}
    for alias in connections:
        connection = connections[alias]
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        with connection.cursor() as cursor:
            quoted = map(connection.ops.quote_name, names)
            tables[alias] = [_read(cursor, name) for name in quoted]
    return tables


@contextmanager
def replaced(initial: dict[str, list[Table]]) -> Iterator[None]:
    """Restore these contents after a transactional test, on open connections, without flushing.

    Args:
        initial: The tables by the alias of their database.
    """

    def put_back(case: TransactionTestCase) -> None:
        for alias in case._databases_names(include_mirrors=False):
            _put_back(alias, initial[alias])

    def has_unusual_connection(case: TransactionTestCase) -> bool:
        return not all(map(_as_opened, connections.all(initialized_only=True)))

    with (
        patch.object(TransactionTestCase, "_fixture_teardown", put_back),
        patch.object(TransactionTestCase, "_should_reload_connections", has_unusual_connection),
    ):
        yield


def _as_opened(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is None or (
        connection.autocommit and not connection.errors_occurred
    )


def _read(cursor: Any, name: str) -> Table:
    # The first column is the primary key, so that the order is always the same.
    cursor.execute(f"SELECT * FROM {name} ORDER BY 1")  # noqa: S608 (a quoted name)
    return Table(name, [column[0] for column in cursor.description], list(cursor.fetchall()))


def _put_back(alias: str, tables: list[Table]) -> None:
    connection = connections[alias]
    with (
        connection.constraint_checks_disabled(),
        transaction.atomic(using=alias),
        connection.cursor() as cursor,
    ):
        filled = _filled(cursor, [table for table in tables if not table.rows])
        for table in tables:
            if _read(cursor, table.name) == table if table.rows else table not in filled:
                continue
            cursor.execute(f"DELETE FROM {table.name}")  # noqa: S608 (a quoted name)
            if table.rows:
                names = ", ".join(map(connection.ops.quote_name, table.columns))
                places = ", ".join(["%s"] * len(table.columns))
                cursor.executemany(
                    f"INSERT INTO {table.name} ({names}) VALUES ({places})",  # noqa: S608
                    table.rows,
                )


def _filled(cursor: Any, tables: list[Table]) -> list[Table]:
    """Return the tables that have rows, by one query, as most tests fill only a few."""
    questions = [f"EXISTS (SELECT 1 FROM {table.name})" for table in tables]  # noqa: S608
    cursor.execute(f"SELECT {', '.join(questions)}")
    return list(compress(tables, cursor.fetchone()))
