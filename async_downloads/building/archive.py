"""Several files in one download: a ZIP file, written as a stream."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from async_downloads import store
from async_downloads.building.content import Copy, Expected, Table, check_expected, rows_told
from async_downloads.formats import Rows, csv, registry, zipped

__all__ = ["Archive", "Members"]

#: The members of an archive: by their names, or one pair after the other.
Members = Mapping[str, Any] | Iterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Archive:
    """Members, each of which is made when it is its turn.

    Attributes:
        members: Names and what is in them: rows, ``Rows``, a binary file, bytes or a text.
        encoding: Of the texts.
        expected: How many rows there will be in all, or what returns it.
    """

    members: Members
    encoding: str = "utf-8"
    expected: Expected = None

    def __post_init__(self) -> None:
        """Refuse what cannot be written, before anything is.

        Raises:
            TypeError: ``expected`` is no whole number.
            ValueError: There is no such encoding, or ``expected`` is below 0.
        """
        csv.check_encoding(self.encoding)
        check_expected(self.expected)

    def name_for(self, asked: str) -> str:
        """Return the name with the extension of an archive."""
        return registry.with_extension(asked, registry.ZIP)

    def write(self, run: store.Attempt, stream: IO[bytes]) -> None:
        """Write them one after the other, and tell the run how many rows there are in all."""
        run.rows_expected = rows_told(self.expected)
        count: int | None = None
        with zipped.Archive(stream) as archive:
            for name, content in self._pairs():
                written = self._write_member(run, archive, name, content, before=count or 0)
                if written is not None:
                    count = (count or 0) + written
        run.rows_written = count

    def _pairs(self) -> Iterator[tuple[str, Any]]:
        if isinstance(self.members, Mapping):
            yield from self.members.items()
        else:
            yield from self.members

    def _write_member(
        self, run: store.Attempt, archive: zipped.Archive, name: str, content: Any, *, before: int
    ) -> int | None:
        """Write a member, and return how many rows it has; None if it is no rows."""
        if not isinstance(name, str):
            raise TypeError(f"The name of a member must be text, not {type(name).__name__}.")
        found = self._content_of(content)
        with archive.member(name) as stream:
            if isinstance(found, Table):
                return found.write_as(name, run, stream, before=before)
            found.write(run, stream)
            return None

    def _content_of(self, content: Any) -> Table | Copy:
        if isinstance(content, str):
            content = content.encode(self.encoding)
        if isinstance(content, (bytes, bytearray, memoryview)):
            content = io.BytesIO(content)
        if hasattr(content, "read"):
            return Copy(content)
        if not isinstance(content, Rows):
            content = Rows(content)
        return Table(content.rows, content.encoding or self.encoding, content.header)
