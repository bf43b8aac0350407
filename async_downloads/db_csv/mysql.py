"""MariaDB and MySQL: what the driver would make objects of, to print them again, stays text.

The statement is Django's, and its cells go the way of the row path, less what is
known to lead back to the text that the server has sent.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Final

from async_downloads.db_csv import dialect, output

__all__ = ["text_of"]

#: How many decimal places Python prints without an exponent, whatever the number.
_PLAIN_PLACES: Final = 6

#: Days that each year has, as they are in a date's text.
_EACH_YEARS: Final = frozenset(
    f"-{month:02}-{day:02}"
    for month, days in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1)
    for day in range(1, days + 1)
)


def text_of(statement: dialect.Statement, escape_formulas: bool) -> dialect.Text | None:
    """Return the rows' text, if other statements can be kept from the connection meanwhile.

    In a transaction they would have to be on it.
    """
    connection = statement.connection
    fits = (
        # A union that is sorted by what is not selected has a column more.
        not statement.is_combined
        and not connection.in_atomic_block
        and output.is_djangos(connection)
        and connection.get_autocommit()
        and not connection.execute_wrappers
        and connection.Database.__name__ == "MySQLdb"
    )
    return _Fetched(statement, escape_formulas) if fits else None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """Rows of an unbuffered cursor."""

    statement: dialect.Statement
    escape_formulas: bool

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write the rows, of which neither side holds more than a few."""
        connection = self.statement.connection
        connection.ensure_connection()
        driver = connection.connection
        with connection.wrap_database_errors, output.beside(connection, beat) as aside:
            cursor = driver.cursor(connection.Database.cursors.SSCursor)
            try:
                usual = driver.converter
                texts = {} if self.escape_formulas else dict.fromkeys(_kept(connection), str)
                driver.converter = {**usual, **texts}
                try:
                    cursor.execute(self.statement.sql, self.statement.params)
                finally:
                    driver.converter = usual
                change = self._change(cursor, {kind: usual[kind] for kind in texts})
                return output.write_rows(
                    cursor.fetchmany,
                    stream,
                    encoding,
                    aside,
                    change,
                    escape_formulas=self.escape_formulas,
                )
            finally:
                # Reads what is left, without which the connection is good for nothing.
                cursor.close()

    def _change(self, cursor: Any, texts: dict[int, Any]) -> Callable[[Any], Any] | None:
        """Return what to make of each row.

        Args:
            cursor: With a result.
            texts: What the driver usually makes of the kinds of columns that are text here.
        """
        cells, columns = self.statement.cells, cursor.description
        if not self.statement.selects(len(columns)):
            raise RuntimeError(f"{len(columns)} columns instead of {len(cells)}.")
        steps = []
        for number, (expression, converters) in enumerate(cells):
            step = self._step(
                columns[number],
                cursor.description_flags[number],
                expression,
                converters,
                texts.get(columns[number][1]),
            )
            if step is not None:
                steps.append((number, step))
        if not steps and len(columns) == len(cells):
            return None
        return partial(_changed, steps, len(cells))

    def _step(
        self, column: Any, flags: int, expression: Any, converters: Any, parse: Any
    ) -> Callable[[Any], Any] | None:
        """Return what is to be made of a cell of a column; None if it is printed as it is."""
        connection = self.statement.connection
        types, signs = _constants(connection)
        if parse is None and not converters:
            return None
        convert = partial(_converted, parse, converters, expression, connection)
        if parse is None:
            return convert
        if column[1] in {types.DECIMAL, types.NEWDECIMAL}:
            zerofill = flags & signs.ZEROFILL
            plain = column[5] <= _PLAIN_PLACES and not zerofill and not converters
            return None if plain else convert
        if column[1] == types.DATE:
            return convert if converters else partial(_day, convert)
        if not converters:
            return partial(_moment, convert, "")
        in_utc = connection.timezone_name == "UTC"
        if in_utc and list(converters) == [connection.ops.convert_datetimefield_value]:
            return partial(_moment, convert, "+00:00")
        return convert


def _constants(connection: Any) -> tuple[Any, Any]:
    """Return the driver's names for types of columns, and for signs that they may bear."""
    constants = connection.Database.constants
    return constants.FIELD_TYPE, constants.FLAG


def _kept(connection: Any) -> Iterable[int]:
    """Return the types of columns that stay text, where the driver makes of them what it should."""
    types, _signs = _constants(connection)
    kept = (types.DECIMAL, types.NEWDECIMAL, types.DATE, types.DATETIME, types.TIMESTAMP)
    usual, made = connection.Database.converters.conversions, connection.connection.converter
    return [kind for kind in kept if made.get(kind) is usual[kind]]


def _changed(
    steps: list[tuple[int, Callable[[Any], Any]]], cells: int, row: tuple[Any, ...]
) -> list[Any]:
    """Return a row's cells."""
    changed = list(row[:cells])
    for number, step in steps:
        changed[number] = step(changed[number])
    return changed


def _converted(
    parse: Callable[[str], Any] | None,
    converters: Iterable[Callable[..., Any]],
    expression: Any,
    connection: Any,
    value: Any,
) -> Any:
    """Return what the driver and Django make of a value."""
    if parse is not None and value is not None:
        value = parse(value)
    for convert in converters:
        value = convert(value, expression, connection)
    return value


def _day(convert: Callable[[Any], Any], text: str | None) -> Any:
    """Return a date's text if it is one of each year's, and what is made of it otherwise."""
    if text is None or (text[4:] in _EACH_YEARS and text[:4] != "0000"):
        return text
    return convert(text)


def _moment(convert: Callable[[Any], Any], offset: str, text: str | None) -> Any:
    """Return the text of a date and time, likewise."""
    if text is None:
        return None
    if text[4:10] in _EACH_YEARS and text[:4] != "0000":
        if len(text) == 19:
            return text + offset
        if len(text) == 26:
            return (text if text[20:] != "000000" else text[:19]) + offset
    return convert(text)
