"""The call that builds a download, as its row records it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

__all__ = ["MAX_TASK_LENGTH", "Call"]

#: Characters of a dotted path that a row can record.
MAX_TASK_LENGTH: Final = 255

#: Characters of the arguments. A database refuses a statement that is too long.
MAX_ARGUMENTS_LENGTH: Final = 1_000_000

#: What follows the arguments of a call that asks first.
ASKS_FIRST: Final = {"asks_first": True}


class Call(NamedTuple):
    """A task by its dotted path, with the arguments that follow the download key.

    Attributes:
        task: The dotted path.
        args: Positional arguments, as JSON has them.
        kwargs: Keyword arguments, likewise.
        asks_first: Whether a worker asks ``ASYNC_DOWNLOADS_MAY_START`` before it builds the file.
    """

    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    asks_first: bool = False

    @classmethod
    def recordable(cls, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Self | None:
        """Return a call, or None if a row cannot record it.

        A call that was read from the row must be the one that was written. So its arguments
        must be plain JSON values: a tuple would come back as a list, and a date as text.
        """
        call = cls(task, args, kwargs)
        if not (task and task.isascii() and len(task) <= MAX_TASK_LENGTH):
            return None
        try:
            if not (_is_json(list(args)) and _is_json(dict(kwargs))):
                return None
            arguments = call.arguments
            # JSON joins two halves of a character.
            survives = json.loads(arguments) == [list(args), dict(kwargs)]
            return call if survives and len(arguments) <= MAX_ARGUMENTS_LENGTH else None
        except (RecursionError, ValueError):
            # Nested too deeply; or NaN, or an integer too long for a text.
            return None

    @property
    def arguments(self) -> str:
        """The arguments as JSON: the same text for the same call."""
        values = [list(self.args), dict(sorted(self.kwargs.items()))]
        options = [ASKS_FIRST] if self.asks_first else []
        return json.dumps([*values, *options], allow_nan=False)

    @property
    def spellings(self) -> tuple[str, str]:
        """The arguments as JSON, as either kind of start records them."""
        plain, asking = (self._replace(asks_first=value).arguments for value in (False, True))
        return plain, asking

    @classmethod
    def read(cls, task: str, arguments: str) -> Self | None:
        """Return the call that two columns of a row record; None if they record none."""
        if not task or not arguments:
            return None
        args, kwargs, *options = json.loads(arguments)
        return cls(task, args, kwargs, asks_first=ASKS_FIRST in options)


def _is_json(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_json, value))
    return value is None or type(value) in {bool, int, float, str}
