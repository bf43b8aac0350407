"""Several files in one download: a ZIP file, written as a stream."""

import io
from collections.abc import AsyncIterable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import IO, Any

from async_downloads import store
from async_downloads.building.content import (
    Copy,
    Expected,
    Table,
    check_expected_rows,
    count_expected_rows,
)
from async_downloads.building.sources import read
from async_downloads.formats import Rows, csv, registry, zipped

__all__ = ["Archive", "Members"]

#: The members of an archive: a mapping of their names, or pairs of name and content.
Members = Mapping[str, Any] | Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Archive:
    """Members, each of which is read when its turn comes.

    Attributes:
        members: Names and contents: rows, ``Rows``, a binary file, bytes or a text.
        encoding: The encoding of texts.
        expected: The number of rows of all members, or a callable that returns it.
        time_zone: As for a ``Table``.
        localize: As for a ``Table``.
    """

    members: Members
    encoding: str = "utf-8"
    expected: Expected = None
    time_zone: tzinfo | None = None
    localize: bool = False

    def __post_init__(self) -> None:
        """Check the arguments before anything is written.

        Raises:
            TypeError: ``expected`` is not an integer.
            ValueError: The encoding is unknown, or ``expected`` is below 0.
        """
        csv.check_encoding(self.encoding)
        check_expected_rows(self.expected)

    def name_for(self, requested: str) -> str:
        """Return the requested name with the extension of a ZIP file."""
        return registry.with_extension(requested, registry.ZIP)

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Write the members one after the other, and count their rows."""
        attempt.rows_expected = count_expected_rows(self.expected)

        def write_pairs(pairs: Iterable[tuple[str, Any]]) -> int | None:
            total: int | None = None
            with zipped.Archive(stream) as archive:
                for name, content in pairs:
                    rows = self._write_member(attempt, archive, name, content, before=total or 0)
                    if rows is not None:
                        total = (total or 0) + rows
            return total

        pairs = self.members.items() if isinstance(self.members, Mapping) else self.members
        attempt.rows_written = read(pairs, write_pairs, max_items=1)

    def close(self) -> None:
        """Close a generator of pairs."""
        if isinstance(self.members, Generator):
            self.members.close()

    def _write_member(
        self,
        attempt: store.Attempt,
        archive: zipped.Archive,
        name: str,
        content: Any,
        *,
        before: int,
    ) -> int | None:
        """Write a member, and return the number of its rows; None if it has no rows."""
        if not isinstance(name, str):
            raise TypeError(f"The name of a member must be text, not {type(name).__name__}.")
        member = self._member_of(content)
        with archive.member(name) as stream:
            if isinstance(member, Table):
                return member.write_as(name, attempt, stream, before=before)
            member.write(attempt, stream)
            return None

    def _member_of(self, content: Any) -> Table | Copy:
        if isinstance(content, str):
            content = content.encode(self.encoding)
        if isinstance(content, (bytes, bytearray, memoryview)):
            content = io.BytesIO(content)
        if hasattr(content, "read"):
            return Copy(content)
        if not isinstance(content, Rows):
            content = Rows(content)
        return Table(
            content.rows,
            content.encoding or self.encoding,
            content.header,
            labels=content.labels,
            time_zone=self.time_zone,
            localize=self.localize,
        )
