"""A ZIP file with any number of members, written as a stream."""

import itertools
import re
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, Final, Self, cast

from async_downloads.files.names import FALLBACK_NAME, split_name, stored_name, with_stored_end
from async_downloads.formats.base import Format, Options
from async_downloads.formats.sinks import Sink

__all__ = ["Archive", "write"]

EXTENSION: Final = ".zip"

#: Bytes of the path of a member. Most systems limit a path to 4,096, which includes the folder
#: that the archive is extracted to.
MAX_PATH: Final = 2000

#: Read permission for everyone, as ZIP stores it.
READABLE: Final = 0o644 << 16


class Archive:
    """Writes a ZIP file; a context manager that writes the end of the file."""

    def __init__(self, stream: IO[bytes]):
        """Begin the file.

        Args:
            stream: Receives the bytes. It need not be seekable, and is left open.
        """
        sink = cast("IO[bytes]", Sink(stream))
        self._file = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        #: Whether a path is a folder, by its normalised form.
        self._is_folder: dict[str, bool] = {}
        #: The last number given to a file or a folder of each name.
        self._numbers: dict[tuple[str, bool], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Yield the stream for the bytes of a member, which ends before the next one begins.

        Args:
            name: The name of the member, which may have folders. Parts that lead out of
                the archive are dropped. A name that is taken gets a number.
        """
        info = zipfile.ZipInfo(self._name_for(name), time.localtime()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = READABLE
        # Its size is not known before.
        with self._file.open(info, "w", force_zip64=True) as stream:
            yield stream

    def _name_for(self, name: str) -> str:
        """Return a path that is not taken by a file or a folder of the archive."""
        *folders, last = _parts(name)
        folder = ""
        for part in folders:
            folder = self._free(folder + part, "", folder=True) + "/"
        stem, extension = split_name(last)
        return self._free(folder + stem, extension, folder=False)

    def _free(self, stem: str, extension: str, *, folder: bool) -> str:
        """Return a path, with a number before its extension if it is taken without one.

        A folder may have the path of another folder.
        """
        counted = (_key(stem + extension), folder)
        number = self._numbers.get(counted, 1)
        while True:
            path = f"{stem} ({number}){extension}" if number > 1 else stem + extension
            key = _key(path)
            is_folder = self._is_folder.get(key)
            if is_folder is None or (is_folder and folder):
                break
            number += 1
        self._numbers[counted] = number
        self._is_folder[key] = folder
        return path


def _parts(name: str) -> list[str]:
    """Return the folders and the name of a member, without parts that lead out of the archive.

    If the path is longer than ``MAX_PATH``, the first folders are dropped.
    """
    parts = [part.strip() for part in re.split(r"[/\\]", name)]
    safe = [stored_name(part) for part in parts if part not in {"", ".", ".."}]
    sizes = itertools.accumulate(len(part.encode()) + 1 for part in reversed(safe))
    fitting = sum(size <= MAX_PATH for size in sizes)
    return safe[-fitting:] if safe else [FALLBACK_NAME]


def _key(path: str) -> str:
    """Return the normalised form of a path.

    It is the same for paths that some file system takes for the same: without regard to
    case, and to whether an accent is a character of its own.
    """
    decomposed = unicodedata.normalize("NFD", path)
    return unicodedata.normalize("NFD", decomposed.casefold())


def write(
    rows: Iterable[Iterable[Any]],
    stream: IO[bytes],
    options: Options,
    for_filename: Callable[[str], Format],
) -> int:
    """Write rows to an archive with one member, and return their number.

    Args:
        rows: As for any writer.
        stream: As for any writer.
        options: The options of the archive. Its name without ``.zip`` is that of the member.
        for_filename: Returns the format of the member by its name.
    """
    name = with_stored_end(re.split(r"[/\\]", options.name)[-1])
    if name.lower().endswith(EXTENSION):
        name = with_stored_end(name[: -len(EXTENSION)])
    chosen = for_filename(name)
    if not name.lower().endswith(chosen.extensions):
        name += chosen.extensions[0]
    with Archive(stream) as archive, archive.member(name) as member:
        return chosen.write(rows, member, replace(options, name=name))
