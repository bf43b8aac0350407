"""From a queryset to the statement that Django runs for its rows."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet
from django.db.models.query import (
    FlatValuesListIterable,
    NamedValuesListIterable,
    ValuesListIterable,
)
from django.db.models.sql import Query

from async_downloads.db_csv import mysql, postgresql, sqlite
from async_downloads.db_csv.dialect import Labels, Statement, WriteRows
from async_downloads.db_csv.selection import compiler_of

__all__ = ["writer_for"]

#: These make rows of cells, in the order in which the cells are selected.
_ITERABLES: Final = {ValuesListIterable, NamedValuesListIterable, FlatValuesListIterable}

#: A site's own queryset might override these to change its rows.
_ITERATING: Final = ("iterator", "__iter__", "_iterator", "_fetch_all")

_DIALECTS: Final[dict[str, Callable[[Statement, bool], WriteRows | None]]] = {
    "postgresql": postgresql.writer_for,
    "sqlite": sqlite.writer_for,
    "mysql": mysql.writer_for,
}


def writer_for(
    queryset: object, *, escape_formulas: bool = False, labels: Sequence[Labels | None] = ()
) -> WriteRows | None:
    """Return a function that writes a ``values_list()`` queryset, if its database can make the CSV.

    The statement is the one that Django would run, and is not changed: at most it
    becomes a subquery. The database itself names the types of its columns.

    Args:
        queryset: Any object. None is returned for all but a ``values_list()`` queryset.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            gets an apostrophe in front.
        labels: The labels of each column's values, by value; None for a column without any.

    Returns:
        None unless the bytes are known to be those of the row path, cell by cell.
    """
    if not isinstance(queryset, QuerySet) or not _is_plain(queryset):
        return None
    connection = connections[queryset.db]
    if connection.vendor not in _DIALECTS:
        return None
    connection.ensure_connection()
    compiler = compiler_of(queryset)
    try:
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        return lambda stream, encoding, report: 0
    expressions = [selected[0] for selected in compiler.select[: compiler.col_count]]
    if not expressions or compiler.has_composite_fields(expressions):
        return None
    if queryset._iterable_class is FlatValuesListIterable and len(expressions) > 1:
        # With a later annotation, Django selects all columns and returns the first.
        return None
    converters = compiler.get_converters(expressions)
    cells = [
        (expression, converters[number][0] if number in converters else ())
        for number, expression in enumerate(expressions)
    ]
    statement = Statement(
        connection,
        sql,
        tuple(params),
        cells,
        sorts_by_more=compiler.has_extra_select,
        is_combined=bool(queryset.query.combinator),
        labels=labels or [None] * len(cells),
    )
    return _DIALECTS[connection.vendor](statement, escape_formulas)


def _is_plain(queryset: QuerySet[Any, Any]) -> bool:
    """Return whether Django makes the rows, of nothing but what it selects."""
    query = queryset.query
    own = type(queryset)
    return (
        queryset._iterable_class in _ITERABLES
        and type(query) is Query
        and all(getattr(own, name, None) is getattr(QuerySet, name) for name in _ITERATING)
        and not query.select_for_update
        and not getattr(queryset, "_prefetch_related_lookups", ())
    )
