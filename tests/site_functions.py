"""Functions of a site, as its settings name them, that answer what a test wants."""

from collections.abc import Callable
from typing import Any

__all__ = ["SiteFunction"]


class SiteFunction:
    """A function that notes its calls, and returns or raises an answer.

    Attributes:
        asked: What was noted of each call.
    """

    def __init__(self, note: Callable[..., Any], answer: Any):
        """Store what is noted.

        Args:
            note: Takes the arguments of a call, and returns what is noted of it.
            answer: What it returns until a test wants something else.
        """
        self.asked: list[Any] = []
        self._note = note
        self._first_answer = self._answer = answer

    def __call__(self, *args: Any) -> Any:
        self.asked.append(self._note(*args))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def begin(self) -> Callable[[Any], None]:
        """Forget earlier tests, and return a function that sets the answer."""
        self.asked.clear()
        self._answer = self._first_answer
        return self._set_answer

    def _set_answer(self, answer: Any) -> None:
        self._answer = answer
