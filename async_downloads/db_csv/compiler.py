"""From a queryset to the statement that Django runs for its rows, and to their text."""

from collections.abc import Callable
from copy import copy
from typing import IO, Any, Final

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
from async_downloads.db_csv.dialect import Statement, Text

__all__ = ["text_of"]

#: What makes rows of cells, in the order in which they are selected.
_ITERABLES: Final = {ValuesListIterable, NamedValuesListIterable, FlatValuesListIterable}

#: What a site's own queryset might make rows in.
_ITERATING: Final = ("iterator", "__iter__", "_iterator", "_fetch_all")

_MAKERS: Final[dict[str, Callable[[Statement, bool], Text | None]]] = {
    "postgresql": postgresql.text_of,
    "sqlite": sqlite.text_of,
    "mysql": mysql.text_of,
}


def text_of(queryset: object, *, escape_formulas: bool = False) -> Text | None:
    """Return the text of a ``values_list()`` queryset, if its database can make it.

    The statement is the one that Django would run, and is not changed: at most it
    becomes the inner part of another. The kinds of its columns are the database's own.

    Args:
        queryset: Whatever there is to export.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            gets an apostrophe in front.

    Returns:
        Nothing unless the bytes are known to be those of the row path, cell by cell.
    """
    if not isinstance(queryset, QuerySet) or not _is_plain(queryset):
        return None
    connection = connections[queryset.db]
    if connection.vendor not in _MAKERS:
        return None
    connection.ensure_connection()
    # Some are changed when they are compiled, and would select more the next time.
    query = queryset.query.clone()
    # A clone shares it.
    query.selected = copy(query.selected)
    compiler = query.get_compiler(queryset.db)
    try:
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        return _Nothing()
    expressions = [selected[0] for selected in compiler.select[: compiler.col_count]]
    if not expressions or compiler.has_composite_fields(expressions):
        return None
    if queryset._iterable_class is FlatValuesListIterable and len(expressions) > 1:
        # Of what was annotated afterwards, Django selects it all and gives the first.
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
    )
    return _MAKERS[connection.vendor](statement, escape_formulas)


def _is_plain(queryset: QuerySet[Any, Any]) -> bool:
    """Return whether its rows are made by Django, of what it selects and nothing else."""
    query = queryset.query
    own = type(queryset)
    return (
        queryset._iterable_class in _ITERABLES
        and type(query) is Query
        and all(getattr(own, name, None) is getattr(QuerySet, name) for name in _ITERATING)
        and not query.select_for_update
        and not getattr(queryset, "_prefetch_related_lookups", ())
    )


class _Nothing:
    """The text of a queryset that Django knows to be empty without a look at the database."""

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write no row."""
        return 0
