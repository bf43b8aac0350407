"""The expressions that a queryset selects for the cells of its rows."""

from copy import copy
from typing import Any

from django.db.models import QuerySet

__all__ = ["compiler_of", "expressions_of"]


def compiler_of(queryset: "QuerySet[Any, Any]") -> Any:
    """Return a compiler of the queryset's statement, which does not change the queryset."""
    # Compiling changes some queries, which would select more the next time.
    query = queryset.query.clone()
    # A clone shares this list with the original.
    query.selected = copy(query.selected)
    return query.get_compiler(queryset.db)


def expressions_of(queryset: "QuerySet[Any, Any]") -> list[Any]:
    """Return the resolved expression of each cell, without a query."""
    compiler = compiler_of(queryset)
    compiler.setup_query()
    return [selected[0] for selected in compiler.select[: compiler.col_count]]
