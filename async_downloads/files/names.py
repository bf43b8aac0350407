"""Names of files and their paths in the storage, without input or output."""

import posixpath
import re
import unicodedata
import uuid
from functools import lru_cache
from typing import Final

from django.utils import timezone
from pathvalidate import sanitize_filename

from async_downloads import settings

__all__ = [
    "FALLBACK_NAME",
    "beside",
    "dated_names",
    "download_key_of",
    "path_for",
    "shortened",
    "shown_name",
    "split_name",
    "stored_name",
    "with_stored_end",
    "with_suffix",
]

#: Most file systems end a name at 255 bytes. The rest is left to the storage, which
#: appends a few characters to a name that is taken.
MAX_NAME_BYTES: Final = 200

#: Characters that some file system refuses, besides control characters.
FORBIDDEN: Final = re.compile(r'[/\\:*?"<>|]')

#: Extensions of files that contain another file, whose extension is before them.
WRAPPING: Final = {".gz", ".zip"}

FALLBACK_NAME: Final = "download"


def dated_names(subject: str, extension: str) -> tuple[str, str]:
    """Return the name of a file with the date and time, and its name in the list with the date.

    Args:
        subject: The subject, such as "Open orders".
        extension: The extension of the file, with its dot.
    """
    now = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    filename = f"{subject.replace(' ', '_')}_{now:%Y-%m-%d_%H-%M}{extension}"
    return filename, f"{subject} {now:%Y-%m-%d}"


def shown_name(name: str) -> str:
    """Return a name without the characters that must not be shown.

    Control characters and marks that reverse the direction of text are dropped,
    because they can make a name look like another one.
    """
    return "".join(
        char
        for char in name
        if unicodedata.category(char) not in {"Cc", "Cs"}
        and unicodedata.bidirectional(char)
        not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    ).strip()


@lru_cache(maxsize=128)
def stored_name(filename: str) -> str:
    """Return a name like ``filename`` that every file system accepts.

    Slashes, reserved names and forbidden characters are dropped, and the rest is
    shortened to ``MAX_NAME_BYTES`` of UTF-8, with its extension.
    """
    # These are dropped first: after an extension, they would hide it.
    name = FORBIDDEN.sub("", shown_name(filename)).strip(". ")
    return sanitize_filename(shortened(name, MAX_NAME_BYTES)).strip(". ") or FALLBACK_NAME


def shortened(name: str, size: int) -> str:
    """Return a name of at most ``size`` bytes of UTF-8, with a shorter stem and its extension."""
    stem, extension = split_name(name)
    end = _shorten(extension, size // 2)
    return _shorten(stem, size - len(end.encode())) + end


def with_stored_end(filename: str) -> str:
    """Return a file name with the end of its ``stored_name``; it may be only an extension."""
    # Without a stem, an extension would lose its dot.
    return stored_name(f"_{filename}")[1:]


def split_name(name: str) -> tuple[str, str]:
    """Split a file name into stem and extension, such as ``.csv.gz``."""
    stem, extension = _split(name)
    if extension.lower() in WRAPPING:
        stem, inner = _split(stem)
        extension = inner + extension
    return stem, extension


def _split(name: str) -> tuple[str, str]:
    # splitext() finds no extension at the end of a name that begins with dots.
    stem, _dot, extension = name.rpartition(".")
    return (stem, f".{extension}") if stem else (name, "")


def path_for(download_key: str, filename: str) -> str:
    """Return the requested path of a download's file."""
    return posixpath.join(settings.PATH_PREFIX, download_key, stored_name(filename))


def beside(path: str, filename: str) -> str:
    """Return the path of a file with another name in the folder of ``path``."""
    return posixpath.join(posixpath.dirname(path), stored_name(filename))


def with_suffix(path: str, suffix: str) -> str:
    """Return ``path`` with a suffix after its stem."""
    folder, name = posixpath.split(path)
    stem, extension = posixpath.splitext(name)
    return posixpath.join(folder, f"{stem}_{suffix}{extension}")


def download_key_of(text: object) -> uuid.UUID | None:
    """Return the download key that a text spells exactly, or None."""
    try:
        key = uuid.UUID(str(text))
    except ValueError:
        return None
    return key if str(key) == text else None


def _shorten(text: str, size: int) -> str:
    """Return the beginning of a text that fits in ``size`` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
