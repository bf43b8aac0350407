"""From the content of a download to a whole file in the storage."""

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
from async_downloads.building import limits, progress
from async_downloads.files import storage
from async_downloads.formats import Format, Options, csv, registry
from async_downloads.formats.rows import Batches, check_header, is_flat
from async_downloads.utils.log import get_logger

__all__ = [
    "CHUNK_SIZE",
    "Content",
    "Copy",
    "Expected",
    "Table",
    "check_expected_rows",
    "count_expected_rows",
    "save",
]

logger = get_logger(__name__)

#: Objects that are read from the database, and prefetched for, at a time.
CHUNK_SIZE: Final = 2000

#: While the database makes the CSV, progress is counted and recorded after so many seconds.
PROGRESS_AFTER: Final = 0.5

#: Bytes that are copied at a time.
PIECE_SIZE: Final = 1 << 20

#: The number of rows, or a callable that returns it.
Expected = int | Callable[[], int | None] | None


class Content(Protocol):
    """The content of a download."""

    def name_for(self, requested: str) -> str:
        """Return the name of the file, given the requested name."""

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Write all of the content, with heartbeats of the attempt."""

    def close(self) -> None:
        """Close what was read, so that generators run their ``finally`` now."""


def save(download_key: str, content: Content) -> None:
    """Claim a download, build its file and finish it; see ``save_download``.

    Args:
        download_key: The key of the download.
        content: The content of the file.

    Raises:
        DownloadBusy: Another attempt at the same download is alive.
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        RuntimeError: The task has saved its file already, or is saving it.
    """
    attempt = store.join(download_key, any_thread=True) or store.claim(download_key)
    if attempt is None:
        return
    try:
        with store.saving(attempt), attempt:
            attempt.complete(_build(attempt, content))
    except Exception as error:
        # A recorded failure is final, and a queue need not repeat the task. Others are raised.
        if error is not attempt.recorded_error:
            raise
    finally:
        content.close()
        progress.forget(download_key)


def _build(attempt: store.Attempt, content: Content) -> storage.StoredFile:
    """Write the content to a spool, and store the whole file.

    Raises:
        DownloadCancelled: The claim is lost.
    """
    attempt.begin_file(content.name_for(attempt.download.filename))
    # 0 would mean that it never goes to disk.
    memory = max(1, int(settings.IN_MEMORY_MAX_SIZE_BYTES))
    with _HeartbeatSpool(attempt, max_size=memory) as spool:
        content.write(attempt, cast("IO[bytes]", spool))
        attempt.heartbeat()
        return storage.save(attempt.output.path, File(spool, attempt.output.filename))


class _HeartbeatSpool(limits.Spool):
    """A spool whose writes are heartbeats while the end of a file is written.

    Between rows, the attempt has heartbeats by itself. Some formats write most of their
    bytes after the last row, and that may take a while.
    """

    def __init__(self, attempt: store.Attempt, *, max_size: int):
        super().__init__(max_size=max_size)
        self._attempt = attempt

    def write(self, data: Any) -> int:
        if not self._attempt.is_writing and time.monotonic() >= self._attempt.next_heartbeat:
            self._attempt.heartbeat()
        return super().write(data)


@dataclass(frozen=True, slots=True)
class Copy:
    """The bytes of the caller's file. The storage gets a copy, which it may close.

    Attributes:
        source: A binary file, opened for reading; rewound if it is seekable.
    """

    source: IO[bytes]

    def __post_init__(self) -> None:
        """Check the file before anything is written.

        Raises:
            TypeError: It is not opened for reading, or reads text.
        """
        read = getattr(self.source, "read", None)
        if not callable(read) or isinstance(read(0), str):
            raise TypeError("file must be a binary file object, opened for reading.")

    def name_for(self, requested: str) -> str:
        """Return the requested name: only the caller knows the format of the file."""
        return requested

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Copy the file in pieces."""
        if getattr(self.source, "seekable", lambda: False)():
            self.source.seek(0)
        for piece in attempt.with_heartbeats(iter(lambda: self.source.read(PIECE_SIZE), b"")):
            stream.write(piece)

    def close(self) -> None:
        """Leave the caller's file open."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        rows: An iterable, which is read once.
        encoding: The encoding of text.
        header: A row before the others, which is not counted.
        expected: The number of rows, or a callable that returns it.
        format: The format to write; if left out, the one that the file name means.
        row_function: Makes the cells of each object in ``rows``, with progress. If left out,
            each object is a row; then a queryset reports progress, other iterables do not.
    """

    rows: Iterable[Any]
    encoding: str = "utf-8"
    header: Iterable[Any] | None = None
    expected: Expected = None
    format: Format | None = None
    row_function: Callable[[Any], Iterable[Any]] | None = None

    def __post_init__(self) -> None:
        """Check the arguments before anything is written.

        Raises:
            TypeError: ``expected`` is not an integer, or ``header`` is not a header.
            ValueError: The encoding is unknown, or ``expected`` is below 0.
        """
        csv.check_encoding(self.encoding)
        check_expected_rows(self.expected)
        check_header(self.header)

    def name_for(self, requested: str) -> str:
        """Return the requested name, with the extension of the format if there is one."""
        return registry.with_extension(requested, self.format) if self.format else requested

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Write the rows, and count them."""
        attempt.rows_expected = self._expected_rows()
        counts = self.expected is None and isinstance(self.rows, QuerySet)
        attempt.rows_written = self.write_as(
            attempt.output.filename, attempt, stream, counts=counts
        )

    def write_as(
        self,
        name: str,
        attempt: store.Attempt,
        stream: IO[bytes],
        *,
        before: int = 0,
        counts: bool = False,
    ) -> int:
        """Write the rows to a file of this name, and return their number.

        Args:
            name: Decides the format, if the table has none.
            attempt: Gets heartbeats and progress.
            stream: Receives the bytes.
            before: The number of rows of the download that are written already.
            counts: Whether the rows are a queryset that must be counted, and all rows of
                the download.
        """
        chosen = self.format or registry.for_filename(name)
        if self.format is None and (meant := registry.meant_by(name)):
            logger.warning(
                "The extension of %r means no format, so that the rows of download %s are CSV. "
                "Is %s meant?",
                *(name, attempt.download.download_key, meant),
            )
        header = None if self.header is None else list(self.header)
        options = Options(name, header, self.encoding, bool(settings.ESCAPE_FORMULAS))
        if (
            chosen is registry.CSV
            and settings.MAX_ROWS is None
            and stream.seekable()
            and self.row_function is None
        ):
            write_rows = db_csv.writer_for(self.rows, escape_formulas=options.escape_formulas)
            if write_rows is not None:
                # Only the header and the byte order mark, if there are any.
                chosen.write((), stream, options)
                return self._write_by_database(write_rows, attempt, stream, before, counts=counts)

        def report(rows: int, now: float) -> bool:
            if now < attempt.next_heartbeat:
                return False
            attempt.report_rows(before + rows)
            return True

        objects = self._open(attempt, counts=counts)
        rows = self._rows_of(objects, attempt, before)
        limited = limits.rows_within_limit(rows, header=header is not None)
        try:
            batches = Batches(limited, header, context=attempt.writing, report=report)
            return chosen.write(batches, stream, options)
        finally:
            if isinstance(objects, Generator):
                # The traceback of an error would keep it alive, and the cursor that it reads.
                objects.close()

    def close(self) -> None:
        """Close a generator of rows."""
        if isinstance(self.rows, Generator):
            self.rows.close()

    def _write_by_database(
        self,
        write_rows: Callable[[IO[bytes], str, Callable[[int], None]], int],
        attempt: store.Attempt,
        stream: IO[bytes],
        before: int,
        *,
        counts: bool,
    ) -> int:
        """Write CSV that the database makes, and return the number of rows."""
        due, counted = time.monotonic() + PROGRESS_AFTER, not counts

        def report(rows: int) -> None:
            nonlocal counted
            attempt.report_rows(before + rows)
            if time.monotonic() < due:
                return
            if not counted:
                attempt.rows_expected, counted = _count(cast("QuerySet[Any]", self.rows)), True
            attempt.report_progress(attempt.rows_expected or 0, before + rows - 1)

        with attempt.writing():
            rows = write_rows(stream, self.encoding, report)
        if counts:
            # The statement has read all rows, whatever was counted on the way.
            attempt.rows_expected = rows
        return rows

    def _expected_rows(self) -> int | None:
        """Return the number of rows, if it is known before they are read."""
        if self.expected is not None:
            return count_expected_rows(self.expected)
        if isinstance(self.rows, QuerySet):
            # ``write_as`` counts it.
            return None
        try:
            return len(cast("Any", self.rows))
        except TypeError:
            return None

    def _open(self, attempt: store.Attempt, *, counts: bool) -> Iterable[Any]:
        """Return the objects; those of a queryset are read in chunks, once it is counted."""
        if not isinstance(self.rows, QuerySet):
            return self.rows
        if counts:
            attempt.rows_expected = _count(self.rows)
        return self.rows.iterator(chunk_size=CHUNK_SIZE)

    def _rows_of(
        self, objects: Iterable[Any], attempt: store.Attempt, before: int
    ) -> Iterable[Any]:
        """Return the rows for the objects, with progress if there is any."""
        rows = objects
        if self.row_function is not None:
            rows = map(self.row_function, objects)
        elif not isinstance(self.rows, QuerySet):
            return objects
        elif is_flat(self.rows):
            # Each value is the only cell of its row, even if it is a list.
            rows = zip(objects)
        elif self.rows.query.combinator and issubclass(
            self.rows._iterable_class, ValuesListIterable
        ):
            # Django puts the columns by which a union is sorted into its rows.
            selected = len(self.rows.query.selected or ())
            rows = map(itemgetter(slice(selected or None)), objects)
        return _with_progress(attempt, rows, before)


def _with_progress(attempt: store.Attempt, rows: Iterable[Any], before: int) -> Iterator[Any]:
    report, total = attempt.report_progress, attempt.rows_expected or 0
    for index, row in enumerate(rows, before):
        yield row
        report(total, index)


def check_expected_rows(expected: Expected) -> None:
    """Check a number of rows that the whole file will be compared with.

    Raises:
        TypeError: It is neither an integer nor callable.
        ValueError: It is below 0.
    """
    if expected is None or callable(expected):
        return
    if not isinstance(expected, int):
        raise TypeError(f"expected_rows must be an int or a callable, not {expected!r}.")
    if expected < 0:
        raise ValueError(f"expected_rows must not be below 0, as {expected} is.")


def count_expected_rows(expected: Expected) -> int | None:
    """Return the number of rows, if necessary by a call.

    Raises:
        TypeError: The callable did not return an integer.
        ValueError: The number is below 0.
    """
    number = expected() if callable(expected) else expected
    check_expected_rows(number)
    return number


def _count(rows: "QuerySet[Any]") -> int | None:
    """Return the number of rows, or None if the database cannot count them.

    For some querysets, Django makes a wrong statement to count them, and a count may take
    longer than the database allows. The rows may still be readable.
    """
    inside = connections[rows.db].in_atomic_block
    # Compiling a union changes this list, which its clones share.
    rows = rows.all()
    rows.query.selected = copy(rows.query.selected)
    try:
        with transaction.atomic(using=rows.db) if inside else nullcontext():
            return rows.count()
    except DatabaseFault as error:
        logger.warning("The rows of an export could not be counted: %s", error)
        return None
