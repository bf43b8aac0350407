"""Text that may hold characters which a column, a connection or a database lacks."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import DataError, OperationalError, transaction

from async_downloads.utils.error_text import storable

__all__ = ["backslashed", "underlined", "write_text"]

T = TypeVar("T")

#: What of a text is replaced, the least first: nothing; what the three bytes of MySQL's older
#: UTF-8 cannot hold; what is not Latin-1; what is not ASCII.
ABOVE: Final = (None, *(re.compile(rf"[^\0-{last}]") for last in ("\uffff", "\xff", "\x7f")))

#: Errors of MySQL and MariaDB about characters: an invalid one (1300), one that the column lacks
#: (1366), one that cannot be converted (3854, 3988).
MYSQL_REFUSALS: Final = {1300, 1366, 3854, 3988}


def backslashed(found: re.Match[str]) -> str:
    r"""Return a character as Python's escape sequence, such as ``\U0001f600``."""
    return found.group().encode("ascii", "backslashreplace").decode()


def underlined(found: re.Match[str]) -> str:
    """Return what stands for a character in the name of a file."""
    return "_"


def write_text(
    write: Callable[..., T],
    *texts: str,
    using: str,
    instead: Callable[[re.Match[str]], str] = backslashed,
) -> T:
    """Write texts as they are, or with as few characters replaced as the database demands.

    Args:
        write: Writes them to rows; it is called again if the database refuses them.
        *texts: Its arguments.
        using: The database.
        instead: Returns what is written instead of a character.

    Raises:
        DataError: It was refused in plain ASCII, too.
    """
    plain = [storable(text) for text in texts]
    forms = dict.fromkeys(
        tuple(text if above is None else above.sub(instead, text) for text in plain)
        for above in ABOVE
    )
    *likely, last = forms
    for form in likely:
        try:
            # What is refused would break a transaction of the caller's.
            with transaction.atomic(using=using):
                return write(*form)
        except (DataError, OperationalError, UnicodeEncodeError) as error:
            if not _is_refusal(error):
                raise
    return write(*last)


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, OperationalError):
        return bool(error.args) and error.args[0] in MYSQL_REFUSALS
    return True
