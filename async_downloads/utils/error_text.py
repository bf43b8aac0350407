"""The texts of an exception: a short one for the owner, a full one for staff."""

import traceback
from typing import Final

from django.utils.translation import gettext_noop

from async_downloads.exceptions import DownloadError

__all__ = ["for_owner", "for_staff", "storable"]

#: Characters that a text keeps: those of its beginning and of its end.
MAX_CHARACTERS: Final = 100_000


def for_owner(error: BaseException) -> str:
    """Return the text of an exception that the owner may read.

    The exception's own text may hold table names, hosts or credentials, so only that
    of a ``DownloadError`` is returned. Any other text is translated when it is shown,
    into the language of the reader.
    """
    if isinstance(error, DownloadError) and str(error):
        return str(error)
    if isinstance(error, Exception):
        return gettext_noop(
            "Something went wrong while creating the file. Please request it again."
        )
    return gettext_noop("It took too long, or was stopped. Please request it again.")


def for_staff(error: BaseException) -> str:
    """Return an exception with its traceback."""
    return "".join(traceback.format_exception(error))


def storable(text: str) -> str:
    """Return a text that every database accepts: no NUL, no lone surrogate, no megabytes.

    A server closes the connection on a text that is larger than its packets.
    """
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
