"""Parquet with typed columns. Only this module imports pyarrow."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import IO, Any, Final

from django.conf import settings

from async_downloads.exceptions import DownloadError
from async_downloads.formats import cells
from async_downloads.formats.base import Options
from async_downloads.formats.rows import Batches, text_length, unique_names
from async_downloads.formats.sinks import Sink
from async_downloads.formats.text import without_surrogates

__all__ = ["write"]

#: Rows, and about how many characters of text, that are converted at a time. The first of
#: these decide the types of columns that no field describes.
CHUNK_ROWS: Final = 1 << 14
CHUNK_TEXT: Final = 1 << 24

#: Rows, and bytes, of a row group, which is in memory until it is written.
GROUP_ROWS: Final = 1 << 17
GROUP_BYTES: Final = 1 << 25

#: The digits of a decimal number.
MAX_DIGITS: Final = 38

#: The integers that a column of integers, and one of floats, can hold.
LARGEST_INTEGER: Final = (1 << 63) - 1
LARGEST_EXACT: Final = 1 << 53

#: Kinds of fields whose values are text, or become it.
_TEXTS: Final = frozenset(
    {"CharField", "TextField", "SlugField", "EmailField", "URLField", "FileField", "ImageField"}
    | {"FilePathField", "UUIDField", "GenericIPAddressField", "JSONField"}
)

Rows = Sequence[Sequence[Any]]


def write(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    """Write rows to typed columns, in row groups.

    The fields of a queryset decide the types. Of other columns, the first rows do: values of
    several types make a column of text, which CSV has for them. A later value that does not
    fit its column fails the file. Bytes stay bytes, and structures are JSON text.

    Raises:
        DownloadError: A row is not iterable, or has more or fewer cells than the header, or
            a value does not fit its column.
    """
    batches = Batches.over(rows, options.header)
    sink = Sink(stream)
    try:
        return _Table(sink, batches, options).write()
    except BaseException:
        if sink.failure is not None:
            # The library has raised another error in its place.
            raise sink.failure from None
        raise


class _Table:
    """The columns of a file, and the rows that are not written yet."""

    def __init__(self, sink: Sink, batches: Batches, options: Options):
        import pyarrow

        self._arrow = pyarrow
        self._sink = sink
        self._heading = batches.heading(cells.flat)
        self._batches = batches
        self._options = options
        self._columns: list[_Column] = []

    def write(self) -> int:
        """Write all rows, and return their number."""
        from pyarrow import parquet

        chunks = _chunks(self._batches)
        chunk = next(chunks, [])
        self._columns = self._columns_for(chunk)
        schema = self._arrow.schema([(each.name, each.kind.arrow) for each in self._columns])
        group, written = [self._converted(chunk, 0, schema)], len(chunk)
        target = self._arrow.PythonFile(self._sink, mode="w")
        with closing(parquet.ParquetWriter(target, schema)) as writer:
            for chunk in chunks:
                if _is_full(group):
                    self._write_group(writer, group)
                group.append(self._converted(chunk, written, schema))
                written += len(chunk)
            self._write_group(writer, group)
        return written

    def _write_group(self, writer: Any, group: list[Any]) -> None:
        table = self._arrow.Table.from_batches(group)
        writer.write_table(table, row_group_size=max(1, len(table)))
        group.clear()

    def _converted(self, rows: Rows, before: int, schema: Any) -> Any:
        """Return rows as a batch of the library.

        Args:
            rows: The rows.
            before: The number of rows before them.
            schema: The schema of the file.
        """
        width = len(self._columns)
        if set(map(len, rows)) - {width}:
            number, row = next(
                (number, row) for number, row in enumerate(rows, before + 1) if len(row) != width
            )
            raise DownloadError(
                f"Row {number} has {len(row)} cells, while the header has {width}. "
                "Each column needs a value."
            )
        values = zip(*rows, strict=True) if rows else ([] for _ in self._columns)
        arrays = [
            column.array(each, before) for column, each in zip(self._columns, values, strict=True)
        ]
        return self._arrow.record_batch(arrays, schema=schema)

    def _columns_for(self, rows: Rows) -> list["_Column"]:
        """Return the columns, whose types are those of fields or of the first rows."""
        selected = self._options.columns
        keys = self._batches.names if self._heading is None else self._heading
        names = keys or [column.name for column in selected]
        if not names:
            names = [f"column_{number}" for number in range(1, len(rows[0] if rows else ()) + 1)]
        fields: list[Any] = [column.field for column in selected]
        if self._batches.keys is not None:
            # The header of mappings may choose some of them, in another order.
            by_name = {column.name: column.field for column in selected}
            fields = [by_name.get(key) for key in self._batches.keys]
        if len(fields) != len(names):
            fields = [None] * len(names)
        kinds = _Kinds(self._arrow, getattr(self._options.time_zone, "key", "UTC"))
        columns = []
        for index, (name, field) in enumerate(zip(unique_names(names), fields, strict=True)):
            kind = kinds.of_field(field) or kinds.of_values(
                [row[index] for row in rows if index < len(row)]
            )
            columns.append(_Column(self._arrow, index, without_surrogates(name), kind))
        return columns


@dataclass(frozen=True, slots=True)
class _Kind:
    """The type of a column.

    Attributes:
        arrow: The type of the library.
        types: Its Python types; empty for text, which takes any.
    """

    arrow: Any
    types: frozenset[type] = frozenset()


class _Kinds:
    """Chooses the types of columns."""

    def __init__(self, arrow: Any, zone: str):
        """Make the types.

        Args:
            arrow: The library.
            zone: The name of the time zone of times.
        """
        self._arrow = arrow
        self.text = _Kind(arrow.string())
        self.boolean = _Kind(arrow.bool_(), frozenset({bool}))
        self.integer = _Kind(arrow.int64(), frozenset({int}))
        self.float = _Kind(arrow.float64(), frozenset({float, int}))
        self.date = _Kind(arrow.date32(), frozenset({date}))
        self.aware = _Kind(arrow.timestamp("us", zone), frozenset({datetime}))
        self.naive = _Kind(arrow.timestamp("us"), frozenset({datetime}))
        self.time = _Kind(arrow.time64("us"), frozenset({time}))
        self.duration = _Kind(arrow.duration("us"), frozenset({timedelta}))
        self.binary = _Kind(arrow.binary(), frozenset({bytes}))

    def decimal(self, places: int) -> _Kind:
        """Return the type of decimal numbers with so many places."""
        return _Kind(self._arrow.decimal128(MAX_DIGITS, places), frozenset({Decimal}))

    def of_field(self, field: Any) -> _Kind | None:
        """Return the type of the values of a field; None if the field does not decide it."""
        if field is None:
            return None
        name = field.get_internal_type()
        if name.endswith(("IntegerField", "AutoField")):
            return self.integer
        if name == "DecimalField":
            places = field.decimal_places
            return None if places is None or places > MAX_DIGITS else self.decimal(places)
        if name in _TEXTS:
            return self.text
        return {
            "BooleanField": self.boolean,
            "FloatField": self.float,
            "DateField": self.date,
            "DateTimeField": self.aware if settings.USE_TZ else self.naive,
            "TimeField": self.time,
            "DurationField": self.duration,
            "BinaryField": self.binary,
        }.get(name)

    def of_values(self, values: Sequence[Any]) -> _Kind:
        """Return the type of values, any of which may be None."""
        values = [value for value in values if value is not None]
        types = frozenset(map(type, values))
        choose = _CHOICES.get(types)
        kind = choose(self, values) if choose else None
        return kind or self.text

    def of_integers(self, values: Sequence[int]) -> _Kind | None:
        """Return the type of integers, if it holds all of them."""
        return self.integer if max(map(abs, values)) <= LARGEST_INTEGER else None

    def of_floats(self, values: Sequence[float]) -> _Kind | None:
        """Return the type of floats and integers, if it holds them exactly."""
        integers = (abs(value) for value in values if type(value) is int)
        return self.float if max(integers, default=0) <= LARGEST_EXACT else None

    def of_decimals(self, values: Sequence[Decimal]) -> _Kind | None:
        """Return the type of decimal numbers with the most places of them, if it holds all."""
        if not all(value.is_finite() for value in values):
            return None
        exponents = [int(value.as_tuple().exponent) for value in values]
        places = max(0, -min(exponents))
        digits = max(value.adjusted() + 1 for value in values)
        return self.decimal(places) if max(digits, 0) + places <= MAX_DIGITS else None

    def of_moments(self, values: Sequence[datetime]) -> _Kind | None:
        """Return the type of times with a zone, or of those without; None for both."""
        are_naive = {value.tzinfo is None for value in values}
        if len(are_naive) > 1:
            return None
        return self.naive if are_naive.pop() else self.aware

    def of_times(self, values: Sequence[time]) -> _Kind | None:
        """Return the type of times of day without a zone."""
        return self.time if all(value.tzinfo is None for value in values) else None


#: Chooses the type of values of these types.
_CHOICES: Final[dict[frozenset[type], Callable[[_Kinds, Any], _Kind | None]]] = {
    frozenset({bool}): lambda kinds, values: kinds.boolean,
    frozenset({int}): _Kinds.of_integers,
    frozenset({float}): _Kinds.of_floats,
    frozenset({int, float}): _Kinds.of_floats,
    frozenset({Decimal}): _Kinds.of_decimals,
    frozenset({date}): lambda kinds, values: kinds.date,
    frozenset({datetime}): _Kinds.of_moments,
    frozenset({time}): _Kinds.of_times,
    frozenset({timedelta}): lambda kinds, values: kinds.duration,
    frozenset({bytes}): lambda kinds, values: kinds.binary,
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the file.

    Attributes:
        library: pyarrow.
        index: Its place, from 0.
        name: Its name.
        kind: Its type.
    """

    library: Any
    index: int
    name: str
    kind: _Kind

    def array(self, values: Sequence[Any], before: int) -> Any:
        """Return values as an array of the library.

        Args:
            values: The values.
            before: The number of rows before them.

        Raises:
            DownloadError: A value does not fit.
        """
        types = set(map(type, values)) - {type(None)}
        if not self.kind.types:
            return self._texts(values if types <= {str} else list(map(_text, values)))
        try:
            if types <= self.kind.types and self._fit_zone(values, types):
                return self.library.array(values, self.kind.arrow)
        except (self.library.ArrowException, OverflowError):
            # The search finds the value.
            pass
        for number, value in enumerate(values, before + 1):
            if not self._fits(value):
                raise DownloadError(
                    f"Row {number}, column {self.index + 1} ({self.name}): {value!r} does not fit "
                    f"the type of the column, which is {self.kind.arrow}."
                )
        raise AssertionError("Each value fits the column.")

    def _fits(self, value: Any) -> bool:
        if value is None:
            return True
        try:
            self.library.array([value], self.kind.arrow)
        except (self.library.ArrowException, OverflowError):
            return False
        return type(value) in self.kind.types and self._fit_zone([value], {type(value)})

    def _fit_zone(self, values: Sequence[Any], types: set[type]) -> bool:
        """Return whether times all have a zone, or none has, as the column requires."""
        if not types & {datetime, time}:
            return True
        zones = set(map(attrgetter("tzinfo"), filter(None, values)))
        is_aware = getattr(self.kind.arrow, "tz", None) is not None
        return None not in zones if is_aware else not zones - {None}

    def _texts(self, values: Sequence[Any]) -> Any:
        try:
            return self.library.array(values, self.kind.arrow)
        except UnicodeEncodeError:
            whole = [None if value is None else without_surrogates(value) for value in values]
            return self.library.array(whole, self.kind.arrow)


def _is_full(group: Sequence[Any]) -> bool:
    return sum(map(len, group)) >= GROUP_ROWS or sum(each.nbytes for each in group) >= GROUP_BYTES


def _chunks(batches: Batches) -> Iterator[list[Any]]:
    """Yield the rows, some thousands at a time."""
    chunk: list[Any] = []
    size = 0
    for batch in batches.of(_cell):
        chunk += batch
        size += text_length(batch[-1]) * len(batch)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_TEXT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _cell(cell: Any) -> Any:
    """Return a cell as for CSV, except that bytes stay bytes."""
    return bytes(cell) if isinstance(cell, (bytes, bytearray, memoryview)) else cells.flat(cell)


def _text(value: Any) -> str | None:
    """Return a value as CSV has it."""
    return None if value is None else str(cells.flat(value))
