"""The columns of a changelist as cells of a file, readable for people and machines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from numbers import Number
from typing import Any, Final, NamedTuple

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import display_for_field, label_for_field, lookup_field
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet
from django.utils import timezone
from django.utils.hashable import make_hashable
from django.utils.safestring import SafeData
from django.utils.text import capfirst

from async_downloads.formats import Column

__all__ = ["Columns", "text_of"]

#: Returns a column's value for a row.
Cell = Callable[[Any], Any]

#: Types of values that are not converted.
PLAIN: Final = frozenset({bool, date, Decimal, float, int, time, timedelta})

#: Values that each format writes with their type.
TYPED: Final = (Number, date, time, timedelta)

#: Values for which each format has a rule of its own.
STRUCTURES: Final = (Mapping, Set, bytes, bytearray, memoryview)

#: Collections of values, which the page shows on one line.
SEVERAL: Final = (list, tuple, Iterator, models.QuerySet, RawQuerySet)

#: Elements that begin a new line.
LINES: Final = frozenset({"br", "dd", "div", "dt", "li", "ol", "p", "td", "th", "tr", "ul"})


class Relation(NamedTuple):
    """A part of a column's name that names a relation.

    Attributes:
        field: The relation's field.
        accessor: The attribute with the related object, or with their manager.
    """

    field: Any
    accessor: str

    @property
    def many(self) -> bool:
        """Whether it can have several related objects."""
        return bool(self.field.one_to_many or self.field.many_to_many)


class Columns:
    """Cells of rows by the ``list_display`` of a ModelAdmin.

    Columns of the model keep their type: numbers, dates and booleans are not
    formatted, and times are in the time zone of the page. A choice becomes its
    label, a related object its text, and several related objects (many-to-many
    or reverse relations) their texts with commas between. The result of a callable,
    method or property keeps its type, or becomes the text of the page without markup.

    Attributes:
        names: The names of the columns, without that of the checkbox.
    """

    def __init__(self, model_admin: Any, names: Iterable[Any]):
        """Prepare the columns once for all rows."""
        self._admin = model_admin
        self._opts = model_admin.opts
        self._empty = _chosen(model_admin.get_empty_value_display())
        self.names = [name for name in names if name != "action_checkbox"]
        self._cells = [self._cell(name) for name in self.names]

    @property
    def described(self) -> list[Column]:
        """The columns with their fields, where the values of the field are the cells."""
        return [Column(str(name), self._plain_field(name)) for name in self.names]

    @property
    def header(self) -> list[str]:
        """The headings of the changelist."""
        labels: list[Any] = [
            label_for_field(name, self._admin.model, self._admin) for name in self.names
        ]
        # A browser collapses spaces as well.
        return [capfirst(" ".join(text_of(label).split())) for label in labels]

    def row(self, instance: Any) -> list[Any]:
        """Return the cells of a row."""
        return [cell(instance) for cell in self._cells]

    def with_relations(self, queryset: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        """Prefetch the related objects of the columns with each chunk of rows.

        Objects that a join already selects are not fetched again.
        """
        spanned = [self._spanned(name)[0] for name in self.names]
        paths = {LOOKUP_SEP.join(each.accessor for each in relations) for relations in spanned}
        paths.discard("")
        return queryset.prefetch_related(*sorted(paths)) if paths else queryset

    def reached(self, name: Any) -> list[Any]:
        """Return the models of the relations that a column spans; None for one to any model."""
        return [relation.field.related_model for relation in self._spanned(name)[0]]

    def _spanned(self, name: Any) -> tuple[list[Relation], list[str]]:
        """Return the relations at the beginning of a column's name, and the rest of its parts."""
        if callable(name) or self._is_method(name):
            return [], []
        relations: list[Relation] = []
        opts, parts = self._opts, name.split(LOOKUP_SEP)
        while parts and opts is not None and (relation := _relation(opts, parts[0])):
            relations.append(relation)
            # A related object of any model has no known fields.
            related = relation.field.related_model
            opts = related._meta if related else None
            del parts[0]
        return relations, parts

    def _is_method(self, name: str) -> bool:
        """Return whether a name is an attribute of the admin.

        Django looks for a field of the model first, and for a path last.
        """
        try:
            field: Any = self._opts.get_field(name)
        except FieldDoesNotExist:
            return hasattr(self._admin, name)
        # Django does not count these as fields: "customer_id", reverse and generic relations.
        generic = field.many_to_one and field.related_model is None
        is_field = field.name == name and not field.one_to_many and not generic
        return not is_field and hasattr(self._admin, name)

    def _cell(self, name: Any) -> Cell:
        field = self._field(name)
        if field is None:
            relations, rest = self._spanned(name)
            if any(relation.many for relation in relations):
                path = [*(relation.accessor for relation in relations), *rest]
                return lambda instance: self._joined(path, instance)
            return lambda instance: self._looked_up(name, instance)
        if field.remote_field is not None:
            return lambda instance: self._related(field.name, instance)
        if getattr(field, "flatchoices", None):
            labels = {make_hashable(key): label for key, label in field.flatchoices}
            return lambda instance: self._choice(labels, getattr(instance, field.name))
        if isinstance(field, models.JSONField):
            return lambda instance: self._json(field, getattr(instance, field.name))
        return lambda instance: self._shown(getattr(instance, field.name), self._empty)

    def _field(self, name: Any) -> Any:
        """Return the model's field of this name; None if it is not a column."""
        try:
            field = self._opts.get_field(name) if isinstance(name, str) else None
        except FieldDoesNotExist:
            return None
        is_column = isinstance(field, models.Field) and field.concrete and field.name == name
        return field if is_column else None

    def _plain_field(self, name: Any) -> Any:
        """Return the field whose values are the cells of a column; None if they are others."""
        field = self._field(name)
        if field is None or field.remote_field or field.choices or self._empty:
            return None
        # A field of another package may have values of its own.
        is_own = type(field).__module__.startswith("django.db.models.fields")
        return field if is_own and not isinstance(field, models.JSONField) else None

    def _related(self, name: str, instance: Any) -> Any:
        try:
            return self._shown(getattr(instance, name), self._empty)
        except ObjectDoesNotExist:
            # The related row is missing, without a constraint in the database.
            return self._empty or None

    def _joined(self, path: list[str], instance: Any) -> Any:
        """Return the texts of all values at the end of a path with several objects."""
        values = [instance]
        for attribute in path:
            values = [each for value in values for each in _reached(value, attribute)]
        return self._shown([self._shown(value, "") or "" for value in values], self._empty)

    def _looked_up(self, name: Any, instance: Any) -> Any:
        """Return the value of a column that is not a field of the model."""
        try:
            _, attr, value = lookup_field(name, instance, self._admin)
        except ObjectDoesNotExist:
            return self._empty or None
        attr = attr.fget if isinstance(attr, property) else attr
        empty = getattr(attr, "empty_value_display", self._empty)
        if getattr(attr, "boolean", False):
            return None if value is None else bool(value)
        return self._shown(value, empty)

    def _choice(self, labels: dict[Any, Any], value: Any) -> Any:
        # The page shows nothing for a removed choice; the file keeps its value.
        return self._shown(labels.get(make_hashable(value), value), self._empty)

    def _json(self, field: Any, value: Any) -> Any:
        return self._shown(display_for_field(value, field, self._empty), self._empty)

    def _shown(self, value: Any, empty: Any) -> Any:
        """Return the cell for a value; None for nothing, unless the site has a text for that."""
        # Most values are of these types, and the checks below take several times as long.
        if type(value) in PLAIN:
            return value
        if type(value) is str:
            return value if value.strip() else str(empty)
        if isinstance(value, datetime):
            return timezone.localtime(value) if timezone.is_aware(value) else value
        # Both drivers of PostgreSQL have range types with this attribute.
        if isinstance(value, (*TYPED, *STRUCTURES)) or hasattr(value, "lower_inc"):
            return value
        if isinstance(value, BaseManager):
            value = _in_order(value)
        if isinstance(value, SEVERAL):
            value = ", ".join(text_of(each) for each in value)
        if value is None:
            return str(empty) or None
        text = text_of(value)
        return text if text.strip() else str(empty)


def _relation(opts: Any, name: str) -> Relation | None:
    """Return the relation of a model by its name; None if there is none.

    A reverse relation has two names: of its attribute and for queries.
    """
    for relation in opts.related_objects:
        if name in (relation.name, relation.get_accessor_name()):
            return Relation(relation, relation.get_accessor_name())
    try:
        field = opts.get_field(name)
    except FieldDoesNotExist:
        return None
    # "customer_id" is a column of the row.
    return Relation(field, name) if field.is_relation and field.name == name else None


def _reached(value: Any, attribute: str) -> Iterable[Any]:
    """Return the values of an attribute: related objects, one value, or none."""
    try:
        reached = getattr(value, attribute)
    except ObjectDoesNotExist:
        return []
    if isinstance(reached, BaseManager):
        return _in_order(reached)
    return [] if reached is None else [reached]


def _in_order(manager: Any) -> Iterable[Any]:
    """Return the objects of a manager in their ordering, or else by primary key."""
    rows = manager.all()
    # A queryset that is prefetched would be fetched again by order_by().
    return rows if rows.ordered else sorted(rows, key=lambda each: each.pk)


def _chosen(empty: Any) -> str:
    """Return the site's text for an empty value, but not Django's default dash."""
    return "" if empty == AdminSite.empty_value_display else str(empty)


def text_of(value: Any) -> str:
    """Return a value as text; of safe markup, the text that a person reads."""
    if not isinstance(value, SafeData):
        return str(value)
    reader = _Reader()
    reader.feed(str(value))
    reader.close()
    return " ".join("".join(reader.texts).split())


class _Reader(HTMLParser):
    """Collects the text of markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add the alternative text of a picture, or a space between lines."""
        if tag == "img":
            self.texts.append(dict(attrs).get("alt") or "")
        elif tag in LINES:
            self.texts.append(" ")
