"""A queryset's statement, and text that can be made of its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

__all__ = ["Statement", "Text"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What Django runs for a queryset's rows, and what it makes of each cell.

    Attributes:
        connection: Django's.
        sql: The statement.
        params: Of the statement.
        cells: The expression of each cell with Django's converters for it, in order.
        sorts_by_more: Whether it selects more columns behind those of the cells, by
            which it sorts, and which are in no row.
        is_combined: Whether it is a union, or the like, of several.
    """

    connection: Any
    sql: str
    params: tuple[Any, ...]
    cells: Sequence[tuple[Any, Sequence[Callable[..., Any]]]]
    sorts_by_more: bool
    is_combined: bool

    @property
    def expressions(self) -> list[Any]:
        """The cells' expressions alone."""
        return [expression for expression, _converters in self.cells]

    def described(self) -> tuple[Any, list[Any]]:
        """Ask the database for the columns of the statement, of which it runs nothing.

        Returns:
            A cursor of Django's, closed, and one description for each column. The list is
            empty if the columns are not those of the cells.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM ({self.sql}) selected LIMIT 0", self.params)  # noqa: S608
            columns = list(cursor.description)
        return cursor, columns if self.selects(len(columns)) else []

    def selects(self, columns: int) -> bool:
        """Return whether a result of so many columns has those of the cells."""
        more = columns - len(self.cells)
        return more > 0 if self.sorts_by_more else more == 0


class Text(Protocol):
    """The text of a queryset's rows, before it is made."""

    def write(
        self, stream: IO[bytes], *, encoding: str = "utf-8", beat: Callable[[int], None]
    ) -> int:
        """Write the bytes that the row path writes of the rows.

        Args:
            stream: Where the bytes go. It is left open.
            encoding: Any of Python's text encodings.
            beat: Called every few hundred rows with the number of rows so far. What it
                raises ends the writing, and leaves the connection fit for use.
                Queries are allowed in it, on whichever database.

        Returns:
            The number of rows.

        Raises:
            DownloadError: A cell holds a character that the encoding lacks; the
                message names the row, counted from 1.
        """
