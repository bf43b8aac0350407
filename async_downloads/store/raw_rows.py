"""Read downloads by statements of SQL, with the values that Django reads.

Polls read the same rows again and again, and building a query takes Django ten times as long as
the database takes to answer.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
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
    "columns_of",
    "execute",
    "moment_of",
    "read_list",
]

#: The states of unfinished downloads, for a statement.
UNFINISHED_STATES: Final = ", ".join(f"'{state.value}'" for state in UNFINISHED)

#: Whether a download is in progress, and whether it has not expired, for a statement.
IS_IN_PROGRESS: Final = f"d.state IN ({UNFINISHED_STATES}) AND d.heard_at >= {{alive_since}}"
IS_ACTIVE: Final = (
    "(d.expires_at > %(present)s OR d.expires_at IS NULL OR d.held"
    f" OR d.state IN ({UNFINISHED_STATES}))"
)

#: An expression of the type of a moment.
_MOMENT: Final = DatabaseNow()

#: The downloads that an owner sees, alone or with teams, beside their own collection ``c``, which
#: knows what they have seen.
_COLLECTION: Final = DownloadCollection._meta.db_table
_SCOPE: Final = f"JOIN {_COLLECTION} c ON c.id = d.collection_id WHERE c.id = {{keys}}"
_TEAM_SCOPE: Final = (
    f"LEFT JOIN {_COLLECTION} c ON c.id = %(key0)s WHERE d.collection_id IN ({{keys}})"
)

#: The downloads of an owner that have not expired, newest first: the time, when the owner last saw
#: them, and all columns that a list shows.
_LIST: Final = " ".join(
    f"""
    SELECT {{now}} AS read_at, c.seen_at, {{columns}}
      FROM {Download._meta.db_table} d
      {{scope}} AND {IS_ACTIVE}
     ORDER BY d.timestamp DESC, d.id DESC
    """.split()  # noqa: S608 (no input)
)

#: The same, with how many there are and how many are in progress, for a list that does not show all
#: of them. Window functions would make SQLite read all columns of all.
_PART: Final = _LIST.replace(
    "c.seen_at,",
    " ".join(
        f"""
        c.seen_at,
        (SELECT COUNT(*) FROM {Download._meta.db_table} d
          WHERE d.collection_id IN ({{keys}}) AND {IS_ACTIVE}),
        (SELECT COUNT(*) FROM {Download._meta.db_table} d
          WHERE d.collection_id IN ({{keys}}) AND {IS_IN_PROGRESS}),
        """.split()  # noqa: S608 (no input)
    ),
)


class Columns(NamedTuple):
    """The columns of a row that a list shows.

    Attributes:
        names: The attributes of a row.
        sql: The columns, of a table with the alias ``d``.
        conversions: How values of the database are converted, by the index of the column.
        of_moments: The same for any moment.
    """

    names: frozenset[str]
    sql: str
    conversions: dict[int, tuple[Any, list[Any]]]
    of_moments: list[Any]


def read_list(
    owner: Owner, offset: int, end: int | None, *, fits: bool = False
) -> tuple[list[Download], int, int]:
    """Return an owner's downloads, how many there are, and how many others are in progress.

    They are those of ``visible_downloads(owner)``.

    Args:
        owner: The owner.
        offset: How many newer ones are left out.
        end: How many are read, with those; None for all.
        fits: Whether these are all that there are, as far as the caller knows. Then they are
            counted only if it is not so.
    """
    # Django writes no LIMIT 0.
    if owner.user_id is None or end == offset:
        return [], 0, 0
    if not offset and (fits or end is None):
        # One more, if it is there, means that there are others.
        downloads, _ = _read(owner, _LIST, 0, end and end + 1)
        if end is None or len(downloads) <= end:
            return downloads, len(downloads), 0
    downloads, counts = _read(owner, _PART, offset, end)
    total, running = counts or (0, 0)
    others = total - len(downloads)
    return downloads, total, others and running - sum(row.in_progress for row in downloads)


def _read(
    owner: Owner, statement: str, offset: int, end: int | None
) -> tuple[list[Download], Sequence[int]]:
    """Return the downloads of a statement, and its counts if it has them and there is a row."""
    alias = database()
    connection = connections[alias]
    limit = connection.ops.limit_offset_sql(offset, end)
    rows = execute(owner, f"{statement} {limit}", connection)
    if not rows:
        return [], ()
    columns = columns_of(alias)
    first = len(rows[0]) - len(columns.names)
    values = [(row[0], *row[first:]) for row in rows]
    downloads: list[Any] = as_downloads(values, columns, connection)
    seen_at = moment_of(rows[0][1], connection)
    for download in downloads:
        download.seen_at = seen_at
    return downloads, rows[0][2:first]


def execute(owner: Owner, statement: str, connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the rows of a statement about the downloads ``d`` that an owner sees.

    Args:
        owner: The owner.
        statement: It has the places ``{scope}`` and maybe ``{keys}`` for the collections, and if
            it has ``{now}``, maybe ``{alive_since}`` and ``{columns}`` as well.
        connection: The database.
    """
    convert = DownloadCollection._meta.pk.get_db_prep_value
    # Django takes long to find the places of parameters without a name in a text for SQLite.
    parameters = {
        f"key{number}": convert(each.collection_id, connection)
        for number, each in enumerate(owner.visible)
    }
    keys = ", ".join(f"%({name})s" for name in parameters)
    moments = []
    if "{now}" in statement:
        for name, seconds in (("now", 0), ("alive_since", -settings.STALLED_AFTER)):
            sql, values = database_now(connection, seconds)
            moments.append((name, sql.replace("%s", f"%({name})s")))
            # The clock of the database needs no parameter.
            if values:
                (parameters[name],) = values
    text = _written(statement, keys, bool(owner.teams), columns_of(connection.alias).sql, *moments)
    parameters["present"] = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        rows: list[Any] = cursor.fetchall()
    return rows


@lru_cache(maxsize=100)
def _written(
    statement: str, keys: str, with_teams: bool, columns: str, *moments: tuple[str, str]
) -> str:
    """Return a statement with all of its parts: most are the same from one to the next."""
    scope = (_TEAM_SCOPE if with_teams else _SCOPE).format(keys=keys)
    return statement.format(scope=scope, keys=keys, columns=columns, **dict(moments))


def database_now(connection: BaseDatabaseWrapper, seconds: float) -> tuple[str, Sequence[Any]]:
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
    for convert in columns_of(connection.alias).of_moments:
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
    names = frozenset(field.attname for field in fields)
    return Columns(names, sql, conversions, connection.ops.get_db_converters(_MOMENT))
