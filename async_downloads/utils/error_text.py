"""How an exception is told: in short to the owner, in full to staff."""

import traceback
from typing import Final

from django.utils.translation import gettext_noop

from async_downloads.exceptions import DownloadError

__all__ = ["for_owner", "for_staff", "storable"]

#: Characters of one text that are kept: the beginning and the end of it.
MAX_CHARACTERS: Final = 100_000


def for_owner(error: BaseException) -> str:
    """Return what the owner may read of an exception.

    Its own text may hold table names, hosts or credentials, so only that of a
    ``DownloadError`` is told. A text of ours is translated when it is read, into
    the language of whoever reads it.
    """
    if isinstance(error, DownloadError) and str(error):
        return str(error)
    if isinstance(error, Exception):
        return gettext_noop("Something went wrong while the file was being made.")
    return gettext_noop("The file took too long, or its worker was stopped.")


def for_staff(error: BaseException) -> str:
    """Return an exception with its traceback."""
    return "".join(traceback.format_exception(error))


def storable(text: str) -> str:
    """Return a text that every database takes: no NUL, no half of a surrogate pair, no megabytes.

    A server closes the connection on what is larger than its packets.
    """
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
