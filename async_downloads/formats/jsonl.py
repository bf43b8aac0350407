"""JSON Lines: a JSON value for each row."""

import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells, text
from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches, unique_names

__all__ = ["write"]

#: Line ends for ``splitlines`` and the like, which JSON allows within text.
_LINE_ENDS: Final = re.compile("[\x85\u2028\u2029]")

_NOT_ASCII: Final = re.compile("[^\x00-\x7f]")


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write each row on a line: an object with the header's names, or an array without a header.

    Rows that are mappings are always objects. If several columns have the same name, the
    later ones get a number. A character that the encoding lacks is escaped; half of a
    surrogate pair, which JSON text cannot hold, is U+FFFD; infinity and NaN are ``null``.

    Raises:
        DownloadError: A row is not iterable, or has more or fewer cells than the header.
    """
    batches = Batches.over(rows, options.header)
    names = _names(batches)
    layer = text.text_layer(stream, options.encoding)
    count = 0
    try:
        for batch in batches.of(cells.tree):
            values: Iterable[Any] = batch if names is None else _objects(batch, names, count)
            _write_lines([cells.to_json(value, dense=True) for value in values], layer)
            count += len(batch)
        layer.flush()
    finally:
        text.detach(layer)
    return count


def _names(batches: Batches) -> list[str] | None:
    """Return unique names for the columns; None if they have no names."""
    heading = batches.heading(cells.flat)
    titles = batches.names if heading is None else heading
    if titles is None:
        return None
    return unique_names(
        text.without_surrogates("" if each is None else str(each)) for each in titles
    )


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


def _write_lines(lines: Sequence[str], layer: io.TextIOWrapper) -> None:
    """Write lines, and escape the characters that the encoding lacks."""
    try:
        layer.write(_join(lines))
    except UnicodeEncodeError:
        # No line of them was written.
        for line in lines:
            whole = _join([text.without_surrogates(line)])
            try:
                layer.write(whole)
            except UnicodeEncodeError:
                layer.write(_NOT_ASCII.sub(_escape, whole))


def _join(lines: Sequence[str]) -> str:
    return _LINE_ENDS.sub(_escape, "\n".join(lines) + "\n")


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
