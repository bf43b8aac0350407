"""PostgreSQL: ``COPY`` prints the cells, and quotes them; a cursor where it is in the way.

A cell is printed by an expression that is known to be right for a type of the
database's and for what Django makes of it. Values that the driver can make nothing
of are an error there as they are one here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Final

from django.db import transaction

from async_downloads.db_csv import dialect, output
from async_downloads.formats.csv import FORMULA_STARTS, SEPARATORS

__all__ = ["text_of"]

# Numbers by which PostgreSQL's types are known, the same in all of its versions.
_BOOL, _BYTEA, _TEXT, _VARCHAR, _DATE, _TIME = 16, 17, 25, 1043, 1082, 1083
_TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 1114, 1184, 1700
_INTEGERS: Final = {21, 23, 20}

#: Of integers, uuid, inet and cidr: COPY prints what the driver makes objects, or text, of.
_AS_THEY_ARE: Final = {*_INTEGERS, 2950, 869, 650}

#: How many decimal places Python prints without an exponent, whatever the number.
_PLAIN_PLACES: Final = 6

#: Fails as the driver does, which has no object for such a value.
_BEYOND: Final = "('beyond the years that Python knows: ' || {0}::text)::integer::text"

#: Six digits behind the full stop or none: PostgreSQL leaves trailing zeros out.
_FRACTION: Final = (
    "CASE WHEN length({0}::text) IN ({1}, {1} + 7) THEN {0}::text"
    " ELSE rpad({0}::text, {1} + 7, '0') END"
)

#: Of ``{2}``, which is ``{0}`` without a zone.
_MOMENT: Final = (
    "CASE WHEN {0} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'"
    f" THEN {_FRACTION.replace('{0}', '{2}').replace('{1}', '19')}{{3}}"
    f" WHEN {{0}} IS NOT NULL THEN {_BEYOND} END"
)

#: A number with more decimal places, as Python prints it: the smallest have an exponent.
_SMALL_NUMBER: Final = (
    f"CASE WHEN scale({{0}}) <= {_PLAIN_PLACES} OR abs({{0}}) >= 0.000001"
    " THEN {0}::text WHEN {0} = 0 THEN '0E-' || scale({0})"
    " WHEN {0} IS NOT NULL THEN CASE WHEN {0} < 0 THEN '-' ELSE '' END"
    " || regexp_replace(ltrim({1}, '0'), '^(.)(.+)$', '\\1.\\2')"
    " || 'E-' || scale({0}) - length(ltrim({1}, '0')) + 1 END"
).replace("{1}", "replace(abs({0})::text, '.', '')")

_EXPRESSIONS: Final = {
    _BOOL: "CASE WHEN {0} THEN 'True' WHEN NOT {0} THEN 'False' END",
    _DATE: (
        f"CASE WHEN {{0}} BETWEEN '0001-01-01' AND '9999-12-31' THEN {{0}}::text"
        f" WHEN {{0}} IS NOT NULL THEN {_BEYOND} END"
    ),
    _TIME: (
        f"CASE WHEN {{0}} < '24:00' THEN {_FRACTION.replace('{1}', '8')}"
        f" WHEN {{0}} IS NOT NULL THEN {_BEYOND} END"
    ),
    _TIMESTAMP: _MOMENT.replace("{2}", "{0}").replace("{3}", ""),
}


def _signs(signs: Iterable[str]) -> str:
    """Return what is in the brackets of a regular expression, in an E'' literal.

    A hyphen that is not the last is a range.
    """
    return "".join(
        sign if sign == "-" else f"\\u{ord(sign):04x}"
        for sign in sorted(signs, key=lambda sign: (sign == "-", sign))
    )


#: Where a cell, or what a spreadsheet takes for one, begins with a formula. In C's order, as
#: others may hold signs for equal that are not, or cannot search.
_ESCAPED: Final = (
    "CASE WHEN {0} COLLATE \"C\" ~ E'^[{1}]|[{2}][{3}]' THEN regexp_replace("
    "{0} COLLATE \"C\", E'^(?=[{1}])|(?<=[{2}])(?=[{3}])', '''', 'g') ELSE {0} END"
).format("{0}", _signs(FORMULA_STARTS), _signs(SEPARATORS), _signs(FORMULA_STARTS - SEPARATORS))


def text_of(statement: dialect.Statement, escape_formulas: bool) -> dialect.Text | None:
    """Return the rows' text, if each cell's is known."""
    connection = statement.connection
    if not _is_usual(connection):
        return None
    copies = _can_copy(connection)
    if not copies and connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        return None
    cursor, columns = statement.described()
    cells = [
        _cell(cursor, column, number, *statement.cells[number], escape_formulas)
        for number, column in enumerate(columns[: len(statement.cells)])
    ]
    if not cells or None in cells:
        return None
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    if len(cells) == 1:
        # COPY quotes cells that are alone in their row which it does not quote in company.
        cells.append("NULL")
    sql = f"SELECT {', '.join(map(str, cells))} FROM ({statement.sql}) selected ({names})"  # noqa: S608
    kind = _Copied if copies else _Fetched
    return kind(connection, sql, statement.params, len(statement.cells))


def _can_copy(connection: Any) -> bool:
    """Return whether other statements can be kept from the connection until all rows are read."""
    return (
        # One more connection of a pool might be waited for in vain, at each heartbeat.
        not connection.settings_dict.get("OPTIONS", {}).get("pool")
        and not connection.in_atomic_block
        and connection.get_autocommit()
        and output.is_djangos(connection)
        and _sees_what_others_see(connection)
    )


def _sees_what_others_see(connection: Any) -> bool:
    """Return whether a new session would have the same tables before it, and rights."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user = session_user AND setting = reset_val"
            " FROM pg_settings WHERE name = 'search_path'"
        )
        return bool(cursor.fetchone()[0])


def _is_usual(connection: Any) -> bool:
    """Return whether the driver is psycopg 3, and the session is as Django has set it up.

    psycopg2 makes objects of what psycopg 3 refuses, such as infinite dates.
    """
    if not hasattr(connection.connection, "pgconn"):
        return False

    def status(name: str) -> str:
        return (connection.connection.pgconn.parameter_status(name.encode()) or b"").decode()

    return (
        not connection.execute_wrappers
        and status("DateStyle").startswith("ISO")
        and status("TimeZone") == connection.timezone_name
        and {status("client_encoding"), status("server_encoding")} == {"UTF8"}
    )


def _cell(
    cursor: Any,
    column: Any,
    number: int,
    expression: Any,
    converters: Sequence[Callable[..., Any]],
    escape_formulas: bool,
) -> str | None:
    """Return an expression for a cell's text; None if there is none that is known to be right."""
    oid, sql = column.type_code, f"c{number}"
    loader = cursor.adapters.get_loader(oid, 0)
    if loader is None or not loader.__module__.startswith(("psycopg", "django.")):
        return None
    if converters:
        return _converted(oid, sql, expression, converters)
    if oid in {_TEXT, _VARCHAR}:
        text = _ESCAPED.format(sql) if escape_formulas else f'{sql} COLLATE "C"'
        # Empty text is printed as NULL is: COPY would quote it.
        return f"nullif({text}, '')"
    if oid == _NUMERIC:
        return _number(column, sql)
    if oid == _TIMESTAMPTZ:
        return _moment_of_a_zone(cursor, loader, sql)
    return sql if oid in _AS_THEY_ARE else _EXPRESSIONS.get(oid, "").format(sql) or None


def _converted(
    oid: int, sql: str, expression: Any, converters: Sequence[Callable[..., Any]]
) -> str | None:
    """Return text of what Django makes a number of, whatever a database gives for an expression."""
    (convert, *others) = converters
    kind = expression.output_field.get_internal_type()
    if others or convert.__module__ != "django.db.models.expressions":
        return None
    if kind.endswith("IntegerField") and oid in _INTEGERS:
        return sql
    if kind.endswith("IntegerField") and oid == _NUMERIC:
        return (
            f"CASE WHEN {sql} - {sql} = 0 THEN trunc({sql})::text"
            f" WHEN {sql} IS NOT NULL THEN {_BEYOND.format(sql)} END"
        )
    return _SMALL_NUMBER.format(sql) if kind == "DecimalField" and oid == _NUMERIC else None


def _number(column: Any, sql: str) -> str:
    if column.scale is not None and column.scale <= _PLAIN_PLACES:
        return sql
    return _SMALL_NUMBER.format(sql)


def _moment_of_a_zone(cursor: Any, loader: Any, sql: str) -> str | None:
    """Return text of what PostgreSQL and Python agree on the local time of: in UTC alone."""
    if cursor.connection.info.parameter_status("TimeZone") != "UTC":
        return None
    offset = "" if loader.timezone is None else " || '+00:00'"
    return _MOMENT.format(sql, "", f"{sql}::timestamp", offset)


@dataclass(frozen=True, slots=True)
class _Selected:
    """Rows of cells that are text.

    Attributes:
        connection: Django's.
        sql: Selects them, and one more where there would be one only.
        params: Of the statement.
        cells: How many there are in a row.
    """

    connection: Any
    sql: str
    params: tuple[Any, ...]
    cells: int

    def check(self, columns: int) -> None:
        """Refuse a result of which the first row would be wrong already.

        Raises:
            RuntimeError: It has more columns, or fewer, than are selected.
        """
        if columns != max(self.cells, 2):
            raise RuntimeError(f"{columns} columns of text for {self.cells} cells.")


class _Fetched(_Selected):
    """Rows of a cursor of the server's, which other statements can be beside."""

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write the rows."""
        connection = self.connection
        inside = connection.in_atomic_block
        # What fails at the server would take the caller's transaction with it.
        whole = transaction.atomic(using=connection.alias) if inside else nullcontext()
        with whole, connection.chunked_cursor() as cursor:
            cursor.execute(self.sql, self.params)
            self.check(len(cursor.description))
            first = itemgetter(slice(1)) if self.cells == 1 else None
            return output.write_rows(cursor.fetchmany, stream, encoding, beat, first)


class _Copied(_Selected):
    """Rows that COPY prints."""

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write the rows, of which neither side holds more than a few."""
        # Known to be there by the kind of connection.
        from django.db.backends.postgresql.psycopg_any import mogrify

        connection = self.connection
        statement = f"COPY ({mogrify(self.sql, self.params, connection)}) TO STDOUT (FORMAT csv)"
        with (
            output.beside(connection, beat) as aside,
            connection.wrap_database_errors,
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            self.check(cursor.pgresult.nfields)
            blocks = _blocks(copy)
            return output.write_blocks(
                map(_alone, blocks) if self.cells == 1 else blocks, stream, encoding, aside
            )


def _blocks(copy: Any) -> Iterator[list[bytes]]:
    """Yield the rows, each of which comes by itself."""
    rows = iter(copy)
    while block := list(islice(rows, output.BLOCK_ROWS)):
        yield block


def _alone(block: list[bytes]) -> list[bytes]:
    """Return the rows without their second column, which is empty; no row is an empty line."""
    return [bytes(row[:-2]) + b"\n" if len(row) > 2 else b'""\n' for row in block]
