"""What a cell of each kind becomes, once for all formats.

A cell becomes a value of one of the ``PLAIN`` kinds (or of a subclass that prints
itself), or a structure of such values: a list, or a dictionary whose keys are text.
A format that cannot hold structures writes them as JSON text.
"""

import base64
import inspect
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from numbers import Number
from typing import Any, Final, cast
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet
from django.utils.functional import Promise

__all__ = ["PLAIN", "CellError", "flat", "is_scalar", "to_json", "tree"]

#: Kinds that each format writes as they are. Decided by exact class: a subclass may print anything.
PLAIN: Final = frozenset(
    {str, int, float, bool, type(None), Decimal, datetime, date, time, timedelta, UUID}
)

#: Kinds whose subclasses print themselves, and keep their type where a format has it.
_TYPED: Final = (Number, date, time, timedelta, UUID)

_BYTES: Final = (bytes, bytearray, memoryview)

#: Objects that hold other objects, none of which is text.
_HOLDING: Final = (Sequence, Set, ValuesView)

_QUERIES: Final = (QuerySet, RawQuerySet, BaseManager)

#: The text of an object that has none of its own is its place in memory.
_PLACE: Final = re.compile(r"<.* at 0x[0-9A-Fa-f]+>", re.DOTALL)

Converter = Callable[[Any], Any]


class CellError(ValueError):
    """A cell that cannot be written, without the place that it is in."""


class _Encoder(DjangoJSONEncoder):
    """As Django's; a time with a zone, which that refuses, is its text."""

    def default(self, value: Any) -> Any:
        try:
            return super().default(value)
        except (TypeError, ValueError):
            return str(value)


_encode: Final = _Encoder(ensure_ascii=False, allow_nan=False).encode

_encode_densely: Final = _Encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def flat(cell: Any) -> Any:
    """Return what a cell becomes where there are no structures: those are JSON text.

    Args:
        cell: Of any kind.

    Raises:
        CellError: It cannot be written.
    """
    value = tree(cell)
    return to_json(value) if type(value) in (list, dict) else value


def tree(cell: Any) -> Any:
    """Return what a cell becomes where there are structures: lists, and dictionaries by text.

    Args:
        cell: Of any kind.

    Raises:
        CellError: It cannot be written.
    """
    kind = type(cell)
    return cell if kind in PLAIN else _converter_of(cast("Hashable", kind))(cell)


def to_json(value: Any, *, dense: bool = False) -> str:
    """Return what ``tree`` has returned as JSON text; numbers that JSON lacks are null.

    Args:
        value: A plain value, or a structure of such values.
        dense: Whether no spaces are between its parts.
    """
    encode = _encode_densely if dense else _encode
    try:
        return encode(value)
    except ValueError:
        return encode(_without_nan(value))


def is_scalar(value: Any) -> bool:
    """Return whether something is a number, a date, a time or the like, or nothing: not text."""
    kind = type(value)
    if kind in PLAIN:
        return kind is not str
    return isinstance(value, (*_TYPED, Enum)) or _library_of(kind) in ("numpy", "pandas")


@lru_cache(maxsize=512)
def _converter_of(kind: type) -> Converter:  # noqa: C901 (a table)
    """Return what makes plain values, or structures of them, of the values of a kind."""
    if issubclass(kind, Enum):
        return lambda cell: tree(cell.value)
    if _library_of(kind) in ("numpy", "pandas"):
        return _of_numpy
    if issubclass(kind, Promise):
        return lambda cell: str.__str__(str(cell))
    if issubclass(kind, str):
        # Its own text, as csv.writer takes it, whatever it prints itself as.
        return str.__str__
    if issubclass(kind, _BYTES):
        return lambda cell: base64.b64encode(bytes(cell)).decode("ascii")
    if issubclass(kind, _TYPED):
        return _itself
    if issubclass(kind, _QUERIES):
        return _refuse_queries
    if _library_of(kind).startswith("psycopg") and kind.__name__.endswith("ange"):
        return _of_range
    if issubclass(kind, Mapping):
        return _of_mapping
    if issubclass(kind, _HOLDING):
        return _of_sequence
    return _printed


def _library_of(kind: type) -> str:
    """Return the library, of those that are never imported here, that a kind of values is of."""
    names = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in ("pandas", "numpy", "psycopg", "psycopg2") if name in names), "")


def _itself(cell: Any) -> Any:
    return cell


def _printed(cell: Any) -> str:
    """Return the text of an object that has one.

    Raises:
        CellError: Its text would be its place in memory, or the name of some code.
    """
    text = str.__str__(str(cell))
    if isinstance(cell, Model):
        return text
    if inspect.isroutine(cell) or inspect.isclass(cell) or _PLACE.fullmatch(text):
        raise CellError(f"is a {type(cell).__name__}, which has no text of its own")
    return text


def _refuse_queries(cell: Any) -> Any:
    raise CellError(
        f"is a {type(cell).__name__}, which is a query and not a value. Write what is to be read "
        'of its objects, such as ", ".join(str(each) for each in ...)'
    )


def _of_sequence(cell: Iterable[Any]) -> list[Any]:
    if not isinstance(cell, Set):
        return [tree(each) for each in cell]
    # So that the same set is the same text in each process.
    try:
        return [tree(each) for each in sorted(cell)]
    except TypeError:
        return [tree(each) for each in sorted(cell, key=str)]


def _of_mapping(cell: Mapping[Any, Any]) -> dict[str, Any]:
    named = {_name(key): tree(value) for key, value in cell.items()}
    if len(named) != len(cell):
        raise CellError(f"has two keys of the same text, of {', '.join(map(repr, cell))}")
    return named


def _name(key: Any) -> str:
    """Return the text of a key, as JSON has it: of ``True``, "true"."""
    value = flat(key)
    return value if isinstance(value, str) else to_json(value).strip('"')


def _of_numpy(cell: Any) -> Any:
    """Return the value of Python's that a value of numpy or pandas stands for."""
    name = type(cell).__name__
    if name in ("NaTType", "NAType"):
        return None
    if name == "Timedelta":
        return cell.to_pytimedelta() if not cell.nanoseconds else str(cell)
    if name == "Timestamp":
        return cell.to_pydatetime(warn=False) if not cell.nanosecond else str(cell)
    if hasattr(cell, "tolist") and getattr(cell, "ndim", None):
        return tree(cell.tolist())
    if name == "DataFrame":
        return tree(cell.to_dict("records"))
    return _of_scalar(cell) if hasattr(cell, "item") and hasattr(cell, "dtype") else _printed(cell)


def _of_scalar(cell: Any) -> Any:
    """Return the value of Python's that a scalar of numpy stands for."""
    if cell.dtype.kind == "f" and cell.dtype.itemsize < 8:
        # The digits that it has, without those that a longer number would add.
        return float(str(cell))
    value = cell.item()
    if cell.dtype.kind in "mM" and isinstance(value, int):
        # Python counts neither nanoseconds nor years alone.
        exact = cell.astype(f"{cell.dtype.kind}8[us]") if cell.dtype.name[-4:] == "[ns]" else None
        return tree(exact.item()) if exact == cell else str(cell)
    return str(cell) if type(value) is type(cell) else tree(value)


def _of_range(cell: Any) -> str:
    """Return a range of the database's as the database prints it: ``[1,10)``."""
    if not hasattr(cell, "isempty"):
        # Several of them.
        return "{" + ",".join(map(_of_range, cell)) + "}"
    if cell.isempty:
        return "empty"
    lower, upper = map(_bound, (cell.lower, cell.upper))
    begin = "[" if lower and cell.lower_inc else "("
    end = "]" if upper and cell.upper_inc else ")"
    return f"{begin}{lower},{upper}{end}"


def _bound(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, datetime):
        text = re.sub(r"(\.\d*?)0+(?=[+-]|$)", r"\1", text)
        text = re.sub(r"([+-]\d\d):00$", r"\1", text)
    if not text or re.search(r'[\s",\\()\[\]]', text):
        text = '"' + re.sub(r'(["\\])', r"\1\1", text) + '"'
    return text


def _without_nan(value: Any) -> Any:
    """Return the same without the numbers that JSON lacks."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
