"""The columns of a changelist as cells of a file: what a person sees, machine-readable."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from html.parser import HTMLParser
from numbers import Number
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import display_for_field, label_for_field, lookup_field
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.utils import timezone
from django.utils.hashable import make_hashable
from django.utils.safestring import SafeData
from django.utils.text import capfirst

__all__ = ["Columns", "text_of"]

#: Makes the cell of a row.
Cell = Callable[[Any], Any]

#: Values that ``csv.writer`` prints so that a machine can read them.
TYPED: Final = (Number, date, time, timedelta)

#: Elements that begin a new line on a page.
LINES: Final = frozenset({"br", "dd", "div", "dt", "li", "ol", "p", "td", "th", "tr", "ul"})


class Columns:
    """What ``list_display`` of a ModelAdmin makes of a row.

    Columns of the model itself keep their type: numbers, dates and booleans are
    printed as Python prints them, times in the time zone of the page. A choice
    is printed by its label, a related object as text. Whatever a callable, a
    method or a property returns is printed as the page shows it, without markup,
    and typed as well if it has a type.
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
        paths = {path for name in self._names if (path := self._relations(name))}
        return queryset.prefetch_related(*sorted(paths)) if paths else queryset

    def _relations(self, name: Any) -> str:
        """Return the path of objects that a column spans; an empty text if there are none."""
        spanned: list[str] = []
        # A column of the model comes before a method of the admin, and that before a path.
        is_method = self._field(name) is None and hasattr(self._admin, str(name))
        opts = self._opts
        for part in [] if callable(name) or is_method else name.split(LOOKUP_SEP):
            field = _relation(opts, part)
            if field is None:
                break
            spanned.append(part)
            opts = field.related_model._meta
        return LOOKUP_SEP.join(spanned)

    def _cell(self, name: Any) -> Cell:
        field = self._field(name)
        if field is None:
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
        if isinstance(value, TYPED):
            return value
        if isinstance(value, (list, tuple)):
            value = ", ".join(str(each) for each in value)
        text = "" if value is None else text_of(value)
        return text if text.strip() else str(empty)


def _relation(opts: Any, name: str) -> Any:
    """Return the relation of a model that leads to one object; None if it is none by this name."""
    try:
        field = opts.get_field(name)
    except FieldDoesNotExist:
        return None
    if not (field.many_to_one or field.one_to_one) or field.related_model is None:
        return None
    # "customer_id" is a column of the row itself, and what leads back may go by two names.
    known = field.name if field.concrete else field.get_accessor_name()
    return field if name == known else None


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
