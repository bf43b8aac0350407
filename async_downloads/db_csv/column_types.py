"""How a selected expression is printed, if that is known for certain.

Everything here is an allowlist by exact class: a subclass may print anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from django.core.exceptions import FieldError
from django.db import models
from django.db.models import aggregates, expressions, functions
from django.db.models.expressions import Col, CombinedExpression, Value

__all__ = ["Column", "Kind", "column_of"]


class Kind(Enum):
    """How ``csv.writer`` prints the values of a column."""

    INTEGER = auto()
    BOOLEAN = auto()
    DECIMAL = auto()
    FLOAT = auto()
    TEXT = auto()
    BINARY = auto()
    DATE = auto()
    DATETIME = auto()
    TIME = auto()
    DURATION = auto()
    UUID = auto()
    ADDRESS = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file.

    Attributes:
        kind: How its values are printed.
        field: The model field, which has no conversion of its own.
        stored: Whether it is a column of a table, and not computed.
    """

    kind: Kind
    field: Any
    stored: bool


_FIELDS: Final[dict[type, Kind]] = {
    models.AutoField: Kind.INTEGER,
    models.BigAutoField: Kind.INTEGER,
    models.SmallAutoField: Kind.INTEGER,
    models.IntegerField: Kind.INTEGER,
    models.BigIntegerField: Kind.INTEGER,
    models.SmallIntegerField: Kind.INTEGER,
    models.PositiveIntegerField: Kind.INTEGER,
    models.PositiveBigIntegerField: Kind.INTEGER,
    models.PositiveSmallIntegerField: Kind.INTEGER,
    models.BooleanField: Kind.BOOLEAN,
    models.DecimalField: Kind.DECIMAL,
    models.FloatField: Kind.FLOAT,
    models.CharField: Kind.TEXT,
    models.TextField: Kind.TEXT,
    models.SlugField: Kind.TEXT,
    models.EmailField: Kind.TEXT,
    models.URLField: Kind.TEXT,
    models.FileField: Kind.TEXT,
    models.ImageField: Kind.TEXT,
    models.FilePathField: Kind.TEXT,
    models.BinaryField: Kind.BINARY,
    models.DateField: Kind.DATE,
    models.DateTimeField: Kind.DATETIME,
    models.TimeField: Kind.TIME,
    models.DurationField: Kind.DURATION,
    models.UUIDField: Kind.UUID,
    models.GenericIPAddressField: Kind.ADDRESS,
}

_RELATIONS: Final = (models.ForeignKey, models.OneToOneField)

_TEXT_FUNCTIONS: Final = {
    functions.Coalesce,
    functions.Concat,
    functions.ConcatPair,
    functions.Left,
    functions.Lower,
    functions.LTrim,
    functions.Replace,
    functions.Right,
    functions.RTrim,
    functions.Substr,
    functions.Trim,
    functions.Upper,
}

_EXTREMES: Final = {aggregates.Min, aggregates.Max}

#: Kinds that each database sorts, and so returns, as they are stored.
_WITH_EXTREMES: Final = {Kind.INTEGER, Kind.DECIMAL, Kind.TEXT, Kind.DATE, Kind.DATETIME}


def column_of(expression: Any) -> Column | None:
    """Return the column that an expression makes, or None if it is not known.

    Args:
        expression: Resolved, as a compiler selects it.
    """
    if type(expression) is Col:
        return _stored(expression)
    try:
        kind = _computed_kind(expression)
        field = expression.output_field
    except (AttributeError, FieldError, ValueError):
        return None
    if kind is None or _FIELDS.get(type(field)) is not kind:
        return None
    return Column(kind, field, stored=False)


def _stored(col: Any) -> Column | None:
    target, field = col.target, col.output_field
    if target != field and type(target) not in _RELATIONS:
        return None
    kind = _FIELDS.get(type(field))
    # A table that Django has not made may hold values that its fields do not describe.
    if kind is None or not target.model._meta.managed or not field.model._meta.managed:
        return None
    if any(hasattr(each, "from_db_value") for each in (target, field)):
        return None
    return Column(kind, field, stored=True)


def _computed_kind(expression: Any) -> Kind | None:
    kind = type(expression)
    if kind is Value:
        return {str: Kind.TEXT, int: Kind.INTEGER}.get(type(expression.value))
    if kind in {aggregates.Count, functions.Length}:
        return Kind.INTEGER
    if kind is aggregates.Sum or kind in _EXTREMES:
        return _aggregate_kind(expression)
    sources = expression.get_source_expressions()
    if kind in _TEXT_FUNCTIONS:
        return Kind.TEXT if _all(sources, {Kind.TEXT, Kind.INTEGER}) else None
    if kind is CombinedExpression and expression.connector in {"+", "-", "*"}:
        return Kind.INTEGER if _all(sources, {Kind.INTEGER}) else None
    if kind in {expressions.ExpressionWrapper, expressions.F}:
        column = column_of(sources[0]) if sources else None
        return column.kind if column and column.kind in {Kind.TEXT, Kind.INTEGER} else None
    return None


def _aggregate_kind(aggregate: Any) -> Kind | None:
    source = column_of(aggregate.get_source_expressions()[0])
    if source is None or not source.stored:
        return None
    allowed = {Kind.INTEGER, Kind.DECIMAL} if type(aggregate) is aggregates.Sum else _WITH_EXTREMES
    return source.kind if source.kind in allowed else None


def _all(sources: Iterable[Any], kinds: set[Kind]) -> bool:
    columns = [column_of(source) for source in sources]
    return all(column is not None and column.kind in kinds for column in columns)
