"""The columns of a changelist as cells of a file: what a person sees, machine-readable."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import date, datetime, time, timedelta
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

__all__ = ["Columns", "text_of"]

#: Makes the cell of a row.
Cell = Callable[[Any], Any]

#: Values that a format writes so that a machine can read them.
TYPED: Final = (Number, date, time, timedelta)

#: Values that are no text on a page either, and that each format has a rule for.
STRUCTURES: Final = (Mapping, Set, bytes, bytearray, memoryview)

#: Values that are several, which a page shows on one line.
SEVERAL: Final = (list, tuple, Iterator, models.QuerySet, RawQuerySet)

#: Elements that begin a new line on a page.
LINES: Final = frozenset({"br", "dd", "div", "dt", "li", "ol", "p", "td", "th", "tr", "ul"})


class Relation(NamedTuple):
    """A part of a column's name that leads to other objects.

    Attributes:
        field: The relation.
        accessor: The attribute that has the object, or the manager of the objects.
    """

    field: Any
    accessor: str

    @property
    def many(self) -> bool:
        """Whether it leads to any number of objects."""
        return bool(self.field.one_to_many or self.field.many_to_many)


class Columns:
    """What ``list_display`` of a ModelAdmin makes of a row.

    Columns of the model itself keep their type: numbers, dates and booleans are
    printed as Python prints them, times in the time zone of the page. A choice
    is printed by its label, a related object as text, several of them (of a
    many-to-many relation, or one that leads back) as their texts with commas
    between. Whatever a callable, a method or a property returns is printed as the
    page shows it, without markup, and typed as well if it has a type.
    """

    def __init__(self, model_admin: Any, names: Iterable[Any]):
        """Look at the columns, once for all rows.

        Args:
            model_admin: The ModelAdmin.
            names: As in ``list_display``.
        """
        self._admin = model_admin
        self._opts = model_admin.opts
        self._empty = _chosen(model_admin.get_empty_value_display())
        self._names = [name for name in names if name != "action_checkbox"]
        self._cells = [self._cell(name) for name in self._names]

    @property
    def header(self) -> list[str]:
        """The headings of the page."""
        labels: list[Any] = [
            label_for_field(name, self._admin.model, self._admin) for name in self._names
        ]
        # A browser shows one space where there are several.
        return [capfirst(" ".join(text_of(label).split())) for label in labels]

    def row(self, instance: Any) -> list[Any]:
        """Return the cells of a row."""
        return [cell(instance) for cell in self._cells]

    def with_relations(self, queryset: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        """Have the related objects that columns are taken from fetched with each chunk of rows.

        What a join has already brought is not fetched again.
        """
        spanned = [self._spanned(name)[0] for name in self._names]
        paths = {LOOKUP_SEP.join(each.accessor for each in relations) for relations in spanned}
        paths.discard("")
        return queryset.prefetch_related(*sorted(paths)) if paths else queryset

    def _spanned(self, name: Any) -> tuple[list[Relation], list[str]]:
        """Return the relations that a column's name begins with, and what is left of the name."""
        if callable(name) or self._is_method(name):
            return [], []
        relations: list[Relation] = []
        opts, parts = self._opts, name.split(LOOKUP_SEP)
        while parts and opts is not None and (relation := _relation(opts, parts[0])):
            relations.append(relation)
            # Where the related object can be of any model, no further part is known.
            related = relation.field.related_model
            opts = related._meta if related else None
            del parts[0]
        return relations, parts

    def _is_method(self, name: str) -> bool:
        """Return whether a name is the admin's: after a field of the model, and before a path."""
        try:
            field: Any = self._opts.get_field(name)
        except FieldDoesNotExist:
            return hasattr(self._admin, name)
        # What Django does not count as a field: "customer_id", and what leads back, or anywhere.
        anywhere = field.many_to_one and field.related_model is None
        is_field = field.name == name and not field.one_to_many and not anywhere
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
        """Return the column of the model that is meant; None if it is anything else."""
        try:
            field = self._opts.get_field(name) if isinstance(name, str) else None
        except FieldDoesNotExist:
            return None
        is_column = isinstance(field, models.Field) and field.concrete and field.name == name
        return field if is_column else None

    def _related(self, name: str, instance: Any) -> Any:
        try:
            return self._shown(getattr(instance, name), self._empty)
        except ObjectDoesNotExist:
            # The key of a row that has gone, where the database does not mind.
            return self._empty

    def _joined(self, path: list[str], instance: Any) -> Any:
        """Return what there is at the end of a path that leads to several objects."""
        values = [instance]
        for attribute in path:
            values = [each for value in values for each in _reached(value, attribute)]
        return self._shown([self._shown(value, "") for value in values], self._empty)

    def _looked_up(self, name: Any, instance: Any) -> Any:
        """Return what the page would show of anything but a column of the model."""
        try:
            _, attr, value = lookup_field(name, instance, self._admin)
        except ObjectDoesNotExist:
            return self._empty
        attr = attr.fget if isinstance(attr, property) else attr
        empty = getattr(attr, "empty_value_display", self._empty)
        if getattr(attr, "boolean", False):
            return "" if value is None else bool(value)
        return self._shown(value, empty)

    def _choice(self, labels: dict[Any, Any], value: Any) -> Any:
        # What the page shows as nothing, because the choice is gone, is not lost from a file.
        return self._shown(labels.get(make_hashable(value), value), self._empty)

    def _json(self, field: Any, value: Any) -> Any:
        return self._shown(display_for_field(value, field, self._empty), self._empty)

    def _shown(self, value: Any, empty: Any) -> Any:
        """Return a value as a cell."""
        if isinstance(value, datetime):
            return timezone.localtime(value) if timezone.is_aware(value) else value
        # The ranges of PostgreSQL are of either of two packages.
        if isinstance(value, (*TYPED, *STRUCTURES)) or hasattr(value, "lower_inc"):
            return value
        if isinstance(value, BaseManager):
            value = _in_order(value)
        if isinstance(value, SEVERAL):
            value = ", ".join(text_of(each) for each in value)
        text = "" if value is None else text_of(value)
        return text if text.strip() else str(empty)


def _relation(opts: Any, name: str) -> Relation | None:
    """Return the relation of a model by this name; None if there is none.

    What leads back goes by two names: that of its attribute, and that of queries.
    """
    for relation in opts.related_objects:
        if name in (relation.name, relation.get_accessor_name()):
            return Relation(relation, relation.get_accessor_name())
    try:
        field = opts.get_field(name)
    except FieldDoesNotExist:
        return None
    # "customer_id" is a column of the row itself.
    return Relation(field, name) if field.is_relation and field.name == name else None


def _reached(value: Any, attribute: str) -> Iterable[Any]:
    """Return the objects, or the value, that an attribute of an object leads to."""
    try:
        found = getattr(value, attribute)
    except ObjectDoesNotExist:
        return []
    if isinstance(found, BaseManager):
        return _in_order(found)
    return [] if found is None else [found]


def _in_order(manager: Any) -> Iterable[Any]:
    """Return the objects of a manager, in their own order or by their keys."""
    rows = manager.all()
    # What was fetched along with other rows is not fetched again.
    return rows if rows.ordered else sorted(rows, key=lambda each: each.pk)


def _chosen(empty: Any) -> str:
    """Return what stands for nothing: what the site has chosen, but not Django's dash."""
    return "" if empty == AdminSite.empty_value_display else str(empty)


def text_of(value: Any) -> str:
    """Return a value as text; of markup that is marked as safe, what a person reads of it."""
    if not isinstance(value, SafeData):
        return str(value)
    reader = _Reader()
    reader.feed(str(value))
    reader.close()
    return " ".join("".join(reader.read).split())


class _Reader(HTMLParser):
    """Reads a page aloud, as it were."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.read: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        self.read.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read what a picture stands for, and part what is on different lines."""
        if tag == "img":
            self.read.append(dict(attrs).get("alt") or "")
        elif tag in LINES:
            self.read.append(" ")
