"""From the content of a download to a whole file in the storage."""

import time
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from operator import itemgetter
from typing import IO, Any, Final, Protocol, cast

from django.core.files import File
from django.db import connections
from django.db.models import DateTimeField, QuerySet
from django.db.models.query import ValuesListIterable

from async_downloads import db_csv, settings, store
from async_downloads.building import limits, progress
from async_downloads.building.columns import VERBOSE, SelectedColumns
from async_downloads.building.sources import AsyncFile, check_file, pieces_of, read
from async_downloads.exceptions import DownloadError
from async_downloads.files import storage
from async_downloads.formats import Column, Format, Options, csv, registry
from async_downloads.formats.rows import Batches, Converter, check_header, is_flat
from async_downloads.store.transactions import DatabaseFault, in_savepoint
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit, time_limit_in

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
        # A recorded failure is final, and a queue need not repeat the task. Others are raised, and
        # that of a time limit, unless the task has a message in its place: the task has to end.
        if error is not attempt.recorded_error:
            raise
        if not isinstance(error, DownloadError) and time_limit_in(error):
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

    source: IO[bytes] | AsyncFile

    def __post_init__(self) -> None:
        """Check the file before anything is written.

        Raises:
            TypeError: It is not opened for reading, or reads text.
        """
        check_file(self.source)

    def name_for(self, requested: str) -> str:
        """Return the requested name: only the caller knows the format of the file."""
        return requested

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Copy the file in pieces."""

        def copy_pieces(pieces: Iterable[bytes]) -> None:
            for piece in attempt.with_heartbeats(pieces):
                stream.write(piece)

        read(pieces_of(self.source, PIECE_SIZE), copy_pieces, max_items=1)

    def close(self) -> None:
        """Leave the caller's file open."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        rows: An iterable or async iterable, which is read once.
        encoding: The encoding of text.
        header: A row before the others, which is not counted.
        expected: The number of rows, or a callable that returns it.
        format: The format to write; if left out, the one that the file name means.
        row_function: Makes the cells of each object in ``rows``, with progress. If left out,
            each object is a row; then a queryset reports progress, other iterables do not.
        labels: Whether choices are written as their labels, by the fields of a queryset.
        time_zone: The time zone to which times are converted; None to leave them.
        localize: Whether text shows numbers and dates as the active language does.
        columns: The columns of rows that a row function makes; their fields decide the types
            of a format that has types.
    """

    rows: Iterable[Any] | AsyncIterable[Any]
    encoding: str = "utf-8"
    header: Iterable[Any] | None = None
    expected: Expected = None
    format: Format | None = None
    row_function: Callable[[Any], Iterable[Any]] | None = None
    labels: bool = False
    time_zone: tzinfo | None = None
    localize: bool = False
    columns: Sequence[Column] = ()

    def __post_init__(self) -> None:
        """Check the arguments before anything is written.

        Raises:
            TypeError: ``expected`` is not an integer, or ``header`` is not a header.
            ValueError: The encoding is unknown, ``expected`` is below 0, or verbose names or
                labels are wanted of other rows than those of a ``values()`` or
                ``values_list()`` queryset.
        """
        csv.check_encoding(self.encoding)
        check_expected_rows(self.expected)
        if self.header != VERBOSE:
            check_header(self.header)
        if (self.labels or self.header == VERBOSE) and self._selected is None:
            wanted = "labels=True" if self.labels else f"header={VERBOSE!r}"
            raise ValueError(
                f"{wanted} needs the rows of a values() or values_list() queryset, "
                f"not {type(self.rows).__name__}."
            )

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
        chosen = self._format_of(name, attempt)
        options = self._options(name, attempt)
        labels = self._selected.labels if self.labels and self._selected else []
        if chosen is registry.CSV and stream.seekable() and self._may_skip_rows(options):
            write_rows = db_csv.writer_for(
                self.rows, escape_formulas=options.escape_formulas, labels=labels
            )
            if write_rows is not None:
                # Only the header and the byte order mark, if there are any.
                chosen.write((), stream, options)
                return self._write_by_database(write_rows, attempt, stream, before, counts=counts)
        in_zone: dict[type, Converter] = {}
        if self.time_zone is not None:
            in_zone[datetime] = partial(_in_zone, self.time_zone)

        def report(rows: int, now: float) -> bool:
            if now < attempt.next_heartbeat:
                return False
            attempt.report_rows(before + rows)
            return True

        def write_items(items: Iterable[Any]) -> int:
            objects = self._open(items, attempt, counts=counts)
            rows = self._rows_of(objects, labels, attempt, before)
            limited = limits.rows_within_limit(rows, header=options.header is not None)
            try:
                batches = Batches(
                    limited,
                    options.header,
                    context=attempt.writing,
                    report=report,
                    adjust=in_zone,
                )
                return chosen.write(batches, stream, options)
            finally:
                if isinstance(objects, Generator):
                    # The traceback of an error would keep it alive, and the cursor that it reads.
                    objects.close()

        return read(self.rows, write_items)

    def close(self) -> None:
        """Close a generator of rows."""
        if isinstance(self.rows, Generator):
            self.rows.close()

    def _format_of(self, name: str, attempt: store.Attempt) -> Format:
        """Return the format of a file of this name."""
        if self.format is not None:
            return self.format
        if meant := registry.meant_by(name):
            logger.warning(
                "The extension of %r means no format, so that the rows of download %s are CSV. "
                "Is %s meant?",
                *(name, attempt.download.download_key, meant),
            )
        return registry.for_filename(name)

    @property
    def _selected(self) -> SelectedColumns | None:
        """The columns of the rows, if a queryset selects them."""
        return None if self.row_function else SelectedColumns.of(self.rows)

    def _options(self, name: str, attempt: store.Attempt) -> Options:
        """Return the options of the writer."""
        selected, header = self._selected, self.header
        if selected is not None and header == VERBOSE:
            header = selected.headings
        own = name == attempt.output.filename
        return Options(
            name,
            None if header is None else list(header),
            self.encoding,
            bool(settings.ESCAPE_FORMULAS),
            title=registry.split(attempt.download.name if own else name)[0],
            creator=_owner_name(attempt),
            columns=self.columns if selected is None else selected.columns(labelled=self.labels),
            time_zone=self.time_zone,
            localize=self.localize,
        )

    def _may_skip_rows(self, options: Options) -> bool:
        """Return whether the database may make the file, without rows in this process."""
        if settings.MAX_ROWS is not None or self._selected is None or self.localize:
            return False
        # In UTC, it prints times as they are.
        alias = cast("QuerySet[Any]", self.rows).db
        if self.time_zone is None or str(self.time_zone) == connections[alias].timezone_name:
            return True
        fields = [column.field for column in options.columns]
        return not any(each is None or isinstance(each, DateTimeField) for each in fields)

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

    def _open(self, rows: Iterable[Any], attempt: store.Attempt, *, counts: bool) -> Iterable[Any]:
        """Return the objects; those of a queryset are read in chunks, once it is counted."""
        if not isinstance(rows, QuerySet):
            return rows
        if counts:
            attempt.rows_expected = _count(rows)
        return rows.iterator(chunk_size=CHUNK_SIZE)

    def _rows_of(
        self,
        objects: Iterable[Any],
        labels: Sequence[db_csv.Labels | None],
        attempt: store.Attempt,
        before: int,
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
        if labels and self._selected:
            rows = self._selected.labelled(rows, labels)
        return _with_progress(attempt, rows, before)


def _in_zone(zone: tzinfo, moment: datetime) -> datetime:
    """Return a moment in a time zone.

    It is unchanged if it has no zone, or is at the end of the calendar.
    """
    try:
        return moment if moment.tzinfo is None else moment.astimezone(zone)
    except OverflowError:
        return moment


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
    # Compiling a union changes this list, which its clones share.
    rows = rows.all()
    rows.query.selected = copy(rows.query.selected)
    try:
        return in_savepoint(rows.count, using=rows.db)
    except DatabaseFault as error:
        logger.warning("The rows of an export could not be counted: %s", error)
        return None


def _owner_name(attempt: store.Attempt) -> str:
    """Return the name of the owner; empty if the site's user model fails to give it."""
    try:
        return attempt.download.collection.owner.name
    except Exception as error:  # noqa: BLE001 (the log has it: the cache entry needs the name too)
        raise_time_limit(error)
        return ""
