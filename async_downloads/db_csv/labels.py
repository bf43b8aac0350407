"""Which values of a column have labels, as a database compares them."""

from collections.abc import Mapping
from typing import Any, Final

from django.utils.hashable import make_hashable

from async_downloads.db_csv.column_types import Kind
from async_downloads.db_csv.dialect import Labels

__all__ = ["known_labels", "label_of"]

#: No column has integers below or from here on.
_LEAST: Final = -(1 << 63)
_BEYOND: Final = 1 << 63


def label_of(labels: Mapping[Any, str], value: Any) -> Any:
    """Return the label of a value, or the value if it has none."""
    try:
        return labels.get(value, value)
    except TypeError:
        # A list, or another value that cannot be hashed.
        return labels.get(make_hashable(value), value)


def known_labels(labels: Labels, kind: Kind | None) -> dict[Any, str] | None:
    """Return the labels of the values that a column can hold, by value; None for no value.

    Args:
        labels: By values of any type, which Python compares.
        kind: How the values are printed.

    Returns:
        None if it is not certain that a database finds the same labels as Python.
    """
    if kind not in {Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN}:
        return None
    if not all(key is None or isinstance(key, (str, int)) for key in labels):
        return None
    known: dict[Any, str] = {}
    for key, label in labels.items():
        if kind is Kind.TEXT and isinstance(key, str):
            known[str.__str__(key)] = label
        elif kind is Kind.INTEGER and isinstance(key, int) and _LEAST <= key < _BEYOND:
            known[int(key)] = label
        elif kind is Kind.BOOLEAN and isinstance(key, int) and key in (0, 1):
            known[bool(key)] = label
    if None in labels:
        known[None] = labels[None]
    texts = [*known.values(), *(key for key in known if isinstance(key, str))]
    return known if all(map(_is_storable, texts)) else None


def _is_storable(text: str) -> bool:
    """Return whether each database takes a text: without zero characters and half surrogates."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)
