"""What there is to know of a kind of database that makes text."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import IO, Any, ClassVar, Final

from async_downloads.columns.kinds import Column

__all__ = ["PLAIN_PLACES", "Dialect"]

#: How many decimal places Python prints without an exponent, whatever the number.
PLAIN_PLACES: Final = 6


class Dialect(ABC):
    """How one kind of database makes text."""

    #: Whether a subquery that is ordered gives its rows in that order.
    keeps_order: ClassVar[bool]

    def __init__(self, connection: Any, columns: list[Any], escape_formulas: bool):
        """Prepare.

        Args:
            connection: Django's.
            columns: Each with its converters.
            escape_formulas: Whether text must not be taken for a formula.
        """
        self._connection = connection
        self._columns = columns
        self._escape = escape_formulas

    @abstractmethod
    def suits(self) -> bool:
        """Whether this connection can be used in its present state."""

    @abstractmethod
    def cell(self, column: Column, sql: str, number: int) -> str | None:
        """Return an expression for a cell's text: ``sql`` itself if that is it already.

        Args:
            column: What ``sql`` gives.
            sql: An expression, without parameters unless it is returned as it is.
            number: Of the column, counted from 0.

        Returns:
            Nothing if there is no such expression.
        """

    def row(self, cells: list[str]) -> str:
        """Return what is selected for a row of these cells."""
        return ", ".join(cells)

    @abstractmethod
    def write(
        self,
        sql: str,
        params: tuple[Any, ...],
        stream: IO[bytes],
        encoding: str,
        beat: Callable[[int], None],
    ) -> int:
        """Write the rows, and return how many there were."""
