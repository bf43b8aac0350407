"""What a download is made of, to a whole file in the storage."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, cast

from django.core.files import File
from django.db.models import QuerySet

from async_downloads import files, limits, settings, steps, store
from async_downloads.formats import csv

__all__ = ["Content", "Copy", "Table", "build"]

#: Rows that are read from the database at a time.
CHUNK_SIZE: Final = 2000

#: Bytes that are copied at a time.
PIECE_SIZE: Final = 1 << 20


class Content(Protocol):
    """What can be written to a file in the making."""

    def write(self, run: store.Run, stream: IO[bytes]) -> None:
        """Write all of it, with signs of life of the run."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The bytes of a file of the caller's, so that the storage gets one that it may close.

    Attributes:
        source: Opened for reading; rewound if it can be.
    """

    source: IO[bytes]

    def write(self, run: store.Run, stream: IO[bytes]) -> None:
        """Copy it in pieces."""
        if getattr(self.source, "seekable", lambda: False)():
            self.source.seek(0)
        for piece in run.watch(iter(lambda: self.source.read(PIECE_SIZE), b""), counted=False):
            stream.write(piece)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        rows: Read once.
        encoding: Of the text.
        header: A row before the others that does not count as one.
        expected: How many rows there will be, or what returns it.
    """

    rows: Iterable[Iterable[Any]]
    encoding: str
    header: Iterable[Any] | None = None
    expected: int | Callable[[], int] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be written, before anything is.

        Raises:
            ValueError: There is no such encoding.
        """
        csv.check_encoding(self.encoding)

    def write(self, run: store.Run, stream: IO[bytes]) -> None:
        """Write them as the text of a CSV file."""
        run.rows_expected = self._expected()
        header = () if self.header is None else (self.header,)
        rows = itertools.chain(header, run.watch(self._read(run)))
        written = csv.write(
            limits.rows_within_limit(rows),
            stream,
            encoding=self.encoding,
            escape_formulas=settings.ESCAPE_FORMULAS,
        )
        run.rows_written = written - len(header)

    def _expected(self) -> int | None:
        """Return how many rows there will be, as far as that is known."""
        if callable(self.expected):
            return self.expected()
        if self.expected is not None:
            return self.expected
        if isinstance(self.rows, QuerySet):
            return self.rows.count()
        try:
            return len(cast("Any", self.rows))
        except TypeError:
            return None

    def _read(self, run: store.Run) -> Iterable[Iterable[Any]]:
        """Return the rows; those of a queryset in chunks, and with progress."""
        if not isinstance(self.rows, QuerySet):
            return self.rows
        return self._with_progress(run, self.rows.iterator(chunk_size=CHUNK_SIZE))

    @staticmethod
    def _with_progress(run: store.Run, rows: Iterator[Iterable[Any]]) -> Iterator[Iterable[Any]]:
        key, total = run.download.download_key, run.rows_expected or 0
        for index, row in enumerate(rows):
            yield row
            steps.update_percentage(key, total, index)


def build(run: store.Run, content: Content) -> files.StoredFile:
    """Write everything to a spool, and hand the whole of it to the storage.

    Args:
        run: Gives signs of life, and learns how many rows there are.
        content: What to write.

    Raises:
        DownloadCancelled: The claim is lost.
    """
    # 0 would mean that it never spools to disk.
    memory = max(1, int(settings.IN_MEMORY_MAX_SIZE_BYTES))
    with limits.Spool(max_size=memory) as spool:
        content.write(run, cast("IO[bytes]", spool))
        run.beat()
        return files.save(run.path, File(spool, run.download.filename))
