"""From a queryset of plain columns to a statement that makes their text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet
from django.db.models.expressions import Col, Ref
from django.db.models.query import NamedValuesListIterable, ValuesListIterable
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

from async_downloads.columns import mysql, postgresql, sqlite
from async_downloads.columns.base import Dialect
from async_downloads.columns.kinds import Column, column_of

__all__ = ["Text", "text_of"]

#: SQLite does not take expressions that are nested too deep, and joins the cells of a row in one.
MOST_COLUMNS: Final = 200

#: What a site's own queryset might make rows in.
_ITERATING: Final = ("iterator", "__iter__", "_iterator", "_fetch_all")


_DIALECTS: Final[dict[str, Callable[..., Dialect]]] = {
    "postgresql": postgresql.Dialect,
    "sqlite": sqlite.Dialect,
    "mysql": mysql.Dialect,
}


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a queryset's rows, before it is made.

    Attributes:
        dialect: Of the database.
        sql: The statement; none if the queryset is known to be empty.
        params: Of the statement.
    """

    dialect: Dialect
    sql: str
    params: tuple[Any, ...]

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write what ``csv.writer`` would write of the rows.

        Args:
            stream: Where the bytes go. It is left open.
            encoding: Any of Python's text encodings.
            beat: Called every few hundred rows with the number of rows so far. What it
                raises ends the writing, and leaves the connection fit for use.
                Queries are allowed in it, on whichever database.

        Returns:
            The number of rows.

        Raises:
            DownloadError: A cell holds a character that the encoding lacks; the
                message names the row, counted from 1.
        """
        if not self.sql:
            return 0
        return self.dialect.write(self.sql, self.params, stream, encoding, beat)


def text_of(queryset: object, *, escape_formulas: bool = False) -> Text | None:
    """Return the text of a ``values_list()`` queryset, if its database can make it.

    Args:
        queryset: Whatever there is to export.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            gets an apostrophe in front.

    Returns:
        Nothing unless each column is known to be printed by the database as
        ``csv.writer`` prints the value that Django makes of it.
    """
    if not isinstance(queryset, QuerySet) or not _is_plain(queryset):
        return None
    connection = connections[queryset.db]
    if connection.vendor not in _DIALECTS:
        return None
    connection.ensure_connection()
    compiler = queryset.query.chain().get_compiler(queryset.db)
    try:
        compiler.as_sql()
    except EmptyResultSet:
        return Text(_DIALECTS[connection.vendor](connection, [], escape_formulas), "", ())
    expressions = [selected[0] for selected in compiler.select[: compiler.col_count]]
    columns = [column for column in map(column_of, expressions) if column is not None]
    if len(columns) != len(expressions) or not 0 < len(columns) <= MOST_COLUMNS:
        return None
    converters = compiler.get_converters(expressions)
    steps = [converters.get(number, ((), None)) for number in range(len(columns))]
    dialect = _DIALECTS[connection.vendor](
        connection, list(zip(columns, steps, strict=True)), escape_formulas
    )
    if not dialect.suits():
        return None
    made = _in_place(queryset, columns, dialect) or _around(queryset, columns, dialect)
    return made and Text(dialect, *made)


def _is_plain(queryset: QuerySet[Any, Any]) -> bool:
    """Return whether its rows are made by Django, of what it selects and nothing else."""
    query = queryset.query
    own = type(queryset)
    return (
        queryset._iterable_class in {ValuesListIterable, NamedValuesListIterable}
        and type(query) is Query
        and all(getattr(own, name, None) is getattr(QuerySet, name) for name in _ITERATING)
        and not (query.combinator or query.extra or query.select_for_update)
        and not getattr(queryset, "_prefetch_related_lookups", ())
    )


class _InPlace(SQLCompiler):
    """Selects text where the query selects values. Mixed into a database's own compiler."""

    dialect: Dialect
    columns: list[Column]

    def pre_sql_setup(self, with_col_aliases: bool = False) -> Any:
        setup = super().pre_sql_setup(with_col_aliases=with_col_aliases)
        cells, params = [], []
        changed = False
        for number, (column, selected) in enumerate(zip(self.columns, self.select, strict=True)):
            _expression, (sql, sql_params), _alias = selected
            cell = self.dialect.cell(column, sql, number)
            if cell is None or (cell != sql and sql_params):
                raise _NoTextError
            changed = changed or cell != sql
            cells.append(cell)
            params += sql_params
        row = self.dialect.row(cells)
        if row == ", ".join(cells) and not changed:
            return setup
        setup = self._apart(setup)
        self.select = [(self.select[0][0], (row, params), None)]
        return setup

    def _apart(self, setup: Any) -> Any:
        """Return the rest of a statement, which no longer means what is selected.

        Raises:
            _NoTextError: It must.
        """
        extra_select, order_by, group_by = setup
        if extra_select or group_by or self.query.distinct or getattr(self, "qualify", None):
            raise _NoTextError
        # An order by a selected column is written as the place of that column.
        return extra_select, [self._in_full(order) for order in order_by], group_by

    def _in_full(self, order: Any) -> Any:
        resolved, (sql, params, is_ref) = order
        if not any(isinstance(part, Ref) for part in resolved.flatten()):
            return order
        (ref,) = resolved.get_source_expressions()
        sources = ref.get_source_expressions()
        if not isinstance(ref, Ref) or type(sources[0]) is not Col:
            raise _NoTextError
        full = resolved.copy()
        full.set_source_expressions(sources)
        sql, params = self.compile(full)
        return full, (sql, params, is_ref)


class _NoTextError(Exception):
    """There is no such statement."""


def _in_place(
    queryset: QuerySet[Any, Any], columns: list[Column], dialect: Dialect
) -> tuple[str, tuple[Any, ...]] | None:
    """Return the queryset's statement with text in place of its columns."""
    query = queryset.query.chain()
    own = type(query.get_compiler(queryset.db))
    kind = type("InPlace", (_InPlace, own), {"dialect": dialect, "columns": columns})
    try:
        sql, params = kind(query, connections[queryset.db], queryset.db).as_sql()
    except _NoTextError:
        return None
    return sql, tuple(params)


def _around(
    queryset: QuerySet[Any, Any], columns: list[Column], dialect: Dialect
) -> tuple[str, tuple[Any, ...]] | None:
    """Return a statement that makes text of what the queryset's statement selects."""
    compiler = queryset.query.chain().get_compiler(queryset.db)
    sql, params = compiler.as_sql(with_col_aliases=True)
    if not dialect.keeps_order and compiler.get_order_by():
        return None
    quote = connections[queryset.db].ops.quote_name
    cells = []
    for number, (column, selected) in enumerate(zip(columns, compiler.select, strict=True)):
        cell = dialect.cell(column, f"{quote('selected')}.{quote(selected[2])}", number)
        if cell is None:
            return None
        cells.append(cell)
    return f"SELECT {dialect.row(cells)} FROM ({sql}) {quote('selected')}", tuple(params)  # noqa: S608
