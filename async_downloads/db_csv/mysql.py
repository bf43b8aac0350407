"""MariaDB and MySQL: values that the driver would parse, only to be printed again, stay text.

The statement is Django's. Its cells take the row path, except for conversions that are known
to lead back to the text that the server has sent.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any, Final

from async_downloads.db_csv import output
from async_downloads.db_csv.dialect import PLAIN_PLACES, Labels, Report, Statement, WriteRows
from async_downloads.db_csv.labels import label_of

__all__ = ["writer_for"]

#: The days that every year has, as the text of a date has them.
_EACH_YEARS: Final = frozenset(
    f"-{month:02}-{day:02}"
    for month, days in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1)
    for day in range(1, days + 1)
)


def writer_for(statement: Statement, escape_formulas: bool) -> WriteRows | None:
    """Return a function that writes the rows, if other statements can use another connection.

    In a transaction they could not.
    """
    connection = statement.connection
    fits = (
        # A union that is sorted by a column that is not selected has one column more.
        not statement.is_combined
        and not connection.in_atomic_block
        and output.is_builtin_backend(connection)
        and connection.get_autocommit()
        and not connection.execute_wrappers
        and connection.Database.__name__ == "MySQLdb"
    )
    return partial(_write, statement, escape_formulas) if fits else None


def _write(
    statement: Statement,
    escape_formulas: bool,
    stream: IO[bytes],
    encoding: str,
    report: Report,
) -> int:
    """Write the rows of an unbuffered cursor: neither side holds more than a few."""
    connection = statement.connection
    connection.ensure_connection()
    driver = connection.connection
    with connection.wrap_database_errors, output.report_beside(connection, report) as beside:
        cursor = driver.cursor(connection.Database.cursors.SSCursor)
        try:
            parsers = driver.converter
            texts = {} if escape_formulas else dict.fromkeys(_types_as_text(connection), str)
            driver.converter = {**parsers, **texts}
            try:
                cursor.execute(statement.sql, statement.params)
            finally:
                driver.converter = parsers
            convert = _row_converter(statement, cursor, {kind: parsers[kind] for kind in texts})
            return output.write_rows(
                cursor.fetchmany,
                stream,
                encoding,
                beside,
                convert,
                escape_formulas=escape_formulas,
            )
        finally:
            # Reads the remaining rows, without which the connection could not be used again.
            cursor.close()


def _row_converter(
    statement: Statement, cursor: Any, parsers: dict[int, Any]
) -> Callable[[Any], Any] | None:
    """Return what converts each row; None if rows are printed as they are.

    Args:
        statement: Has been executed.
        cursor: Has the result.
        parsers: The driver's own, by types of columns that are text here.
    """
    columns, width = cursor.description, len(statement.cells)
    if not statement.has_columns(len(columns)):
        raise RuntimeError(f"{len(columns)} columns instead of {width}.")
    steps = []
    for number, (expression, converters) in enumerate(statement.cells):
        column, flags = columns[number], cursor.description_flags[number]
        parse = parsers.get(column[1])
        convert = partial(_converted, parse, converters, expression, statement.connection)
        labels = statement.labels[number]
        if labels is None:
            step = _step(statement.connection, column, flags, converters, parse, convert)
        else:
            step = partial(_label, labels, convert if parse or converters else None)
        if step is not None:
            steps.append((number, step))
    if not steps and len(columns) == width:
        return None
    return partial(_converted_row, steps, width)


def _step(
    connection: Any,
    column: Any,
    flags: int,
    converters: Any,
    parse: Any,
    convert: Callable[[Any], Any],
) -> Callable[[Any], Any] | None:
    """Return what converts the cells of a column; None if they are printed as they are."""
    types, signs = _constants(connection)
    if parse is None:
        return convert if converters else None
    if column[1] in {types.DECIMAL, types.NEWDECIMAL}:
        zerofill = flags & signs.ZEROFILL
        plain = column[5] <= PLAIN_PLACES and not zerofill and not converters
        return None if plain else convert
    if column[1] == types.DATE:
        return convert if converters else partial(_day, convert)
    if not converters:
        return partial(_moment, convert, "")
    in_utc = connection.timezone_name == "UTC"
    if in_utc and list(converters) == [connection.ops.convert_datetimefield_value]:
        return partial(_moment, convert, "+00:00")
    return convert


def _label(labels: Labels, convert: Callable[[Any], Any] | None, value: Any) -> Any:
    """Return the label of a value, or the value if it has none."""
    if convert is not None:
        value = convert(value)
    return label_of(labels, value)


def _constants(connection: Any) -> tuple[Any, Any]:
    """Return the driver's constants for types of columns and for their flags."""
    constants = connection.Database.constants
    return constants.FIELD_TYPE, constants.FLAG


def _types_as_text(connection: Any) -> Iterable[int]:
    """Return the types of columns that stay text, if the driver parses them in its usual way."""
    types, _signs = _constants(connection)
    candidates = (types.DECIMAL, types.NEWDECIMAL, types.DATE, types.DATETIME, types.TIMESTAMP)
    usual, actual = connection.Database.converters.conversions, connection.connection.converter
    return [kind for kind in candidates if actual.get(kind) is usual[kind]]


def _converted_row(
    steps: list[tuple[int, Callable[[Any], Any]]], cells: int, row: tuple[Any, ...]
) -> list[Any]:
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
    """Return a value as the driver and Django would convert it."""
    if parse is not None and value is not None:
        value = parse(value)
    for convert in converters:
        value = convert(value, expression, connection)
    return value


def _day(convert: Callable[[Any], Any], text: str | None) -> Any:
    """Return the text of a day that every year has; convert other text."""
    if text is None or (text[4:] in _EACH_YEARS and text[:4] != "0000"):
        return text
    return convert(text)


def _moment(convert: Callable[[Any], Any], offset: str, text: str | None) -> Any:
    """Return the text of a date and time on a day that every year has; convert other text."""
    if text is None:
        return None
    if text[4:10] in _EACH_YEARS and text[:4] != "0000":
        if len(text) == 19:
            return text + offset
        if len(text) == 26:
            return (text if text[20:] != "000000" else text[:19]) + offset
    return convert(text)
