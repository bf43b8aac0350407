"""A ZIP file of any number of members, written as a stream."""

import itertools
import re
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import IO, Any, Final, Self, cast

from async_downloads.files.names import FALLBACK_NAME, split_name, stored_name, with_stored_end
from async_downloads.formats.base import Format, Options
from async_downloads.formats.sinks import Sink

__all__ = ["Archive", "write"]

EXTENSION: Final = ".zip"

#: Bytes of the path of a member. Most systems end a path at 4,096, wherever it is unpacked.
MAX_PATH: Final = 2000

#: What a member is that can be read by everybody, in the place where ZIP keeps it.
READABLE: Final = 0o644 << 16


class Archive:
    """A ZIP file in the making; a context manager that writes its end."""

    def __init__(self, stream: IO[bytes]):
        """Begin.

        Args:
            stream: Where the bytes go. It need not be able to seek, and is left open.
        """
        sink = cast("IO[bytes]", Sink(stream))
        self._file = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        #: Whether what has a path is a folder, by what file systems take for the same path.
        self._is_folder: dict[str, bool] = {}
        #: The last number that was given for a file or a folder, so that none is tried twice.
        self._numbers: dict[tuple[str, bool], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Give the stream that the bytes of a member are written to, before the next one begins.

        Args:
            name: What it is called, with folders if wished. What leads out of the
                archive is left out. A name that a file or a folder has gets a number.
        """
        told = zipfile.ZipInfo(self._name_for(name), time.localtime()[:6])
        told.compress_type = zipfile.ZIP_DEFLATED
        told.external_attr = READABLE
        # How large it becomes is not known before.
        with self._file.open(told, "w", force_zip64=True) as stream:
            yield stream

    def _name_for(self, name: str) -> str:
        """Return a path that no file and no folder of the archive has."""
        *folders, last = _parts(name)
        folder = ""
        for part in folders:
            folder = self._free(folder + part, "", folder=True) + "/"
        stem, extension = split_name(last)
        return self._free(folder + stem, extension, folder=False)

    def _free(self, stem: str, extension: str, *, folder: bool) -> str:
        """Return a path with a number before its extension, if it is taken without one.

        A folder may be there already, as long as it is not a file.
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
    """Return the folders and the name of a member, of which none leads anywhere else.

    Folders that make the path longer than ``MAX_PATH`` are left out, from the first.
    """
    parts = [part.strip() for part in re.split(r"[/\\]", name)]
    safe = [stored_name(part) for part in parts if part not in {"", ".", ".."}]
    sizes = itertools.accumulate(len(part.encode()) + 1 for part in reversed(safe))
    fitting = sum(size <= MAX_PATH for size in sizes)
    return safe[-fitting:] if safe else [FALLBACK_NAME]


def _key(path: str) -> str:
    """Return what is the same for paths that some file system takes for the same.

    Large letters are small ones there, and an accent is a part of its letter or is not.
    """
    decomposed = unicodedata.normalize("NFD", path)
    return unicodedata.normalize("NFD", decomposed.casefold())


def write(
    rows: Iterable[Iterable[Any]],
    stream: IO[bytes],
    options: Options,
    for_filename: Callable[[str], Format],
) -> int:
    """Write rows to an archive of one member.

    Args:
        rows: As for any writer.
        stream: As for any writer.
        options: Of the archive. Its name without ``.zip`` is that of the member.
        for_filename: Returns the format of the member by its name.
    """
    name = with_stored_end(re.split(r"[/\\]", options.name)[-1])
    if name.lower().endswith(EXTENSION):
        name = with_stored_end(name[: -len(EXTENSION)])
    found = for_filename(name)
    if not name.lower().endswith(found.extensions):
        name += found.extensions[0]
    with Archive(stream) as archive, archive.member(name) as member:
        return found.write(rows, member, replace(options, name=name))
