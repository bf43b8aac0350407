"""Read downloads by statements of SQL, with the values that Django reads.

Polls read the same rows again and again, and building a query takes Django ten times as long as
the database takes to answer.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from django.conf import settings as project_settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from async_downloads import settings
from async_downloads.models import Download, DownloadCollection
from async_downloads.models.conditions import UNFINISHED
from async_downloads.models.downloads import LONG_COLUMNS
from async_downloads.models.timing import DatabaseNow
from async_downloads.owners import Owner
from async_downloads.store.transactions import database

__all__ = [
    "IS_ACTIVE",
    "IS_IN_PROGRESS",
    "UNFINISHED_STATES",
    "Columns",
    "as_downloads",
    "collection_ids",
    "columns_of",
    "database_now",
    "moment_of",
    "read_list",
    "scope_of",
]

#: The states of unfinished downloads, for a statement.
UNFINISHED_STATES: Final = ", ".join(f"'{state.value}'" for state in UNFINISHED)

#: Whether a download is in progress, and whether it has not expired, for a statement.
IS_IN_PROGRESS: Final = f"d.state IN ({UNFINISHED_STATES}) AND d.heard_at >= {{alive_since}}"
IS_ACTIVE: Final = (
    f"(d.state IN ({UNFINISHED_STATES}) OR d.expires_at IS NULL OR d.expires_at > %s OR d.held)"
)

#: An expression of the type of a moment.
_MOMENT: Final = DatabaseNow()

#: The downloads of an owner that have not expired, newest first: the time, when the owner last saw
#: them, how many there are and how many are in progress, and all columns that a list shows.
_LIST: Final = " ".join(
    f"""
    SELECT {{now}} AS read_at, c.seen_at, COUNT(*) OVER (),
           COUNT(CASE WHEN {IS_IN_PROGRESS} THEN 1 END) OVER (), {{columns}}
      FROM {Download._meta.db_table} d
      {{scope}} AND {IS_ACTIVE}
     ORDER BY d.timestamp DESC, d.id DESC
    """.split()  # noqa: S608 (no input)
)


class Columns(NamedTuple):
    """The columns of a row that a list shows.

    Attributes:
        names: The attributes of a row.
        sql: The columns, of a table with the alias ``d``.
        conversions: How values of the database are converted, by the index of the column.
    """

    names: list[str]
    sql: str
    conversions: dict[int, tuple[Any, list[Any]]]


def read_list(owner: Owner, offset: int, end: int | None) -> tuple[list[Download], int, int]:
    """Return an owner's downloads, how many there are in all, and how many are in progress.

    They are those of ``visible_downloads(owner)``.

    Args:
        owner: The owner.
        offset: How many newer ones are left out.
        end: How many are read, with those; None for all.
    """
    # Django writes no LIMIT 0.
    if owner.user_id is None or end == offset:
        return [], 0, 0
    alias = database()
    connection = connections[alias]
    columns = columns_of(alias)
    now, now_parameters = database_now(connection)
    alive_since, since_parameters = database_now(connection, -settings.STALLED_AFTER)
    scope, collections = scope_of(owner, connection)
    statement = _LIST.format(now=now, alive_since=alive_since, columns=columns.sql, scope=scope)
    present = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"{statement} {connection.ops.limit_offset_sql(offset, end)}",
            [*now_parameters, *since_parameters, *collections, present],
        )
        rows = cursor.fetchall()
    if not rows:
        return [], 0, 0
    downloads: list[Any] = as_downloads([(row[0], *row[4:]) for row in rows], columns, connection)
    seen_at = moment_of(rows[0][1], connection)
    for download in downloads:
        download.seen_at = seen_at
    return downloads, rows[0][2], rows[0][3]


def scope_of(owner: Owner, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
    """Return the join of the downloads ``d`` that an owner sees, with its parameters.

    It joins as ``c`` the owner's own collection, which knows what they have seen.
    """
    keys = collection_ids(owner, connection)
    table = DownloadCollection._meta.db_table
    if not owner.teams:
        return f"JOIN {table} c ON c.id = d.collection_id WHERE c.id = %s", keys
    marks = ", ".join(["%s"] * len(keys))
    scope = f"LEFT JOIN {table} c ON c.id = %s WHERE d.collection_id IN ({marks})"
    return scope, [keys[0], *keys]


def collection_ids(owner: Owner, connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the keys of the collections that an owner sees, as the database takes them."""
    field = DownloadCollection._meta.pk
    return [field.get_db_prep_value(each.collection_id, connection) for each in owner.visible]


def database_now(connection: BaseDatabaseWrapper, seconds: float = 0) -> tuple[str, Sequence[Any]]:
    """Return the time on the clock of the database in SQL, with its parameters.

    Args:
        connection: The database.
        seconds: How many seconds from now.
    """
    moment = DatabaseNow(seconds)
    # As Django's compiler does, which takes ten times as long to make.
    as_sql = getattr(moment, f"as_{connection.vendor}", moment.as_sql)
    sql, parameters = as_sql(None, connection)
    return sql, parameters


def moment_of(value: Any, connection: BaseDatabaseWrapper) -> Any:
    """Return a moment as Django does, from the value that the database returns."""
    for convert in connection.ops.get_db_converters(_MOMENT):
        value = convert(value, _MOMENT, connection)
    return value


def as_downloads(
    rows: Sequence[Sequence[Any]], columns: Columns, connection: BaseDatabaseWrapper
) -> list[Download]:
    """Return downloads from the values that the database returns.

    Args:
        rows: Of each, the time on the clock of the database, and the columns.
        columns: The columns.
        connection: The database.
    """
    downloads = []
    for read_at, *values in rows:
        for index, (expression, converters) in columns.conversions.items():
            for convert in converters:
                values[index] = convert(values[index], expression, connection)
        download = Download.from_db(connection.alias, columns.names, values)
        download._read_at = moment_of(read_at, connection)
        downloads.append(download)
    return downloads


def columns_of(alias: str) -> Columns:
    """Return the columns of a row without those that are long."""
    return _columns_of(alias, project_settings.USE_TZ)


@cache
def _columns_of(alias: str, _use_tz: bool) -> Columns:
    # The conversions of Django depend on USE_TZ, which the tests of a site may override.
    connection = connections[alias]
    fields = [field for field in Download._meta.concrete_fields if field.name not in LONG_COLUMNS]
    conversions = {}
    for index, field in enumerate(fields):
        column = field.get_col(Download._meta.db_table)
        converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
        if converters:
            conversions[index] = (column, converters)
    sql = ", ".join(f"d.{connection.ops.quote_name(str(field.column))}" for field in fields)
    return Columns([field.attname for field in fields], sql, conversions)
