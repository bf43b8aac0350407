"""Types that the modules of the databases share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol

__all__ = ["PLAIN_PLACES", "Labels", "Report", "Statement", "WriteRows"]

#: Python prints a decimal number with up to so many places without an exponent.
PLAIN_PLACES: Final = 6

#: Labels that replace values, such as those of choices.
Labels = Mapping[Any, str]

#: Takes the number of rows that are written so far. An exception in it ends the writing and
#: leaves the connection fit for use. It may make queries, on any database.
Report = Callable[[int], None]


class WriteRows(Protocol):
    """Writes the bytes that the row path would write for the rows of a queryset."""

    def __call__(self, stream: IO[bytes], encoding: str, report: Report) -> int:
        """Write the rows, and return their number.

        Args:
            stream: Receives the bytes. It is left open.
            encoding: Any of Python's text encodings.
            report: Called every few hundred rows.

        Raises:
            DownloadError: A cell holds a character that the encoding lacks; the
                message names the row, counted from 1.
        """


@dataclass(frozen=True, slots=True)
class Statement:
    """The statement that Django runs for a queryset's rows.

    Attributes:
        connection: Django's connection to the database.
        sql: The text of the statement.
        params: Its parameters.
        cells: The expression of each cell with Django's converters for it, in order.
        sorts_by_more: Whether it sorts by further columns, which it selects behind those
            of the cells, and which are in no row.
        is_combined: Whether it is a union, an intersection or a difference.
        labels: For each cell, the labels of its column's values; None if they have none.
    """

    connection: Any
    sql: str
    params: tuple[Any, ...]
    cells: Sequence[tuple[Any, Sequence[Callable[..., Any]]]]
    sorts_by_more: bool
    is_combined: bool
    labels: Sequence[Labels | None]

    @property
    def expressions(self) -> list[Any]:
        """The expressions of the cells."""
        return [expression for expression, _converters in self.cells]

    def describe(self) -> tuple[Any, list[Any]]:
        """Ask the database for the columns of the statement, without running it.

        Returns:
            A closed cursor of Django's, and one description for each column. The list is
            empty if the columns are not those of the cells.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM ({self.sql}) selected LIMIT 0", self.params)  # noqa: S608
            columns = list(cursor.description)
        return cursor, columns if self.has_columns(len(columns)) else []

    def has_columns(self, count: int) -> bool:
        """Return whether a result with this number of columns has those of the cells."""
        more = count - len(self.cells)
        return more > 0 if self.sorts_by_more else more == 0
