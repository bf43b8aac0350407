"""Rows in batches, the same way for all formats."""

import time
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.db.models.query import FlatValuesListIterable
from django.utils.functional import Promise

from async_downloads.exceptions import DownloadError
from async_downloads.formats.cells import PLAIN, CellError, is_scalar

__all__ = [
    "NO_CONVERTERS",
    "Batches",
    "Converter",
    "check_header",
    "detached",
    "is_flat",
    "text_length",
    "unique_names",
]

#: Rows in a batch.
MAX_BATCH_ROWS: Final = 128

#: Characters of text in a batch, if its rows are as long as the last row before it.
MAX_BATCH_TEXT: Final = 1 << 20

#: Rows that are read between two looks at the clock, if they come quickly.
MAX_UNTIMED_ROWS: Final = 16

#: Rows come quickly if so many take fewer seconds than this.
QUICK_SECONDS: Final = 0.1

_TEXT: Final = (str, bytes, bytearray, memoryview, Promise)

_A_ROW: Final = (
    "A row is an iterable of cells, such as a list or a tuple, or a mapping of names to cells."
)

Row = Sequence[Any]

Rows = Iterable[Iterable[Any]]

Converter = Callable[[Any], Any]

#: For no kind of cells.
NO_CONVERTERS: Final[Mapping[type, Converter]] = {}

Take = Callable[[Mapping[Any, Any]], Row]


def is_flat(rows: object) -> bool:
    """Return whether an object is a ``values_list(flat=True)`` queryset."""
    return isinstance(rows, QuerySet) and issubclass(rows._iterable_class, FlatValuesListIterable)


def check_header(header: object) -> None:
    """Check that an object is a header.

    Raises:
        TypeError: It is text, or a mapping, or not iterable.
    """
    if isinstance(header, (*_TEXT, Mapping)) or not isinstance(header, (Iterable, type(None))):
        raise TypeError(
            f"header={header!r} is a {type(header).__name__}. A header is an iterable of names, "
            "such as a list or a tuple."
        )


def unique_names(titles: Iterable[Any]) -> list[str]:
    """Return the titles of columns as names, with a number where a name is taken."""
    names: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for each in titles:
        name = unique = "" if each is None else str(each)
        while unique in names:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name} ({numbers[name]})"
        names[unique] = None
    return list(names)


def detached(row: Any) -> Any:
    """Return a copy of a row, which its source may change; the cells are not copied.

    What is not a row is returned unchanged.
    """
    if isinstance(row, Mapping):
        return dict(row)
    return tuple(row) if isinstance(row, Iterable) and not isinstance(row, _TEXT) else row


class Batches(Iterable[Row]):
    """Batches of rows, each a list or a tuple of cells.

    Iterate over it for single rows with their cells unchanged, or over ``of`` for batches
    with converted cells. Either only once.

    The source of the rows may change a row that it has yielded, or objects in its cells,
    before it yields the next. So each row is copied as plain values before that.

    Attributes:
        header: The row before the others; None if there is none.
        count: The number of rows in the batches before the last one.
    """

    def __init__(
        self,
        rows: Rows,
        header: Iterable[Any] | None = None,
        *,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        report: Callable[[int, float], bool] = lambda rows, now: False,
        adjust: Mapping[type, Converter] = NO_CONVERTERS,
    ):
        """Prepare the batches, without reading a row.

        Args:
            rows: Rows of any kind; read once.
            header: The row before the others.
            context: Makes the context in which the rows are read.
            report: Called between two rows, or only every few if they come quickly, with
                the number of rows before and the time; returns whether a report was due.
            adjust: Called for cells of these plain kinds, by exact class; for the first row
                perhaps twice.
        """
        self.header = None if header is None else list(header)
        self.count = 0
        self._rows = zip(rows) if is_flat(rows) else rows
        self._context = context
        self._report = report
        self._convert: Converter | None = None
        self._adjust = dict(adjust)
        self._max_rows = MAX_BATCH_ROWS
        self._keys: Sequence[Any] | None = None
        self._known: KeysView[Any] = {}.keys()
        self._take: Take | None = None
        self._stream = self._read()
        self._first: list[list[Row]] | None = None

    @classmethod
    def over(cls, rows: Rows, header: Iterable[Any] | None) -> "Batches":
        """Return batches of rows; rows that are batches already are returned unchanged."""
        return rows if isinstance(rows, Batches) else cls(rows, header)

    def __iter__(self) -> Iterator[Row]:
        # The caller reads the cells of each row before the next row is read.
        self._max_rows = 1
        return chain.from_iterable(self._batches())

    @property
    def names(self) -> list[str] | None:
        """The names of the columns: the header, or else the keys of the first row.

        Without a header, it reads the first row.
        """
        if self.header is None and self._first is None:
            self._first = list(islice(self._stream, 1))
        return self._known_names()

    @property
    def keys(self) -> Sequence[Any] | None:
        """The keys of the cells, once the first row is read; None if rows are not mappings."""
        return self._keys

    def heading(self, convert: Converter) -> Row | None:
        """Return the header with converted cells; None if there is none.

        Args:
            convert: As for ``of``.

        Raises:
            DownloadError: A cell of it cannot be written.
        """
        if self.header is None:
            return None
        return _converted(self.header, convert, "The header", None)

    def of(
        self, convert: Converter, adjust: Mapping[type, Converter] = NO_CONVERTERS
    ) -> Iterator[list[Row]]:
        """Yield batches of rows with converted cells.

        Args:
            convert: ``cells.flat`` or ``cells.tree``; called for cells of no plain kind.
            adjust: Called for converted cells of these plain kinds, by exact class.

        Raises:
            DownloadError: A row is not iterable, or a cell cannot be written.
        """
        self._convert = convert
        self._adjust = _merged(self._adjust, adjust)
        if self._first:
            # The first row was read for its keys, and no row after it.
            self._first = [[self._plain(row, 1) for row in batch] for batch in self._first]
        return self._batches()

    def _batches(self) -> Iterator[list[Row]]:
        first, self._first = self._first or [], []
        for batch in chain(first, self._stream):
            yield batch
            self.count += len(batch)

    def _read(self) -> Iterator[list[Row]]:
        rows: Iterator[Any] = iter(self._rows)
        size, untimed, before = 1, 1, 0
        then = time.monotonic()
        ended, simple, is_plain = False, True, PLAIN.issuperset
        with self._context():
            while not ended:
                batch: list[Row] = []
                adjusted = self._adjusted if self._adjust else None
                while not ended and len(batch) < size:
                    size_before = len(batch)
                    for row in islice(rows, untimed):
                        kind = type(row)
                        if (kind is tuple or kind is list) and simple and is_plain(map(type, row)):
                            batch.append(row[:] if adjusted is None else adjusted(row))
                        else:
                            batch.append(self._copied(row, before + len(batch) + 1))
                            simple = self._take is None
                    ended = len(batch) < size_before + untimed
                    now = time.monotonic()
                    reported = self._report(before + size_before, now)
                    if reported or now - then > QUICK_SECONDS:
                        untimed = 1
                    elif untimed < MAX_UNTIMED_ROWS:
                        untimed *= 2
                    then = now
                if batch:
                    yield batch
                    before += len(batch)
                    size = min(
                        2 * size,
                        self._max_rows,
                        MAX_BATCH_TEXT // (1 + text_length(batch[-1])) or 1,
                    )
                    untimed = min(untimed, size)

    def _copied(self, row: Any, number: int) -> Row:
        """Return a copy of a row, with plain cells if the format is known."""
        if number == 1 and isinstance(row, Mapping):
            self._begin_mappings(row)
        return self._plain(self._row(row, number), number)

    def _plain(self, row: Row, number: int) -> Row:
        if self._convert is not None:
            row = _converted(row, self._convert, f"Row {number}", self._known_names())
        return self._adjusted(row) if self._adjust else row

    def _adjusted(self, row: Row) -> Row:
        adjust = self._adjust
        return [adjust[type(cell)](cell) if type(cell) in adjust else cell for cell in row]

    def _known_names(self) -> list[str] | None:
        names = self._keys if self.header is None else self.header
        return None if names is None else [str(name) for name in names]

    def _row(self, row: Any, number: int) -> Row:
        if isinstance(row, Mapping):
            return self._of_mapping(row, number)
        if self._take is not None:
            raise DownloadError(
                f"Row {number} is a {_kind(row)}, while the rows before it are mappings. "
                "The rows of a file are of one kind."
            )
        if isinstance(row, (list, tuple)):
            return row
        if isinstance(row, (*_TEXT, Model)):
            raise DownloadError(f"Row {number} is a {_kind(row)}. {_A_ROW}")
        try:
            cells = iter(row)
        except TypeError:
            if is_scalar(row):
                return (row,)
            raise DownloadError(f"Row {number} is a {_kind(row)}. {_A_ROW}") from None
        return list(cells)

    def _of_mapping(self, row: Mapping[Any, Any], number: int) -> Row:
        if self._take is None or self._keys is None:
            raise DownloadError(
                f"Row {number} is a mapping, while the rows before it are not. "
                "The rows of a file are of one kind."
            )
        if row.keys() != self._known:
            raise DownloadError(
                f"Row {number} has the keys {_listed(row)}, while the first row has "
                f"{_listed(self._known)}. All rows of a file have the same keys."
            )
        return self._take(row)

    def _begin_mappings(self, first: Mapping[Any, Any]) -> None:
        """Choose the cells of rows that are mappings, and their order."""
        self._known = dict(first).keys()
        self._keys = _keys_of_columns(first, self.header)
        keys = self._keys
        self._take = itemgetter(*keys) if len(keys) > 1 else lambda row: [row[key] for key in keys]


def _keys_of_columns(first: Mapping[Any, Any], header: Sequence[Any] | None) -> list[Any]:
    """Return the keys of the cells, in the order of the columns.

    Raises:
        DownloadError: The header neither names keys nor labels each of them.
    """
    own = list(first)
    if header is None:
        return own
    named = {str(key): key for key in own}
    names = [str(name) for name in header]
    if names and named.keys() >= set(names):
        return [named[name] for name in names]
    moved = [name for name, key in zip(names, own, strict=False) if named.get(name, key) != key]
    if len(names) == len(own) and not moved:
        return own
    raise DownloadError(
        f"The header ({_listed(names)}) neither names keys of the rows ({_listed(own)}) "
        "nor labels each of them, in their order."
    )


def _merged(*adjustments: Mapping[type, Converter]) -> dict[type, Converter]:
    """Return converters that apply each of several adjustments, in turn."""
    merged: dict[type, Converter] = {}
    for each in adjustments:
        for kind, step in each.items():
            merged[kind] = partial(_composed, merged[kind], step) if kind in merged else step
    return merged


def _composed(first: Converter, second: Converter, cell: Any) -> Any:
    return second(first(cell))


def _converted(row: Row, convert: Converter, place: str, names: Sequence[str] | None) -> Row:
    cells = []
    for index, cell in enumerate(row):
        try:
            cells.append(cell if type(cell) in PLAIN else convert(cell))
        except Exception as error:
            name = f" ({names[index]})" if names and index < len(names) else ""
            where = f"{place}, column {index + 1}{name}"
            if isinstance(error, CellError):
                raise DownloadError(f"{where}: the cell {error}.") from error
            error.add_note(f"{where}.")
            raise
    return cells


def text_length(row: Iterable[Any]) -> int:
    """Return the number of characters of text in a row."""
    if not isinstance(row, (list, tuple)):
        return 0
    return sum(len(cell) for cell in row if type(cell) is str)


def _kind(value: object) -> str:
    return f"{type(value).__name__}" + (" (a model instance)" if isinstance(value, Model) else "")


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(repr, names)) or "none"
