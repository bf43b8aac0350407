"""PostgreSQL: ``COPY`` prints the cells, and quotes them."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO, Any, Final

from django.conf import settings

from async_downloads.columns import base, streams
from async_downloads.columns.kinds import Column, Kind
from async_downloads.formats.csv import FORMULA_STARTS

__all__ = ["Dialect"]

#: Kinds that are printed as Python prints them.
_AS_THEY_ARE: Final = {Kind.INTEGER, Kind.DATE, Kind.UUID, Kind.ADDRESS}

#: A spreadsheet's signs, in an E'' literal. The last one would be a range elsewhere.
_STARTS: Final = "".join(
    {"\t": r"\t", "\r": r"\r", "\n": r"\n"}.get(sign, sign)
    for sign in sorted(FORMULA_STARTS - {"-"})
)

#: In C's order, as others may hold signs for equal that are not, or cannot search.
_ESCAPED: Final = (
    "CASE WHEN strpos(E'{1}-', left({0} COLLATE \"C\", 1)) > 0"
    " OR strpos({0} COLLATE \"C\", E'\\r') > 0"
    ' THEN regexp_replace({0} COLLATE "C",'
    " E'(^|(?<=\\r)(?!\\n))(?=[{1}-])', '''', 'g') ELSE {0} END"
)


class Dialect(base.Dialect):
    """Blocks of the driver's, or cells where a transaction is in the way."""

    #: Its planner has no use for a subquery's rows in another order.
    keeps_order = True

    def suits(self) -> bool:
        """Whether the session prints dates as Django has set it up to, and does not hold rows."""
        connection = self._connection
        if not self._copies and connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
            return False
        return (
            not connection.execute_wrappers
            and self._status("DateStyle").startswith("ISO")
            and self._status("TimeZone") == connection.timezone_name
            and {self._status(f"{side}_encoding") for side in ("client", "server")} == {"UTF8"}
        )

    def _status(self, name: str) -> str:
        """Return what the server last told of a setting."""
        driver = self._connection.connection
        if hasattr(driver, "pgconn"):
            return (driver.pgconn.parameter_status(name.encode()) or b"").decode()
        return str(driver.get_parameter_status(name) or "")

    @property
    def _copies(self) -> bool:
        """Whether other statements can be kept from the connection until all rows are read."""
        connection = self._connection
        return (
            hasattr(connection.connection, "pgconn")
            # One more connection of a pool might be waited for in vain, at each sign of life.
            and not connection.settings_dict.get("OPTIONS", {}).get("pool")
            and not connection.in_atomic_block
            and connection.get_autocommit()
            and streams.is_djangos(connection)
            and self._sees_what_others_see()
        )

    def _sees_what_others_see(self) -> bool:
        """Return whether a new session would have the same tables before it, and rights."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_user = session_user AND setting = reset_val"
                " FROM pg_settings WHERE name = 'search_path'"
            )
            return bool(cursor.fetchone()[0])

    def cell(self, column: Column, sql: str, number: int) -> str | None:
        """Return an expression for a cell."""
        cell = self._cell(column, sql)
        if cell is None or len(self._columns) != 1:
            return cell
        # An empty line would be no row.
        return f"coalesce(({cell})::text, '')"

    def _cell(self, column: Column, sql: str) -> str | None:
        kind = column.kind
        if kind is Kind.TEXT:
            return self._text(column, sql)
        if kind in _AS_THEY_ARE:
            return sql
        if kind is Kind.BOOLEAN:
            return f"CASE WHEN {sql} THEN 'True' WHEN NOT {sql} THEN 'False' END"
        if kind is Kind.DECIMAL:
            places = getattr(column.field, "decimal_places", None)
            return sql if places is not None and places <= base.PLAIN_PLACES else None
        return self._moment(kind, sql)

    def _text(self, column: Column, sql: str) -> str:
        if not self._escape:
            return sql
        if not column.stored:
            sql = f"({sql})::text"
        return _ESCAPED.format(sql, _STARTS)

    def _moment(self, kind: Kind, sql: str) -> str | None:
        """Return text with six digits behind the full stop, or none: trailing zeros are back."""
        if kind is Kind.TIME:
            text, whole = f"{sql}::text", 8
        elif kind is Kind.DATETIME:
            if settings.USE_TZ and self._connection.timezone_name != "UTC":
                return None
            text, whole = f"{sql}::timestamp::text", 19
        else:
            return None
        full = whole + 7
        offset = " || '+00:00'" if kind is Kind.DATETIME and settings.USE_TZ else ""
        return (
            f"CASE WHEN length({text}) IN ({whole}, {full}) THEN {text}{offset}"
            f" ELSE rpad({text}, {full}, '0'){offset} END"
        )

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
        if not self._copies:
            with connection.chunked_cursor() as cursor:
                cursor.execute(sql, params)
                return streams.write_rows(cursor.fetchmany, stream, encoding, beat)
        # Known to be there by the kind of connection.
        from django.db.backends.postgresql.psycopg_any import mogrify

        statement = f"COPY ({mogrify(sql, params, connection)}) TO STDOUT (FORMAT csv)"
        with (
            streams.beside(connection, beat) as aside,
            connection.wrap_database_errors,
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            return streams.write_blocks(_blocks(copy), stream, encoding, aside)


def _blocks(copy: Any) -> Iterator[list[bytes]]:
    """Yield the rows, each of which comes by itself."""
    rows = iter(copy)
    while block := list(islice(rows, streams.BLOCK_ROWS)):
        yield block
