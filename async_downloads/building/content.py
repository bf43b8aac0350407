"""What a download is made of, to a whole file in the storage."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Any, Final, Protocol, cast

from django.core.files import File
from django.db import Error as DatabaseFault
from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.query import ValuesListIterable

from async_downloads import db_csv, settings, store
from async_downloads.building import limits
from async_downloads.files import storage
from async_downloads.formats import Format, Options, csv, registry
from async_downloads.formats.rows import Batches, check_header, is_flat
from async_downloads.utils.log import get_logger

__all__ = ["Content", "Copy", "Expected", "Table", "build", "check_expected", "rows_told"]

logger = get_logger(__name__)

#: Rows that are read from the database, and prefetched for, at a time.
CHUNK_SIZE: Final = 2000

#: Seconds of a statement that makes text after which its progress is worth a count and a write.
PROGRESS_AFTER: Final = 0.5

#: Bytes that are copied at a time.
PIECE_SIZE: Final = 1 << 20

#: How many rows there will be, or what returns it.
Expected = int | Callable[[], int | None] | None


class Content(Protocol):
    """What can be written to a file in the making."""

    def name_for(self, asked: str) -> str:
        """Return the name for the file, of the one that was asked for."""

    def write(self, run: store.Attempt, stream: IO[bytes]) -> None:
        """Write all of it, with signs of life of the run."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The bytes of a file of the caller's, so that the storage gets one that it may close.

    Attributes:
        source: Opened for reading; rewound if it can be.
    """

    source: IO[bytes]

    def __post_init__(self) -> None:
        """Refuse what cannot be copied, before anything is.

        Raises:
            TypeError: It is not opened for reading, or reads text.
        """
        read = getattr(self.source, "read", None)
        if not callable(read) or isinstance(read(0), str):
            raise TypeError("file must be a binary file object, opened for reading.")

    def name_for(self, asked: str) -> str:
        """Return the name that was asked for: whoever made the file knows what it is."""
        return asked

    def write(self, run: store.Attempt, stream: IO[bytes]) -> None:
        """Copy it in pieces."""
        if getattr(self.source, "seekable", lambda: False)():
            self.source.seek(0)
        for piece in run.with_heartbeats(iter(lambda: self.source.read(PIECE_SIZE), b"")):
            stream.write(piece)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        rows: Read once.
        encoding: Of the text.
        header: A row before the others that does not count as one.
        expected: How many rows there will be, or what returns it.
        format: What to write; as the name of the file says, if left out.
    """

    rows: Iterable[Iterable[Any]]
    encoding: str = "utf-8"
    header: Iterable[Any] | None = None
    expected: Expected = None
    format: Format | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be written, before anything is.

        Raises:
            TypeError: ``expected`` is no whole number, or ``header`` is not a header.
            ValueError: There is no such encoding, or ``expected`` is below 0.
        """
        csv.check_encoding(self.encoding)
        check_expected(self.expected)
        check_header(self.header)

    def name_for(self, asked: str) -> str:
        """Return the name with the extension of the format, where one was wished for."""
        return registry.with_extension(asked, self.format) if self.format else asked

    def write(self, run: store.Attempt, stream: IO[bytes]) -> None:
        """Write them, and tell the run how many they are."""
        run.rows_expected = self._expected()
        counts = self.expected is None and isinstance(self.rows, QuerySet)
        run.rows_written = self.write_as(run.output.filename, run, stream, counts=counts)

    def write_as(
        self,
        name: str,
        run: store.Attempt,
        stream: IO[bytes],
        *,
        before: int = 0,
        counts: bool = False,
    ) -> int:
        """Write them to a file of this name, and return how many they are.

        Args:
            name: Tells the format, where none was wished for.
            run: Gives signs of life.
            stream: Where the bytes go.
            before: How many rows of the download are written already.
            counts: Whether they are all rows of the download, of a queryset to be counted.
        """
        chosen = self.format or registry.for_filename(name)
        if self.format is None and (meant := registry.meant_by(name)):
            logger.warning(
                "The extension of %r means no format, so that the rows of download %s are CSV. "
                "Is %s meant?",
                *(name, run.download.download_key, meant),
            )
        header = None if self.header is None else list(self.header)
        options = Options(name, header, self.encoding, bool(settings.ESCAPE_FORMULAS))
        if chosen is registry.CSV and settings.MAX_ROWS is None and stream.seekable():
            text = db_csv.text_of(self.rows, escape_formulas=options.escape_formulas)
            if text is not None:
                # A header and a byte order mark, if there are any.
                chosen.write((), stream, options)
                return self._write_text(text, run, stream, before, counts=counts)

        def beat(rows: int, now: float) -> bool:
            if now < run.next_heartbeat:
                return False
            run.report_rows(before + rows)
            return True

        source = self._read(run, before, counts=counts)
        # Each value of a flat queryset is the one cell of a row, whatever it is.
        rows: Iterable[Any] = zip(source) if is_flat(self.rows) else source
        limited = limits.rows_within_limit(rows, header=header is not None)
        try:
            batches = Batches(limited, header, watched=run.writing, beat=beat)
            return chosen.write(batches, stream, options)
        finally:
            if isinstance(source, Generator):
                # An error holds on to it, and so to the cursor that it may read.
                source.close()

    def _write_text(
        self, text: db_csv.Text, run: store.Attempt, stream: IO[bytes], before: int, *, counts: bool
    ) -> int:
        """Write rows whose text the database makes."""
        due, counted = time.monotonic() + PROGRESS_AFTER, not counts

        def beat(rows: int) -> None:
            nonlocal counted
            run.report_rows(before + rows)
            if time.monotonic() < due:
                return
            if not counted:
                run.rows_expected, counted = _counted(cast("QuerySet[Any, Any]", self.rows)), True
            run.report_progress(run.rows_expected or 0, before + rows - 1)

        with run.writing():
            written = text.write(stream, encoding=self.encoding, beat=beat)
        if counts:
            # One statement sees all rows that there are, whatever was counted on the way.
            run.rows_expected = written
        return written

    def _expected(self) -> int | None:
        """Return how many rows there will be, as far as that is known."""
        if self.expected is not None:
            return rows_told(self.expected)
        if isinstance(self.rows, QuerySet):
            # It is counted when it is read.
            return None
        try:
            return len(cast("Any", self.rows))
        except TypeError:
            return None

    def _read(self, run: store.Attempt, before: int, *, counts: bool) -> Iterable[Iterable[Any]]:
        """Return the rows; those of a queryset in chunks, and with progress."""
        if not isinstance(self.rows, QuerySet):
            return self.rows
        if counts:
            run.rows_expected = _counted(self.rows)
        selected = len(self.rows.query.selected or ())
        rows: Iterator[Any] = self.rows.iterator(chunk_size=CHUNK_SIZE)
        if self.rows.query.combinator and issubclass(self.rows._iterable_class, ValuesListIterable):
            # Django puts what a union is sorted by into its rows.
            rows = map(itemgetter(slice(selected or None)), rows)
        return self._with_progress(run, rows, before)

    @staticmethod
    def _with_progress(
        run: store.Attempt, rows: Iterator[Iterable[Any]], before: int
    ) -> Iterator[Iterable[Any]]:
        report, total = run.report_progress, run.rows_expected or 0
        for index, row in enumerate(rows, before):
            yield row
            report(total, index)


def check_expected(expected: Expected) -> None:
    """Refuse what no file could be compared with, once all of it is written.

    Raises:
        TypeError: It is neither a whole number nor to be called.
        ValueError: It is below 0.
    """
    if expected is None or callable(expected):
        return
    if not isinstance(expected, int):
        raise TypeError(
            f"expected_rows must be a whole number or what returns one, not {expected!r}."
        )
    if expected < 0:
        raise ValueError(f"expected_rows must not be below 0, as {expected} is.")


def rows_told(expected: Expected) -> int | None:
    """Return how many rows there will be, as the caller tells.

    Raises:
        TypeError: What was called has returned no whole number.
        ValueError: It has returned one below 0.
    """
    told = expected() if callable(expected) else expected
    check_expected(told)
    return told


def _counted(rows: QuerySet[Any, Any]) -> int | None:
    """Return the number of rows; None if the database cannot count them, as it may yet give them.

    Django makes a wrong statement to count some querysets, and a count may take longer
    than a database lets a statement take.
    """
    inside = connections[rows.db].in_atomic_block
    # A union changes what it selects when it is compiled, and that of its clones.
    rows = rows.all()
    rows.query.selected = copy(rows.query.selected)
    try:
        with transaction.atomic(using=rows.db) if inside else nullcontext():
            return rows.count()
    except DatabaseFault as error:
        logger.warning("The rows of an export could not be counted: %s", error)
        return None


class _WatchedSpool(limits.Spool):
    """A file in the making whose run gives signs of life while its end is written.

    Between rows the run does so by itself. Some formats write most of their bytes after
    the last row, and that may take a while.
    """

    def __init__(self, run: store.Attempt, *, max_size: int):
        super().__init__(max_size=max_size)
        self._run = run

    def write(self, data: Any) -> int:
        if not self._run.is_writing and time.monotonic() >= self._run.next_heartbeat:
            self._run.heartbeat()
        return super().write(data)


def build(run: store.Attempt, content: Content) -> storage.StoredFile:
    """Write everything to a spool, and hand the whole of it to the storage.

    Args:
        run: Gives signs of life, and learns how many rows there are.
        content: What to write.

    Raises:
        DownloadCancelled: The claim is lost.
    """
    run.begin_file(content.name_for(run.download.filename))
    # 0 would mean that it never spools to disk.
    memory = max(1, int(settings.IN_MEMORY_MAX_SIZE_BYTES))
    with _WatchedSpool(run, max_size=memory) as spool:
        content.write(run, cast("IO[bytes]", spool))
        run.heartbeat()
        return storage.save(run.output.path, File(spool, run.output.filename))
