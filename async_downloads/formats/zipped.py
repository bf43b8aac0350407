"""A ZIP file of any number of members, written as a stream."""

import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, Any, Final, Self, cast

from async_downloads import files
from async_downloads.formats.base import Format, Options
from async_downloads.formats.sinks import Sink

__all__ = ["Archive", "write"]

EXTENSION: Final = ".zip"

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
        self._taken: set[str] = set()

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
                archive is left out, and what is taken gets a number.
        """
        told = zipfile.ZipInfo(self._name_for(name), time.localtime()[:6])
        told.compress_type = zipfile.ZIP_DEFLATED
        told.external_attr = READABLE
        # How large it becomes is not known before.
        with self._file.open(told, "w", force_zip64=True) as stream:
            yield stream

    def _name_for(self, name: str) -> str:
        parts = [part.strip() for part in re.split(r"[/\\]", name)]
        safe = [files.stored_name(part) for part in parts if part not in {"", ".", ".."}]
        path = PurePosixPath(*(safe or [files.FALLBACK_NAME]))
        # All of the extensions, so that the number comes before ".csv.gz".
        ending = "".join(path.suffixes)
        stem = path.name.removesuffix(ending)
        found, number = path, 1
        # Some file systems take large letters for small ones.
        while str(found).casefold() in self._taken:
            number += 1
            found = path.with_name(f"{stem} ({number}){ending}")
        self._taken.add(str(found).casefold())
        return str(found)


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
    name = re.split(r"[/\\]", options.name)[-1]
    if name.lower().endswith(EXTENSION):
        name = name[: -len(EXTENSION)]
    found = for_filename(name)
    if not name.lower().endswith(found.extensions):
        name += found.extensions[0]
    with Archive(stream) as archive, archive.member(name) as member:
        return found.write(rows, member, replace(options, name=name))
