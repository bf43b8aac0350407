"""PostgreSQL: ``COPY`` prints and quotes the cells; a cursor, when COPY cannot be used.

A cell is printed by an expression that is known to be right for a type of the database and
for what Django makes of it. A value that the driver cannot parse is an error here, too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Final

from django.db import transaction

from async_downloads.db_csv import output
from async_downloads.db_csv.column_types import Kind
from async_downloads.db_csv.dialect import PLAIN_PLACES, Labels, Report, Statement, WriteRows
from async_downloads.db_csv.labels import known_labels
from async_downloads.formats.csv import BEFORE_FORMULAS, FORMULA_STARTS, SEPARATORS

__all__ = ["writer_for"]

# The object identifiers of PostgreSQL's types, the same in all versions.
_BOOL, _BYTEA, _TEXT, _VARCHAR, _DATE, _TIME = 16, 17, 25, 1043, 1082, 1083
_TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 1114, 1184, 1700
_INTEGERS: Final = {21, 23, 20}

#: Integers, uuid, inet and cidr: COPY prints the same text as Python.
_AS_THEY_ARE: Final = {*_INTEGERS, 2950, 869, 650}

#: Types whose values can have labels.
_LABELLED: Final = {
    _BOOL: Kind.BOOLEAN,
    _TEXT: Kind.TEXT,
    _VARCHAR: Kind.TEXT,
    **dict.fromkeys(_INTEGERS, Kind.INTEGER),
}

#: Fails as the driver does, which cannot represent such a value.
_BEYOND: Final = "('beyond the years that Python knows: ' || {0}::text)::integer::text"

#: Six digits after the point or none: PostgreSQL leaves out trailing zeros.
_FRACTION: Final = (
    "CASE WHEN length({0}::text) IN ({1}, {1} + 7) THEN {0}::text"
    " ELSE rpad({0}::text, {1} + 7, '0') END"
)

#: A date and time; ``{2}`` is ``{0}`` without a zone, ``{3}`` the offset.
_MOMENT: Final = (
    "CASE WHEN {0} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'"
    f" THEN {_FRACTION.replace('{0}', '{2}').replace('{1}', '19')}{{3}}"
    f" WHEN {{0}} IS NOT NULL THEN {_BEYOND} END"
)

#: A number with more decimal places, as Python prints it: near zero, with an exponent.
_SMALL_NUMBER: Final = (
    f"CASE WHEN scale({{0}}) <= {PLAIN_PLACES} OR abs({{0}}) >= 0.000001"
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
    """Return signs for the brackets of a regular expression in an E'' literal.

    A hyphen comes last: elsewhere it means a range.
    """
    return "".join(
        sign if sign == "-" else f"\\u{ord(sign):04x}"
        for sign in sorted(signs, key=lambda sign: (sign == "-", sign))
    )


#: Puts an apostrophe before each formula at the beginning of a cell, or of what a spreadsheet
#: takes for one. In the collation C: others may take different signs for equal, or cannot
#: search.
_ESCAPED: Final = (
    "CASE WHEN {0} COLLATE \"C\" ~ E'^[{1}]|[{2}][{3}]' THEN regexp_replace("
    "{0} COLLATE \"C\", E'^(?=[{1}])|(?<=[{2}])(?=[{3}])', '''', 'g') ELSE {0} END"
).format("{0}", _signs(FORMULA_STARTS), _signs(SEPARATORS), _signs(FORMULA_STARTS - SEPARATORS))


def writer_for(statement: Statement, escape_formulas: bool) -> WriteRows | None:
    """Return a function that writes the rows, if the text of each cell is known."""
    connection = statement.connection
    if not _is_usual(connection):
        return None
    copies = _can_copy(connection)
    if not copies and connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        return None
    cursor, columns = statement.describe()
    cells = [
        _labelled(
            connection,
            column.type_code,
            f"c{number}",
            _cell(cursor, column, number, *statement.cells[number], escape_formulas),
            statement.labels[number],
            escape_formulas,
        )
        for number, column in enumerate(columns[: len(statement.cells)])
    ]
    if not cells or None in cells:
        return None
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    if len(cells) == 1:
        # COPY quotes some cells only when they are alone in their row.
        cells.append("NULL")
    sql = f"SELECT {', '.join(map(str, cells))} FROM ({statement.sql}) selected ({names})"  # noqa: S608
    write = _copy if copies else _fetch
    return partial(write, connection, sql, statement.params, len(statement.cells))


def _can_copy(connection: Any) -> bool:
    """Return whether other statements can use a separate connection until all rows are read."""
    return (
        # A pool might have no further connection to give, so that each heartbeat would wait.
        not connection.settings_dict.get("OPTIONS", {}).get("pool")
        and not connection.in_atomic_block
        and connection.get_autocommit()
        and output.is_builtin_backend(connection)
        and _is_like_a_new_session(connection)
    )


def _is_like_a_new_session(connection: Any) -> bool:
    """Return whether a new session would see the same tables, with the same rights."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user = session_user AND setting = reset_val"
            " FROM pg_settings WHERE name = 'search_path'"
        )
        return bool(cursor.fetchone()[0])


def _is_usual(connection: Any) -> bool:
    """Return whether the driver is psycopg 3, and the session is as Django has set it up.

    psycopg2 accepts values that psycopg 3 refuses, such as infinite dates.
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
    """Return an expression for a cell's text; None if none is known to be right."""
    oid, sql = column.type_code, f"c{number}"
    loader = cursor.adapters.get_loader(oid, 0)
    if loader is None or not loader.__module__.startswith(("psycopg", "django.")):
        return None
    if converters:
        return _converted(oid, sql, expression, converters)
    if oid in {_TEXT, _VARCHAR}:
        text = _ESCAPED.format(sql) if escape_formulas else f'{sql} COLLATE "C"'
        # As NULL, empty text is printed without the quotes that COPY would add.
        return f"nullif({text}, '')"
    if oid == _NUMERIC:
        return _number(column, sql)
    if oid == _TIMESTAMPTZ:
        return _aware_moment(cursor, loader, sql)
    return sql if oid in _AS_THEY_ARE else _EXPRESSIONS.get(oid, "").format(sql) or None


def _converted(
    oid: int, sql: str, expression: Any, converters: Sequence[Callable[..., Any]]
) -> str | None:
    """Return an expression for a number that Django converts, of whatever type the database has."""
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


def _labelled(
    connection: Any,
    oid: int,
    sql: str,
    cell: str | None,
    labels: Labels | None,
    escape_formulas: bool,
) -> str | None:
    """Return an expression for a cell's text, or for its label if it has one."""
    if cell is None or labels is None:
        return cell
    known = known_labels(labels, _LABELLED.get(oid))
    if known is None:
        return None

    def literal(value: Any) -> str:
        return str(connection.ops.compose_sql("%s", [value])).replace("%", "%%")

    whens = []
    for value, label in known.items():
        text = BEFORE_FORMULAS.sub("'", label) if escape_formulas else label
        if value is None:
            found = f"{sql} IS NULL"
        else:
            compared = f'{sql} COLLATE "C"' if isinstance(value, str) else sql
            found = f"{compared} = {literal(value)}"
        whens.append(f"WHEN {found} THEN {literal(text) if text else 'NULL'}")
    return f"CASE {' '.join(whens)} ELSE ({cell})::text END" if whens else cell


def _number(column: Any, sql: str) -> str:
    if column.scale is not None and column.scale <= PLAIN_PLACES:
        return sql
    return _SMALL_NUMBER.format(sql)


def _aware_moment(cursor: Any, loader: Any, sql: str) -> str | None:
    """Return an expression for a moment in UTC, the one zone that needs no time zone database."""
    if cursor.connection.info.parameter_status("TimeZone") != "UTC":
        return None
    offset = "" if loader.timezone is None else " || '+00:00'"
    return _MOMENT.format(sql, "", f"{sql}::timestamp", offset)


def _fetch(
    connection: Any,
    sql: str,
    params: tuple[Any, ...],
    cells: int,
    stream: IO[bytes],
    encoding: str,
    report: Report,
) -> int:
    """Write rows of a server-side cursor, which leaves the connection free for other statements."""
    inside = connection.in_atomic_block
    # Without a savepoint, a failure at the server would roll back the caller's transaction.
    savepoint = transaction.atomic(using=connection.alias) if inside else nullcontext()
    with savepoint, connection.chunked_cursor() as cursor:
        cursor.execute(sql, params)
        _check_columns(len(cursor.description), cells)
        convert = itemgetter(slice(1)) if cells == 1 else None
        return output.write_rows(cursor.fetchmany, stream, encoding, report, convert)


def _copy(
    connection: Any,
    sql: str,
    params: tuple[Any, ...],
    cells: int,
    stream: IO[bytes],
    encoding: str,
    report: Report,
) -> int:
    """Write rows that COPY prints: neither side holds more than a few."""
    # Only importable with a PostgreSQL driver, which this connection has.
    from django.db.backends.postgresql.psycopg_any import mogrify

    with (
        output.report_beside(connection, report) as beside,
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({mogrify(sql, params, connection)}) TO STDOUT (FORMAT csv)") as copy,
    ):
        _check_columns(cursor.pgresult.nfields, cells)
        blocks = _blocks(copy)
        return output.write_blocks(
            map(_first_cells, blocks) if cells == 1 else blocks, stream, encoding, beside
        )


def _check_columns(columns: int, cells: int) -> None:
    """Refuse a result whose rows would all be wrong.

    Raises:
        RuntimeError: It has more columns, or fewer, than the statement selects: one for each
            cell, and a second one beside a single cell.
    """
    if columns != max(cells, 2):
        raise RuntimeError(f"{columns} columns of text for {cells} cells.")


def _blocks(copy: Any) -> Iterator[list[bytes]]:
    rows = iter(copy)
    while block := list(islice(rows, output.BLOCK_ROWS)):
        yield block


def _first_cells(block: list[bytes]) -> list[bytes]:
    """Return the rows without their second column, which is empty; no row is an empty line."""
    return [bytes(row[:-2]) + b"\n" if len(row) > 2 else b'""\n' for row in block]
