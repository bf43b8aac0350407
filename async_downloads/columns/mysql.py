"""MariaDB and MySQL: what the driver's text is made into objects for is asked for as text.

Literals have no backslashes and nothing is joined by pipes, so that no
``sql_mode`` matters.
"""

from collections.abc import Callable
from functools import partial
from typing import IO, Any, Final

from django.conf import settings

from async_downloads.columns import base, streams
from async_downloads.columns.kinds import Column, Kind
from async_downloads.formats import csv

__all__ = ["Dialect"]

#: Kinds of which Django makes nothing else than the driver does.
_AS_THEY_ARE: Final = {
    *(Kind.INTEGER, Kind.TEXT, Kind.BINARY, Kind.ADDRESS, Kind.FLOAT),
}

#: The driver makes nothing of a date that is none.
_IF_DATE: Final = "CASE WHEN YEAR({0}) > 0 AND MONTH({0}) > 0 AND DAYOFMONTH({0}) > 0 THEN {1} END"


class Dialect(base.Dialect):
    """Cells from the driver, through an unbuffered cursor, to ``csv.writer``."""

    #: MariaDB drops the order of a subquery.
    keeps_order = False

    def suits(self) -> bool:
        """Whether other statements can be kept from the connection until all rows are read.

        In a transaction they would have to be on it.
        """
        connection = self._connection
        return (
            not connection.in_atomic_block
            and streams.is_djangos(connection)
            and connection.get_autocommit()
            and not connection.execute_wrappers
            and hasattr(getattr(connection.Database, "cursors", None), "SSCursor")
        )

    def cell(self, column: Column, sql: str, number: int) -> str | None:
        """Return an expression for a cell."""
        kind = column.kind
        if kind in _AS_THEY_ARE:
            return sql
        if not column.stored:
            return sql if kind is Kind.DECIMAL else None
        if kind is Kind.BOOLEAN:
            return f"CASE {sql} WHEN 1 THEN 'True' WHEN 0 THEN 'False' ELSE {sql} END"
        if kind is Kind.DECIMAL:
            places = getattr(column.field, "decimal_places", None)
            return (
                f"CAST({sql} AS CHAR)"
                if places is not None and places <= base.PLAIN_PLACES
                else sql
            )
        if kind is Kind.UUID:
            return self._uuid(sql)
        return self._moment(kind, sql)

    def _uuid(self, sql: str) -> str:
        if self._connection.features.has_native_uuid_field:
            return f"CAST({sql} AS CHAR)"
        parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        cut = ", ".join(f"SUBSTRING({sql}, {begin}, {length})" for begin, length in parts)
        return f"CASE WHEN {sql} IS NOT NULL THEN LOWER(CONCAT_WS('-', {cut})) END"

    def _moment(self, kind: Kind, sql: str) -> str | None:
        if kind is Kind.DATE:
            return _IF_DATE.format(sql, f"CAST({sql} AS CHAR)")
        if kind is Kind.TIME:
            return f"TRIM(TRAILING '.000000' FROM CAST(CAST({sql} AS TIME(6)) AS CHAR))"
        if kind is not Kind.DATETIME:
            return None
        text = f"TRIM(TRAILING '.000000' FROM CAST(CAST({sql} AS DATETIME(6)) AS CHAR))"
        if settings.USE_TZ:
            if self._connection.timezone_name != "UTC":
                return None
            text = f"CONCAT({text}, '+00:00')"
        return _IF_DATE.format(sql, text)

    def write(
        self,
        sql: str,
        params: tuple[Any, ...],
        stream: IO[bytes],
        encoding: str,
        beat: Callable[[int], None],
    ) -> int:
        """Write the rows, of which neither side holds more than a few."""
        connection = self._connection
        connection.ensure_connection()
        with connection.wrap_database_errors, streams.beside(connection, beat) as aside:
            cursor = connection.connection.cursor(connection.Database.cursors.SSCursor)
            try:
                cursor.execute(sql, params)
                texts = [
                    number
                    for number, (column, _steps) in enumerate(self._columns)
                    if column.is_text and self._escape
                ]
                change = partial(_escaped, texts) if texts else None
                return streams.write_rows(cursor.fetchmany, stream, encoding, aside, change)
            finally:
                # Reads what is left, without which the connection is good for nothing.
                cursor.close()


def _escaped(texts: list[int], row: tuple[Any, ...]) -> list[Any]:
    """Return a row in which no text, of the columns with these numbers, is taken for a formula."""
    cells = list(row)
    for number in texts:
        cells[number] = csv.escaped(cells[number])
    return cells
