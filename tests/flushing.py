"""Restore the databases after a transactional test, with a few short statements.

Django flushes every table after such a test and then sends ``post_migrate``. The receivers
create content types, permissions and schedules again with hundreds of queries, which took longer
than most of these tests. This module empties the tables, and restores the rows of migrations only
if a test has changed them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
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
    """Restore these contents after a transactional test, instead of flushing.

    Args:
        initial: The tables by the alias of their database.
    """

    def put_back(case: TransactionTestCase) -> None:
        for alias in case._databases_names(include_mirrors=False):
            _put_back(alias, initial[alias])

    flush = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = put_back
    try:
        yield
    finally:
        TransactionTestCase._fixture_teardown = flush


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
        for table in tables:
            if table.rows and _read(cursor, table.name) == table:
                continue
            cursor.execute(f"DELETE FROM {table.name}")  # noqa: S608 (a quoted name)
            if table.rows:
                names = ", ".join(map(connection.ops.quote_name, table.columns))
                places = ", ".join(["%s"] * len(table.columns))
                cursor.executemany(
                    f"INSERT INTO {table.name} ({names}) VALUES ({places})",  # noqa: S608
                    table.rows,
                )
