"""JSON Lines: a JSON value for each row, as Django writes them."""

import math
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

from django.core.serializers.json import DjangoJSONEncoder

from async_downloads.formats import text
from async_downloads.formats.base import Options

__all__ = ["write"]


class _Encoder(DjangoJSONEncoder):
    """As Django's; what that cannot write is written as its text, as in the other formats."""

    def default(self, value: Any) -> Any:
        try:
            return super().default(value)
        except (TypeError, ValueError):
            return str(value)


_encode: Final = _Encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_encode_in_ascii: Final = _Encoder(allow_nan=False, separators=(",", ":")).encode


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows, each on a line: an object by the names of the header, or an array without one.

    A row that is a dictionary is an object in any case. A character that the
    encoding lacks is written by its number, and what is no number is ``null``.

    Raises:
        ValueError: Two columns have the same name, or a row has more or fewer
            cells than the header.
    """
    shape = _array if options.header is None else _object_of(options.header)
    layer = text.layer_over(stream, options.encoding)
    count = 0
    try:
        for row in rows:
            count += 1
            value = row if type(row) is dict else shape(row)
            try:
                layer.write(_encode(value) + "\n")
            except ValueError:
                # Also a character that cannot be encoded. Nothing of the line is written.
                layer.write(_encode_in_ascii(_without_nan(value)) + "\n")
        layer.flush()
    finally:
        text.let_go(layer)
    return count


def _array(row: Iterable[Any]) -> list[Any] | tuple[Any, ...]:
    return row if isinstance(row, (list, tuple)) else list(row)


def _object_of(header: Iterable[Any]) -> Callable[[Iterable[Any]], dict[str, Any]]:
    names = [str(name) for name in header]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"The header has {', '.join(sorted(twice))} more than once, and the objects of "
            "JSON Lines need a name for each column."
        )
    return lambda row: dict(zip(names, row, strict=True))


def _without_nan(value: Any) -> Any:
    """Return the same without what JSON has no numbers for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
