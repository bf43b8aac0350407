r"""SQLite: a row is one text, of which the driver makes one object.

SQLite keeps any value in any column. Each expression here gives text only of
what it knows, and leaves the rest to a function in Python, which prints it as
the row path does.
"""

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, Final

from django.conf import settings
from django.db import Error as DatabaseFault
from django.utils.dateparse import parse_date, parse_datetime, parse_time

from async_downloads.columns import base, streams
from async_downloads.columns.kinds import Column, Kind
from async_downloads.formats.csv import FORMULA_STARTS, escaped

__all__ = ["Dialect"]

_DAY: Final = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]"
_SECOND: Final = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_FRACTION: Final = "." + "[0-9]" * 6

#: Significant digits that a number of 64 bits has for certain, less one.
_DIGITS: Final = 14

_numbers: Final = itertools.count()


def _line(*cells: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


#: What this Python's csv.writer puts into quotes: not every one does a carriage return.
_QUOTED: Final = "".join(sign for sign in ',"\n\r' if _line(sign, 0) != f"{sign},0\n")

#: As the driver makes of what was declared a date or a time.
_PARSERS: Final[dict[Kind, Callable[[str], Any]]] = {
    Kind.DATE: parse_date,
    Kind.DATETIME: parse_datetime,
    Kind.TIME: parse_time,
}


class Dialect(base.Dialect):
    """Text of whole rows."""

    #: It leaves out only an order that an outer one, or an aggregate, makes useless.
    keeps_order = True

    def __init__(self, connection: Any, columns: list[Any], escape_formulas: bool):
        """Prepare a function of its own."""
        super().__init__(connection, columns, escape_formulas)
        self._function = f"async_downloads_cell_{next(_numbers)}"
        self._raised: list[Exception] = []

    def suits(self) -> bool:
        """Whether this connection can be used in its present state: always."""
        return True

    def cell(self, column: Column, sql: str, number: int) -> str | None:
        """Return an expression for a cell's text, quotes and all."""
        printed = f"{self._function}({number}, {sql})"
        if column.kind in {Kind.TEXT, Kind.ADDRESS}:
            return self._text(sql, printed)
        known = self._known(column, sql)
        return f"CASE {known} WHEN {sql} IS NULL THEN '' ELSE {printed} END"

    def _text(self, sql: str, printed: str) -> str:
        rare = f"instr({sql}, char(0))"
        if self._escape:
            # A range in a pattern cannot end in a bracket.
            starts = "".join(sorted(FORMULA_STARTS - {"-"})) + "-"
            rare += f" OR {sql} GLOB '[{starts}]*' OR instr({sql}, char(13))"
        return (
            f"CASE typeof({sql}) WHEN 'text' THEN CASE WHEN {rare} THEN {printed}"
            f" WHEN {sql} GLOB '*[{_QUOTED}]*' THEN '\"' || replace({sql}, '\"', '\"\"') || '\"'"
            f" ELSE {sql} END WHEN 'null' THEN '' ELSE {printed} END"
        )

    def _known(self, column: Column, sql: str) -> str:
        """Return conditions, and the text where they hold."""
        kind = column.kind
        if kind is Kind.INTEGER:
            return f"WHEN typeof({sql}) = 'integer' THEN {sql}"
        if not column.stored:
            return ""
        if kind is Kind.BOOLEAN:
            return f"WHEN {sql} = 1 THEN 'True' WHEN {sql} = 0 THEN 'False'"
        if kind is Kind.DECIMAL:
            return _decimal(column.field, sql)
        if kind is Kind.UUID:
            parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
            cut = " || '-' || ".join(f"substr({sql}, {begin}, {size})" for begin, size in parts)
            return f"WHEN length({sql}) = 32 AND {sql} NOT GLOB '*[^0-9a-f]*' THEN {cut}"
        return self._moment(kind, sql)

    def _moment(self, kind: Kind, sql: str) -> str:
        if kind is Kind.DATE:
            return f"WHEN {sql} GLOB '{_DAY}' THEN {sql}"
        offset = ""
        if kind is Kind.TIME:
            whole = _SECOND
        elif kind is Kind.DATETIME:
            whole = f"{_DAY} {_SECOND}"
            if settings.USE_TZ:
                if self._connection.timezone_name != "UTC":
                    return ""
                offset = " || '+00:00'"
        else:
            return ""
        return (
            f"WHEN {sql} GLOB '{whole}{_FRACTION}' AND substr({sql}, -7) <> '.000000'"
            f" THEN {sql}{offset} WHEN {sql} GLOB '{whole}' THEN {sql}{offset}"
        )

    def row(self, cells: list[str]) -> str:
        """Return what is selected."""
        if len(cells) == 1:
            # An empty line would be no row.
            return f"coalesce(nullif({cells[0]}, ''), '\"\"') || char(10)"
        return " || ',' || ".join(f"({cell})" for cell in cells) + " || char(10)"

    def write(
        self,
        sql: str,
        params: tuple[Any, ...],
        stream: IO[bytes],
        encoding: str,
        beat: Callable[[int], None],
    ) -> int:
        """Write the rows, which the driver makes one by one."""
        connection = self._connection
        connection.ensure_connection()
        driver = connection.connection
        driver.create_function(self._function, 2, self._print)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return streams.write_blocks(_blocks(cursor), stream, encoding, beat)
        except DatabaseFault:
            if self._raised:
                # SQLite says no more than that a function has raised something.
                raise self._raised[0] from None
            raise
        finally:
            # Refused while the caller reads something else from this connection.
            with suppress(connection.Database.OperationalError):
                driver.create_function(self._function, 2, None)

    def _print(self, number: int, value: Any) -> str:
        """Return a cell's text, as the row path would have it."""
        try:
            column, (converters, expression) = self._columns[number]
            if column.stored:
                value = _as_declared(column.kind, value)
            for convert in converters:
                value = convert(value, expression, self._connection)
            if self._escape:
                value = escaped(value)
            return _line(value, 0)[:-3]
        except Exception as error:
            self._raised.append(error)
            raise


def _as_declared(kind: Kind, value: Any) -> Any:
    """Return what the driver makes of a value in a column of such a type."""
    if value is None:
        return None
    if kind is Kind.BOOLEAN:
        return value == 1 or value in ("1", b"1")
    if kind in _PARSERS:
        return _PARSERS[kind](value.decode() if isinstance(value, bytes) else str(value))
    return value


def _decimal(field: Any, sql: str) -> str:
    """Return a condition under which the digits of a number are the field's, and they alone."""
    places, digits = field.decimal_places, field.max_digits
    if places is None or digits is None or places >= _DIGITS:
        return ""
    scale, most = f"1{'0' * places}.0", f"1{'0' * (min(digits, _DIGITS) - places)}.0"
    return (
        f"WHEN abs({sql}) < {most} AND round({sql} * {scale}) / {scale} = {sql}"
        f" AND {sql} <> 0 THEN printf('%%.{places}f', {sql})"
    )


def _blocks(cursor: Any) -> Iterator[list[str]]:
    while rows := cursor.fetchmany(streams.BLOCK_ROWS):
        yield [row for (row,) in rows]
