"""JSON Lines: a JSON value for each row, as Django writes them."""

import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells, text
from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches

__all__ = ["write"]

#: Ends of lines for Python's ``splitlines`` and its like, which JSON allows within text.
_LINE_ENDS: Final = re.compile("[\x85\u2028\u2029]")

_NOT_ASCII: Final = re.compile("[^\x00-\x7f]")


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows, each on a line: an object by the names of the header, or an array without one.

    Rows that are mappings are objects in any case. A name that several columns have gets a
    number. A character that the encoding lacks is written by its number; half of a surrogate
    pair, which no JSON text can hold, is U+FFFD; what is not a number is ``null``.

    Raises:
        DownloadError: A row is not one, or has more or fewer cells than the header.
    """
    batches = Batches.over(rows, options.header)
    names = _names(batches)
    layer = text.layer_over(stream, options.encoding)
    count = 0
    try:
        for batch in batches.of(cells.tree):
            values: Iterable[Any] = batch if names is None else _objects(batch, names, count)
            _put([cells.to_json(value, dense=True) for value in values], layer)
            count += len(batch)
        layer.flush()
    finally:
        text.let_go(layer)
    return count


def _names(batches: Batches) -> list[str] | None:
    """Return the names of the columns, no two of them alike; None if they have none."""
    heading = batches.heading(cells.flat)
    found = batches.names if heading is None else heading
    if found is None:
        return None
    names: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for each in found:
        name = unique = _without_surrogates("" if each is None else str(each))
        while unique in names:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name} ({numbers[name]})"
        names[unique] = None
    return list(names)


def _objects(
    batch: Sequence[Sequence[Any]], names: Sequence[str], before: int
) -> Iterable[dict[str, Any]]:
    for number, row in enumerate(batch, before + 1):
        if len(row) != len(names):
            raise DownloadError(
                f"Row {number} has {len(row)} cells, while the header has {len(names)}. "
                "The objects of JSON Lines need a name for each cell."
            )
        yield dict(zip(names, row, strict=True))


def _put(lines: Sequence[str], layer: io.TextIOWrapper) -> None:
    """Write lines, with what the encoding lacks by its number."""
    try:
        layer.write(_joined(lines))
    except UnicodeEncodeError:
        # Nothing of them is written.
        for line in lines:
            whole = _joined([_without_surrogates(line)])
            try:
                layer.write(whole)
            except UnicodeEncodeError:
                layer.write(_NOT_ASCII.sub(_numbered, whole))


def _joined(lines: Sequence[str]) -> str:
    return _LINE_ENDS.sub(_numbered, "\n".join(lines) + "\n")


def _numbered(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _without_surrogates(line: str) -> str:
    """Return a text with whole pairs as the character that they stand for, and halves as U+FFFD."""
    return line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
