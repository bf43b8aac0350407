"""The columns of a ``values()`` or ``values_list()`` queryset: headings, labels and fields."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import DecimalField, JSONField, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col
from django.db.models.query import (
    FlatValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.utils.hashable import make_hashable
from django.utils.text import capfirst

from async_downloads import db_csv
from async_downloads.formats import Column

__all__ = ["VERBOSE", "SelectedColumns", "verbose_name_of"]

#: The header that stands for the verbose names of the columns.
VERBOSE: Final = "verbose"

_ITERABLES: Final = (ValuesIterable, ValuesListIterable, FlatValuesListIterable)


@dataclass(frozen=True, slots=True)
class SelectedColumns:
    """What a queryset selects for the cells of its rows.

    Attributes:
        queryset: A ``values()`` or ``values_list()`` queryset.
    """

    queryset: "QuerySet[Any, Any]"

    @classmethod
    def of(cls, rows: object) -> "SelectedColumns | None":
        """Return the columns of rows; None if no queryset selects them."""
        if isinstance(rows, QuerySet) and issubclass(rows._iterable_class, _ITERABLES):
            return cls(rows)
        return None

    @property
    def names(self) -> list[str]:
        """The names by which the queryset selects them."""
        query = self.queryset.query
        names: list[str] = list(query.selected or ()) or [
            *query.extra_select,
            *query.values_select,
            *query.annotation_select,
        ]
        flat = issubclass(self.queryset._iterable_class, FlatValuesListIterable)
        # With a later annotation, Django selects all columns and returns the first.
        return names[:1] if flat else names

    @property
    def headings(self) -> list[str]:
        """The verbose names in the active language; of relations, one after the other."""
        query = self.queryset.query
        return [
            str(capfirst(_words(name)))
            if name in query.annotations
            else verbose_name_of(self.queryset.model, name)
            for name in self.names
        ]

    @property
    def labels(self) -> list[dict[Any, str] | None]:
        """The labels of choices in the active language, by value; None for other columns."""
        labels: list[dict[Any, str] | None] = []
        for expression in self._expressions:
            field = expression.output_field if type(expression) is Col else None
            choices = getattr(field, "flatchoices", None)
            labels.append({make_hashable(key): str(text) for key, text in choices or ()} or None)
        return labels

    def columns(self, *, labelled: bool = False) -> list[Column]:
        """Return the columns, with fields where all values are certain to be those of the field.

        Args:
            labelled: Whether labels take the place of choices.
        """
        return [
            Column(name, None if labelled and labels else _field(expression))
            for name, expression, labels in zip(
                self.names, self._expressions, self.labels, strict=True
            )
        ]

    def labelled(
        self, rows: Iterable[Any], labels: Sequence[Mapping[Any, str] | None]
    ) -> Iterable[Any]:
        """Return rows in which labels take the place of values."""
        chosen = {
            (name if self._are_mappings else number): text_of
            for number, (name, text_of) in enumerate(zip(self.names, labels, strict=True))
            if text_of is not None
        }
        return _labelled(rows, chosen, dict if self._are_mappings else list) if chosen else rows

    @property
    def _are_mappings(self) -> bool:
        return issubclass(self.queryset._iterable_class, ValuesIterable)

    @property
    def _expressions(self) -> list[Any]:
        expressions = db_csv.expressions_of(self.queryset)
        if self.queryset.query.combinator:
            # The rows of the other querysets may be of other fields.
            return [None] * len(self.names)
        return expressions[: len(self.names)]


def verbose_name_of(model: Any, name: str) -> str:
    """Return the verbose name of a column in the active language; of relations, one by one.

    Args:
        model: The model of the queryset.
        name: A field, or a path such as ``customer__name``.
    """
    opts: Any = model._meta
    words = []
    parts = name.split(LOOKUP_SEP)
    while parts and opts is not None:
        try:
            field = opts.pk if parts[0] == "pk" else opts.get_field(parts[0])
        except FieldDoesNotExist:
            break
        related = field.related_model
        opts = related._meta if related else None
        # A reverse relation has no name of its own.
        words.append(str(getattr(field, "verbose_name", None) or opts.verbose_name))
        del parts[0]
    rest = parts if words else [name]
    words += [_words(part) for part in rest]
    return str(capfirst(" ".join(words)))


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _field(expression: Any) -> Any:
    """Return the field of an expression's values; None if that is not certain."""
    if type(expression) is Col and type(expression.output_field) is JSONField:
        return expression.output_field
    column = None if expression is None else db_csv.column_of(expression)
    if column is None or (isinstance(column.field, DecimalField) and not column.stored):
        # A sum can have more digits than its field.
        return None
    return column.field


def _labelled(
    rows: Iterable[Any],
    labels: Mapping[Any, Mapping[Any, str]],
    copy_of: Callable[[Any], Any],
) -> Iterator[Any]:
    for row in rows:
        cells = copy_of(row)
        for place, text_of in labels.items():
            cells[place] = db_csv.label_of(text_of, cells[place])
        yield cells
