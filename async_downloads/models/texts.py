"""Write text that may hold characters which a column, a connection or a database lacks."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import DataError, OperationalError, transaction

from async_downloads.utils.error_text import storable

__all__ = ["as_escape", "as_underscore", "write_text"]

T = TypeVar("T")

#: The characters to replace at each attempt, the fewest first: none; those beyond the three
#: bytes of MySQL's older UTF-8; those beyond Latin-1; those beyond ASCII.
REPLACED: Final = (None, *(re.compile(rf"[^\0-{last}]") for last in ("\uffff", "\xff", "\x7f")))

#: Errors of MySQL and MariaDB about characters: an invalid one (1300), one that the column lacks
#: (1366), one that cannot be converted (3854, 3988).
MYSQL_CHARACTER_ERRORS: Final = {1300, 1366, 3854, 3988}


def as_escape(match: re.Match[str]) -> str:
    r"""Return a character as Python's escape sequence, such as ``\U0001f600``."""
    return match.group().encode("ascii", "backslashreplace").decode()


def as_underscore(match: re.Match[str]) -> str:
    """Return the character that replaces another one in a file name."""
    return "_"


def write_text(
    write: Callable[..., T],
    *texts: str,
    using: str,
    replacement: Callable[[re.Match[str]], str] = as_escape,
) -> T:
    """Write texts as they are, or with as few characters replaced as the database demands.

    Args:
        write: Writes the texts to rows; called again if the database refuses them.
        *texts: Its arguments.
        using: The database.
        replacement: Returns the text that replaces a character.

    Raises:
        DataError: The database refused plain ASCII, too.
    """
    plain = [storable(text) for text in texts]
    forms = dict.fromkeys(
        tuple(text if pattern is None else pattern.sub(replacement, text) for text in plain)
        for pattern in REPLACED
    )
    *likely, last = forms
    for form in likely:
        try:
            # A refused text would break a transaction of the caller's.
            with transaction.atomic(using=using):
                return write(*form)
        except (DataError, OperationalError, UnicodeEncodeError) as error:
            if not _is_about_characters(error):
                raise
    return write(*last)


def _is_about_characters(error: Exception) -> bool:
    if isinstance(error, OperationalError):
        return bool(error.args) and error.args[0] in MYSQL_CHARACTER_ERRORS
    return True
