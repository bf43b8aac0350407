"""How cells are converted, the same way for all formats.

A cell becomes a value of one of the ``PLAIN`` kinds (or of a subclass that prints
itself), or a structure of such values: a list, or a dictionary whose keys are text.
A format without structures writes them as JSON text.
"""

import base64
import inspect
import json
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

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet
from django.utils.functional import Promise

__all__ = ["PLAIN", "CellError", "flat", "is_scalar", "to_json", "tree"]

#: Each format writes these kinds as they are. Only by exact class: a subclass may print anything.
PLAIN: Final[frozenset[type]] = frozenset(
    {str, int, float, bool, type(None), Decimal, datetime, date, time, timedelta, UUID}
)

#: Subclasses of these print themselves, and keep their type if a format has it.
_TYPED: Final = (Number, date, time, timedelta, UUID)

_BYTES: Final = (bytes, bytearray, memoryview)

#: Collections of other objects; text is handled before.
_COLLECTIONS: Final = (Sequence, Set, ValuesView)

_QUERIES: Final = (QuerySet, RawQuerySet, BaseManager)

#: The text of an object without ``__str__`` is its address in memory.
_MEMORY_ADDRESS: Final = re.compile(r"<.* at 0x[0-9A-Fa-f]+>", re.DOTALL)

Converter = Callable[[Any], Any]


class CellError(ValueError):
    """A cell cannot be written; the message does not say which one."""


def _json_text(value: Any) -> str:
    """Return the text of a value for which JSON has no type: Python's, with a T in a time."""
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_json_text).encode

_encode_densely: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, default=_json_text, separators=(",", ":")
).encode


def flat(cell: Any) -> Any:
    """Return a cell for a format without structures, which become JSON text.

    Raises:
        CellError: It cannot be written.
    """
    value = tree(cell)
    return to_json(value) if type(value) in (list, dict) else value


def tree(cell: Any) -> Any:
    """Return a cell for a format with structures: lists, and dictionaries with keys of text.

    Raises:
        CellError: It cannot be written.
    """
    kind = type(cell)
    return cell if kind in PLAIN else _converter_of(cast("Hashable", kind))(cell)


def to_json(value: Any, *, dense: bool = False) -> str:
    """Return a value of ``tree`` as JSON text; infinity and NaN are null.

    Args:
        value: A plain value, or a structure of such values.
        dense: Whether to leave out the spaces between its parts.
    """
    encode = _encode_densely if dense else _encode
    try:
        return encode(value)
    except ValueError:
        return encode(_without_nan(value))


def is_scalar(value: Any) -> bool:
    """Return whether a value is a number, a date, a time or the like, or None, but not text."""
    kind = type(value)
    if kind in PLAIN:
        return kind is not str
    return isinstance(value, (*_TYPED, Enum)) or _library_of(kind) in ("numpy", "pandas")


@lru_cache(maxsize=512)
def _converter_of(kind: type) -> Converter:  # noqa: C901 (a table)
    """Return the function that converts values of a kind to plain values or structures of them."""
    if issubclass(kind, Enum):
        return lambda cell: tree(cell.value)
    if _library_of(kind) in ("numpy", "pandas"):
        return _from_numpy
    if issubclass(kind, Promise):
        return lambda cell: str.__str__(str(cell))
    if issubclass(kind, str):
        # The text itself, as csv.writer takes it, even if the subclass prints something else.
        return str.__str__
    if issubclass(kind, _BYTES):
        return lambda cell: base64.b64encode(bytes(cell)).decode("ascii")
    if issubclass(kind, _TYPED):
        return _identity
    if issubclass(kind, _QUERIES):
        return _refuse_queries
    if _library_of(kind).startswith("psycopg") and kind.__name__.endswith("ange"):
        return _range_text
    if issubclass(kind, Mapping):
        return _from_mapping
    if issubclass(kind, _COLLECTIONS):
        return _from_sequence
    return _printed


def _library_of(kind: type) -> str:
    """Return the name of the optional library that defines a kind; empty if it is another one."""
    names = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in ("pandas", "numpy", "psycopg", "psycopg2") if name in names), "")


def _identity(cell: Any) -> Any:
    return cell


def _printed(cell: Any) -> str:
    """Return the text of an object.

    Raises:
        CellError: The text would be an address in memory, or the name of a class or function.
    """
    text = str.__str__(str(cell))
    if isinstance(cell, Model):
        return text
    if inspect.isroutine(cell) or inspect.isclass(cell) or _MEMORY_ADDRESS.fullmatch(text):
        raise CellError(f"is a {type(cell).__name__}, which has no text of its own")
    return text


def _refuse_queries(cell: Any) -> Any:
    raise CellError(
        f"is a {type(cell).__name__}, which is a query and not a value. Write the text of its "
        'objects instead, such as ", ".join(str(each) for each in ...)'
    )


def _from_sequence(cell: Iterable[Any]) -> list[Any]:
    if not isinstance(cell, Set):
        return [tree(each) for each in cell]
    # Sorted, so that the same set is the same text in each process.
    try:
        return [tree(each) for each in sorted(cell)]
    except TypeError:
        return [tree(each) for each in sorted(cell, key=str)]


def _from_mapping(cell: Mapping[Any, Any]) -> dict[str, Any]:
    named = {_name(key): tree(value) for key, value in cell.items()}
    if len(named) != len(cell):
        raise CellError(f"has two keys of the same text, of {', '.join(map(repr, cell))}")
    return named


def _name(key: Any) -> str:
    """Return the text of a key as JSON has it, such as "true" for ``True``."""
    value = flat(key)
    return value if isinstance(value, str) else to_json(value).strip('"')


def _from_numpy(cell: Any) -> Any:
    """Return the Python value of a value of numpy or pandas."""
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
    return (
        _from_numpy_scalar(cell)
        if hasattr(cell, "item") and hasattr(cell, "dtype")
        else _printed(cell)
    )


def _from_numpy_scalar(cell: Any) -> Any:
    """Return the Python value of a numpy scalar."""
    if cell.dtype.kind == "f" and cell.dtype.itemsize < 8:
        # Only its own digits: conversion to a longer float would add some.
        return float(str(cell))
    value = cell.item()
    if cell.dtype.kind in "mM" and isinstance(value, int):
        # Python has neither nanoseconds nor years as units.
        exact = cell.astype(f"{cell.dtype.kind}8[us]") if cell.dtype.name[-4:] == "[ns]" else None
        return tree(exact.item()) if exact == cell else str(cell)
    return str(cell) if type(value) is type(cell) else tree(value)


def _range_text(cell: Any) -> str:
    """Return a range as PostgreSQL prints it: ``[1,10)``."""
    if not hasattr(cell, "isempty"):
        # A multirange.
        return "{" + ",".join(map(_range_text, cell)) + "}"
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
    """Return a value with null in place of infinity and NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
