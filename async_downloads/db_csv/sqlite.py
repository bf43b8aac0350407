"""SQLite: a row is one text, for which the driver makes a single object.

SQLite keeps any value in any column. Each expression here makes text only of values that it
knows, and leaves the rest to a function in Python, which prints them as the row path does.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Final

from django.conf import settings
from django.db import Error as DatabaseFault
from django.db.models.expressions import Col

from async_downloads.db_csv import output
from async_downloads.db_csv.column_types import Column, Kind, column_of
from async_downloads.db_csv.dialect import PLAIN_PLACES, Labels, Report, Statement, WriteRows
from async_downloads.db_csv.labels import known_labels, label_of
from async_downloads.formats.csv import FORMULA_STARTS, SEPARATORS, line

__all__ = ["writer_for"]

#: One expression joins the cells of a row, and SQLite refuses expressions that are nested too deep.
MAX_COLUMNS: Final = 200

#: One less than the significant digits that each number of 64 bits has.
_DIGITS: Final = 14

#: The declared types for which the driver makes such values. It must not convert columns of
#: other kinds.
_DECLARED: Final = {
    Kind.BOOLEAN: {"BOOL"},
    Kind.DATE: {"DATE"},
    Kind.DATETIME: {"DATETIME", "TIMESTAMP"},
    Kind.TIME: {"TIME"},
}

_numbers: Final = itertools.count()


def writer_for(statement: Statement, escape_formulas: bool) -> WriteRows | None:
    """Return a function that writes the rows, if the text of each cell is known."""
    columns = [column for column in map(column_of, statement.expressions) if column is not None]
    if statement.is_combined or not len(statement.cells) == len(columns) <= MAX_COLUMNS:
        return None
    driver = _Driver(statement.connection)
    if not driver.is_usual() or not all(map(driver.knows, statement.expressions)):
        return None
    _cursor, selected = statement.describe()
    if not selected:
        return None
    function = f"async_downloads_cell_{next(_numbers)}"
    labels = [
        None if each is None else known_labels(each, column.kind)
        for each, column in zip(statement.labels, columns, strict=True)
    ]
    if any(each and known is None for each, known in zip(statement.labels, labels, strict=True)):
        return None
    row = _Row(statement.connection, function, escape_formulas).of(columns, labels)
    names = ", ".join(f"c{number}" for number in range(len(selected)))
    # SQLite refuses it if there are more columns, or fewer, than names.
    sql = f"WITH async_downloads_rows ({names}) AS ({statement.sql}) SELECT {row} FROM async_downloads_rows"  # noqa: E501, S608
    return partial(_write, statement, columns, escape_formulas, function, sql)


class _Driver:
    """The driver's conversions of values, by the declared type of their column."""

    def __init__(self, connection: Any):
        self._connection = connection
        self._tables: dict[str, dict[str, str]] = {}

    def is_usual(self) -> bool:
        """Return whether the driver is as Django has set it up."""
        usual = sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES
        return (
            self._connection.connection.text_factory is str
            and self._connection.get_connection_params()["detect_types"] == usual
            and sqlite3.converters["BOOL"](b"1") is True
            and all(
                sqlite3.converters[name].__module__.startswith("django.")
                for name in ("DATE", "DATETIME", "TIMESTAMP", "TIME")
            )
        )

    def knows(self, expression: Any) -> bool:
        """Return whether the columns of an expression are declared as their fields are."""
        return all(
            self._is_declared(part) for part in expression.flatten() if isinstance(part, Col)
        )

    def _is_declared(self, col: Any) -> bool:
        column, name = column_of(col), col.target.column
        # The driver takes text in brackets for a type.
        if column is None or "[" in name:
            return False
        declared = self._table(col.target.model._meta.db_table).get(name.lower())
        if declared is None:
            return False
        word = declared.partition("(")[0].partition(" ")[0].upper()
        if column.kind in _DECLARED:
            return word in _DECLARED[column.kind]
        return word not in sqlite3.converters

    def _table(self, name: str) -> dict[str, str]:
        if name not in self._tables:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT lower(name), type FROM pragma_table_info(%s)", [name])
                self._tables[name] = dict(cursor.fetchall())
        return self._tables[name]


@dataclass(frozen=True, slots=True)
class _Row:
    """Makes the expression of a row's text.

    Attributes:
        connection: Django's connection.
        function: The name of the function that prints cells without an expression.
        escape_formulas: Whether text must not be taken for a formula.
    """

    connection: Any
    function: str
    escape_formulas: bool

    def of(self, columns: Sequence[Column], labels: Sequence[Labels | None]) -> str:
        """Return the expression, given the columns and the labels of their values."""
        cells = [
            self._labelled(f"c{number}", self._cell(column, f"c{number}", number), labels[number])
            for number, column in enumerate(columns)
        ]
        if len(cells) == 1:
            # A reader would skip an empty line.
            return f"coalesce(nullif({cells[0]}, ''), '\"\"') || char(10)"
        return " || ',' || ".join(f"({cell})" for cell in cells) + " || char(10)"

    def _labelled(self, sql: str, cell: str, labels: Labels | None) -> str:
        """Return an expression for a cell's text, or for its label if it has one."""
        if not labels:
            return cell
        whens = []
        for value, label in labels.items():
            if value is None:
                known = f"{sql} IS NULL"
            elif isinstance(value, str):
                # The sign keeps SQLite from comparing the text with a number.
                known = f"+{sql} = {_literal(value)} COLLATE BINARY"
            else:
                known = f"typeof({sql}) = 'integer' AND {sql} = {int(value)}"
            text = _printed(label, escape_formulas=self.escape_formulas)
            whens.append(f"WHEN {known} THEN {_literal(text)}")
        return f"CASE {' '.join(whens)} ELSE {cell} END"

    def _cell(self, column: Column, sql: str, number: int) -> str:
        """Return an expression for a cell's text, with its quotes."""
        printed = f"{self.function}({number}, {sql})"
        if column.kind in {Kind.TEXT, Kind.ADDRESS}:
            return self._text(sql, printed)
        known = self._known(column, sql)
        return f"CASE {known} WHEN {sql} IS NULL THEN '' ELSE {printed} END"

    def _text(self, sql: str, printed: str) -> str:
        rare = f"instr({sql}, char(0))"
        if self.escape_formulas:
            starts, between = _signs(FORMULA_STARTS), _signs(SEPARATORS)
            signs = _signs(FORMULA_STARTS - SEPARATORS)
            rare += f" OR {sql} GLOB '[{starts}]*' OR {sql} GLOB '*[{between}][{signs}]*'"
        return (
            f"CASE typeof({sql}) WHEN 'text' THEN CASE WHEN {rare} THEN {printed}"
            f" WHEN {sql} GLOB '*[,\"\n\r]*' THEN '\"' || replace({sql}, '\"', '\"\"') || '\"'"
            f" ELSE {sql} END WHEN 'null' THEN '' ELSE {printed} END"
        )

    def _known(self, column: Column, sql: str) -> str:
        """Return a ``WHEN`` for values whose text is known; empty if none is."""
        kind = column.kind
        if kind is Kind.INTEGER:
            return f"WHEN typeof({sql}) = 'integer' THEN {sql}"
        if not column.stored:
            return ""
        if kind is Kind.BOOLEAN:
            return (
                f"WHEN typeof({sql}) = 'integer' AND {sql} IN (0, 1)"
                f" THEN CASE {sql} WHEN 1 THEN 'True' ELSE 'False' END"
            )
        if kind is Kind.DECIMAL:
            return _decimal(column.field, sql)
        if kind is Kind.UUID:
            parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
            cut = " || '-' || ".join(f"substr({sql}, {begin}, {size})" for begin, size in parts)
            return (
                f"WHEN typeof({sql}) = 'text' AND length({sql}) = 32"
                f" AND {sql} NOT GLOB '*[^0-9a-f]*' THEN {cut}"
            )
        return self._moment(kind, sql)

    def _moment(self, kind: Kind, sql: str) -> str:
        """Return a ``WHEN`` for moments that are stored as Python prints them.

        SQLite's own functions print them so, without the fraction. They must calculate, or
        they would accept the 31st of each month, and 24:00.
        """
        offset = ""
        if kind is Kind.DATE:
            function, size = "date", 10
        elif kind is Kind.TIME:
            function, size = "time", 8
        elif kind is Kind.DATETIME:
            function, size = "datetime", 19
            if settings.USE_TZ:
                if self.connection.timezone_name != "UTC":
                    return ""
                offset = " || '+00:00'"
        else:
            return ""
        known = f"{function}({sql}, '+0 days') = substr({sql}, 1, {size})"
        fraction = (
            f"length({sql}) = {size} + 7"
            f" AND substr({sql}, {size} + 1) BETWEEN '.000001' AND '.999999'"
            f" AND substr({sql}, {size} + 7) BETWEEN '0' AND '9'"
        )
        if kind is not Kind.TIME:
            # The sign keeps SQLite from comparing the text as the number of a year.
            known += f" AND +{sql} > '0001'"
        return f"WHEN {known} AND (length({sql}) = {size} OR {fraction}) THEN {sql}{offset}"


def _literal(text: str) -> str:
    """Return a text for a statement that has parameters."""
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _printed(value: Any, *, escape_formulas: bool) -> str:
    """Return the text of a cell, with its quotes."""
    # Beside another cell, as empty text that is alone in its row is quoted.
    return line([value, 0], escape_formulas=escape_formulas)[: -len(",0\n")]


def _signs(signs: Iterable[str]) -> str:
    """Return signs for the brackets of a pattern, with the hyphen last: elsewhere it is a range."""
    return "".join(sorted(signs, key=lambda sign: (sign == "-", sign)))


def _decimal(field: Any, sql: str) -> str:
    """Return a ``WHEN`` for numbers that have exactly the digits of their field."""
    places, digits = field.decimal_places, field.max_digits
    if places is None or digits is None or places >= _DIGITS:
        return ""
    # Python prints smaller numbers with an exponent.
    least = f" AND abs({sql}) >= 0.000001" if places > PLAIN_PLACES else ""
    scale, limit = f"1{'0' * places}.0", f"1{'0' * (min(digits, _DIGITS) - places)}.0"
    return (
        f"WHEN typeof({sql}) IN ('real', 'integer') AND abs({sql}) < {limit}"
        f" AND round({sql} * {scale}) / {scale} = {sql}"
        f" AND {sql} <> 0{least} THEN printf('%%.{places}f', {sql})"
    )


def _write(
    statement: Statement,
    columns: Sequence[Column],
    escape_formulas: bool,
    function: str,
    sql: str,
    stream: IO[bytes],
    encoding: str,
    report: Report,
) -> int:
    """Write the rows, each of which is one text.

    Args:
        statement: The queryset's statement.
        columns: The columns of the file.
        escape_formulas: Whether text must not be taken for a formula.
        function: The name for the function that prints cells without an expression.
        sql: Selects the text of the rows.
        stream: Receives the bytes.
        encoding: The encoding of the file.
        report: Called with the number of rows.
    """
    connection = statement.connection
    connection.ensure_connection()
    driver = connection.connection
    raised: list[Exception] = []

    def cell(number: int, value: Any) -> str:
        try:
            value = _converted(statement, columns[number], number, value)
            labels = statement.labels[number]
            if labels is not None:
                value = label_of(labels, value)
            return _printed(value, escape_formulas=escape_formulas)
        except Exception as error:
            raised.append(error)
            raise

    driver.create_function(function, 2, cell)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, statement.params)
            return output.write_blocks(_blocks(cursor), stream, encoding, report)
    except DatabaseFault:
        if raised:
            # SQLite only says that a function has raised an exception.
            raise raised[0] from None
        raise
    finally:
        # Refused while the caller reads something else from this connection.
        with suppress(connection.Database.OperationalError):
            driver.create_function(function, 2, None)


def _converted(statement: Statement, column: Column, number: int, value: Any) -> Any:
    """Return the value of a cell as the driver and Django would convert it."""
    if column.stored and value is not None and column.kind in _DECLARED:
        (name, *_others) = _DECLARED[column.kind]
        value = sqlite3.converters[name](value if isinstance(value, bytes) else str(value).encode())
    expression, converters = statement.cells[number]
    for convert in converters:
        value = convert(value, expression, statement.connection)
    return value


def _blocks(cursor: Any) -> Iterator[list[str]]:
    while rows := cursor.fetchmany(output.BLOCK_ROWS):
        yield [row for (row,) in rows]
