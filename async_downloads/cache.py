"""The functions that a site's views and tasks call.

The name is that of 0.6, where the cache held all downloads. Now rows hold them, and the
cache only makes reads fast.
"""

import math
from collections.abc import AsyncIterable, Callable, Iterable
from datetime import tzinfo
from types import NoneType
from typing import IO, Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asgiref.sync import sync_to_async

from async_downloads import owners, store
from async_downloads.building import archive
from async_downloads.building.content import Content, Copy, Table, save
from async_downloads.building.progress import aupdate_percentage, update_percentage
from async_downloads.building.sources import AsyncFile
from async_downloads.formats import registry
from async_downloads.models.lifetime import Timeout
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger

__all__ = [
    "ainit_download",
    "asave_download",
    "aset_error",
    "aset_percentage",
    "aupdate_percentage",
    "cleanup_collection",
    "get_collection_key",
    "get_username",
    "init_download",
    "save_download",
    "set_error",
    "set_percentage",
    "update_percentage",
]

logger = get_logger(__name__)

#: Rows of cells, which are read once.
Rows = Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]]


def get_username(user: Any) -> str:
    """Return the name of an owner: a user name, or the text if no user has it.

    Args:
        user: As for ``init_download``.
    """
    return owners.resolve(user).name


def get_collection_key(user: Any) -> str:
    """Return the key of an owner's collection of downloads.

    Args:
        user: As for ``init_download``.
    """
    return owners.resolve(user).collection_key


def init_download(
    user: Any, filename: str, name: str | None = None, *, timeout: Timeout = "default"
) -> tuple[str, str]:
    """Create the record of a download that a worker will build.

    Call it in the web process, and pass the download key to the task.

    Args:
        user: The owner of the download: a user; the primary key of a user; or text, which
            is the user name of a user if there is one, and otherwise an owner by itself.
            Any other saved model instance is an owner by itself, such as a group.
            If the primary keys of users are integers, text is never a primary key.
        filename: The name under which the browser saves the file. It need
            not be unique.
        name: The name in the list; the file name if left out.
        timeout: Seconds from its end for which it is kept, rounded up; None until the owner
            clears it; ``"default"`` for ``ASYNC_DOWNLOADS_TIMEOUT``.

    Returns:
        The collection key and the download key.

    Raises:
        ObjectDoesNotExist: No user has this primary key.
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
        TypeError: ``user`` cannot name an owner, a name is not text, or ``timeout`` is not a
            number.
        ValueError: The user is anonymous or not saved, ``filename`` is empty, or ``timeout`` is
            not above 0 or more than a hundred years.
    """
    requested = store.RequestedFile.of(user, filename, name, timeout)
    return requested.owner.collection_key, store.create(requested).download_key


async def ainit_download(
    user: Any, filename: str, name: str | None = None, *, timeout: Timeout = "default"
) -> tuple[str, str]:
    """Do the same as ``init_download``, without blocking the event loop."""
    return await sync_to_async(init_download)(user, filename, name, timeout=timeout)


def save_download(
    download_key: str,
    iterable: Rows | None = None,
    file: IO[bytes] | AsyncFile | None = None,
    encoding: str = "utf-8",
    *,
    header: Iterable[Any] | Literal["verbose"] | None = None,
    expected_rows: int | Callable[[], int] | None = None,
    format: str | None = None,  # noqa: A002 (the word for it)
    members: archive.Members | None = None,
    labels: bool = False,
    time_zone: tzinfo | str | None = None,
    localize: bool = False,
) -> None:
    r"""Build the file of a download and finish it.

    A failure of the rows or of the storage is recorded and logged, but not raised, so that
    a queue does not repeat a task that has failed for good. An exception that ends the
    process (``SystemExit``, ``KeyboardInterrupt``, a queue's time-out) is recorded and
    raised again.

    If another attempt at the same download had a heartbeat lately, this one waits: it
    returns if the other one ends, and takes over if the other one has stalled.

    Args:
        download_key: The key that ``init_download`` returned. An unknown key is
            logged as a warning and changes nothing.
        iterable: Rows, each an iterable of cells, or a mapping whose keys the header names
            or labels. They are consumed once and never held in memory. A queryset reports
            progress by itself. For CSV, the database makes the text of a
            ``values_list()`` queryset, if that is known to give the same bytes. An async
            iterable is read on an event loop, some rows ahead of the file: it may change a
            row that it has yielded, but not the objects in its cells.
        file: A binary file object to store instead, read from its beginning if
            it is seekable. Its methods may be coroutines.
        encoding: The encoding of a text file.
        header: A row to write before the others, which is not counted. ``"verbose"`` stands
            for the verbose names of the columns that a ``values()`` or ``values_list()``
            queryset selects, in the active language.
        expected_rows: The number of rows, or a callable that returns it, which is
            called once the download is claimed. A file with fewer rows is shown as
            truncated. If left out, it is known for a queryset and for an iterable with
            a length.
        format: The format of the file, such as ``"xlsx"`` or ``"csv.gz"``. The file
            then gets the extension of the format, if it has another one. If left out,
            the extension of the file name decides; an unknown extension means CSV (as
            of ``csv.writer(lineterminator="\n")``).
        members: Several files for one ZIP file: a mapping of their names, or pairs
            that are read one by one. Each is rows, in the format that its name
            means; ``formats.Rows``, for rows with a header; a binary file; bytes; or
            a text. The pairs, the rows and the file may be async.
        labels: Whether the choices of a ``values()`` or ``values_list()`` queryset are written
            as their labels, in the active language.
        time_zone: The time zone in which times are written, or its name. If left out,
            spreadsheets show the current time zone, and other formats write times as the
            rows have them.
        localize: Whether CSV and TSV show numbers and dates as the active language does.
            Other formats keep the types of values.

    Raises:
        DownloadBusy: Another attempt at the same download is alive.
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        ImproperlyConfigured: ``format`` needs a package that is not installed.
        RuntimeError: The task has saved its file already, or is saving it.
        TypeError: ``file`` is not a binary file, ``header`` is not a header, ``time_zone`` is
            not a time zone, or ``expected_rows`` is neither an int nor callable.
        ValueError: Not exactly one of ``iterable``, ``file`` and ``members`` was given,
            the format, encoding or time zone is unknown or does not fit, ``expected_rows`` is
            below 0, or the rows have no verbose names or labels.
    """
    if sum(given is not None for given in (iterable, file, members)) != 1:
        raise ValueError("save_download() needs either an iterable of rows, a file or members.")
    zone = _zone(time_zone)
    content: Content
    if iterable is not None:
        chosen = None if format is None else registry.named(format)
        content = Table(
            iterable,
            encoding,
            header,
            expected_rows,
            chosen,
            labels=labels,
            time_zone=zone,
            localize=localize,
        )
    elif members is not None:
        _refuse_unless(
            header is None and not labels, "members have headers and labels by formats.Rows"
        )
        _refuse_unless(format in {None, registry.ZIP.name}, "members make a ZIP file")
        content = archive.Archive(
            members, encoding, expected_rows, time_zone=zone, localize=localize
        )
    else:
        _refuse_unless(format is None, "a file is stored as it is, without a format")
        _refuse_unless(not labels, "a file is stored as it is, without labels")
        content = Copy(cast("IO[bytes] | AsyncFile", file))
    save(download_key, content)


async def asave_download(
    download_key: str,
    iterable: Rows | None = None,
    file: IO[bytes] | AsyncFile | None = None,
    encoding: str = "utf-8",
    *,
    header: Iterable[Any] | Literal["verbose"] | None = None,
    expected_rows: int | Callable[[], int] | None = None,
    format: str | None = None,  # noqa: A002 (the word for it)
    members: archive.Members | None = None,
    labels: bool = False,
    time_zone: tzinfo | str | None = None,
    localize: bool = False,
) -> None:
    """Do the same as ``save_download``, without blocking the event loop.

    Async iterables are read on this event loop. All else happens in another thread, that of
    the ORM calls.
    """
    await sync_to_async(save_download)(
        download_key,
        iterable,
        file,
        encoding,
        header=header,
        expected_rows=expected_rows,
        format=format,
        members=members,
        labels=labels,
        time_zone=time_zone,
        localize=localize,
    )


def set_percentage(download_key: str, percentage: float) -> None:
    """Record the progress of a download.

    Args:
        download_key: The key of the download. An unknown key is logged as a warning.
        percentage: A number, which is clamped to 0 to 100 and truncated to an integer.

    Raises:
        DownloadCancelled: The download was cleared while this process writes it.
        ValueError: ``percentage`` is not a number.
    """
    try:
        number = float(percentage)
    except OverflowError:
        number = math.inf if percentage > 0 else -math.inf
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"percentage must be a number, not {percentage!r}.")
    store.set_percentage(download_key, int(min(max(number, 0), 100)))


async def aset_percentage(download_key: str, percentage: float) -> None:
    """Do the same as ``set_percentage``, without blocking the event loop."""
    await sync_to_async(set_percentage)(download_key, percentage)


def cleanup_collection(collection_key: str) -> None:
    """Delete the expired downloads of one collection, with their files.

    Args:
        collection_key: The key that ``init_download`` returned.
    """
    for collection in store.collections_by_key(collection_key):
        store.clean_up(collection=collection)


def set_error(download_key: str, error: object) -> None:
    """Record that a download failed.

    Args:
        download_key: The key of the download. An unknown key is logged as a warning; a
            complete download stays complete.
        error: A text or a ``DownloadError`` is shown to the owner. For any other
            exception, and without a text, the owner sees only that something went wrong,
            and staff see the exception.
    """
    logger.error("Download %s failed: %s", download_key, error)
    if isinstance(error, BaseException):
        store.set_error(
            download_key, error_text.for_owner(error), detail=error_text.for_staff(error)
        )
    else:
        # Without a reason, a template that shows reasons alone would show no failure.
        reason = "" if error is None else str(error)
        unknown = error_text.for_owner(Exception())
        store.set_error(download_key, reason if reason.strip() else unknown)


async def aset_error(download_key: str, error: object) -> None:
    """Do the same as ``set_error``, without blocking the event loop."""
    await sync_to_async(set_error)(download_key, error)


def _zone(time_zone: tzinfo | str | None) -> tzinfo | None:
    """Return the time zone that a name means.

    Raises:
        TypeError: It is neither a time zone nor text.
        ValueError: The name is unknown.
    """
    if not isinstance(time_zone, (str, tzinfo, NoneType)):
        raise TypeError(f"time_zone must be a time zone or its name, not {time_zone!r}.")
    if not isinstance(time_zone, str):
        return time_zone
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"time_zone {time_zone!r} is not a time zone, such as 'Europe/Berlin' or 'UTC'."
        ) from error


def _refuse_unless(fits: bool, reason: str) -> None:
    if not fits:
        raise ValueError(f"save_download(): {reason}.")
