"""The functions that a site's views and tasks call.

Named for the cache that once held everything; today the rows hold it, and the
cache only makes it fast.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Generator, Iterable
from typing import IO, Any, Final, cast

from django.core.files import File
from django.utils.functional import Promise

from async_downloads import failures, files, limits, owners, settings, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.formats import csv

__all__ = [
    "cleanup_collection",
    "get_collection_key",
    "get_username",
    "init_download",
    "save_download",
    "set_error",
    "set_percentage",
    "update_percentage",
]

logger = logging.getLogger(__name__)

#: Downloads whose last step is remembered by ``update_percentage``.
MAX_REMEMBERED_STEPS: Final = 1024


def get_username(user: Any) -> str:
    """Return the name of the user that a caller means, or the text that stands for itself.

    Args:
        user: As for ``init_download``.
    """
    return owners.resolve(user).name


def get_collection_key(user: Any) -> str:
    """Return the key of the collection that an owner's downloads are in.

    Args:
        user: As for ``init_download``.
    """
    return owners.resolve(user).collection_key


def init_download(user: Any, filename: str, name: str | None = None) -> tuple[str, str]:
    """Make the record of a download that a worker will build.

    Call it in the web process, and pass the download key to the task.

    Args:
        user: Whose download: a user; the primary key of one; or text, which is
            a user name if a user has it, and stands for itself if none has.
            Where users are numbered, no text is a primary key.
        filename: The name that the file is saved under when fetched. It need
            not be unique.
        name: What the list calls it; the file name if left out.

    Returns:
        The collection key and the download key.

    Raises:
        ObjectDoesNotExist: There is no user with this primary key.
        TooManyDownloadsError: The owner has as many in progress as ``ASYNC_DOWNLOADS_MAX_ACTIVE``.
        TypeError: ``user`` names nobody, or a name is no text.
        ValueError: The user is anonymous or not saved, or ``filename`` is empty.
    """
    for argument in (filename, name or ""):
        if not isinstance(argument, (str, Promise)):
            raise TypeError(f"A file name must be text, not {type(argument).__name__}.")
    shown = files.shown_name(str(filename))
    if not shown:
        raise ValueError("filename must not be empty.")
    owner = owners.resolve(user)
    download = store.create(owner, filename=shown, name=files.shown_name(str(name or "")) or shown)
    return owner.collection_key, download.download_key


def save_download(
    download_key: str,
    iterable: Iterable[Iterable[Any]] | None = None,
    file: IO[bytes] | None = None,
    encoding: str = "utf-8",
) -> None:
    r"""Build the file of a download and finish it.

    A failure while the rows are made or the file is stored is recorded, logged
    and not raised, so that a queue does not repeat what failed for good. What
    ends the process (``SystemExit``, ``KeyboardInterrupt``, a queue's time-out)
    is recorded and raised again.

    Where another run of the same download was heard of lately, this one waits
    for what becomes of it: it returns if the other ends, and takes over if the
    other has stalled.

    Args:
        download_key: The key that ``init_download`` returned. An unknown one is
            logged as a warning and changes nothing.
        iterable: Rows for a CSV file, each an iterable of cells, written with
            ``csv.writer(lineterminator="\n")``. It is consumed once and never
            held in memory.
        file: A binary file object to store instead, read from its beginning if
            it can be rewound.
        encoding: The encoding of the CSV file.

    Raises:
        DownloadBusy: Another run of the same download is alive.
        DownloadCancelled: The download was cleared, or taken over by another run.
        TypeError: ``file`` is not a binary file.
        ValueError: Neither or both of ``iterable`` and ``file`` were given, or
            there is no such encoding.
    """
    if (iterable is None) == (file is None):
        raise ValueError("save_download() needs either an iterable of rows or a file.")
    csv.check_encoding(encoding)
    if file is not None:
        _check_binary(file)
    run = store.join(download_key, any_thread=True) or store.claim(download_key)
    if run is None:
        return
    try:
        with run:
            run.complete(_build(run, iterable, file, encoding))
    except DownloadCancelled:
        raise
    except Exception:  # noqa: BLE001, S110 (the run has recorded and logged it)
        pass
    finally:
        if isinstance(iterable, Generator):
            # Its own finally is due now, and not when somebody drops it.
            iterable.close()
        _forget_steps(download_key)


def _build(
    run: store.Run,
    iterable: Iterable[Iterable[Any]] | None,
    file: IO[bytes] | None,
    encoding: str,
) -> files.StoredFile:
    """Write rows or a file to a spool, and hand the whole of it to the storage."""
    # 0 would mean that it never spools to disk.
    memory = max(1, int(settings.IN_MEMORY_MAX_SIZE_BYTES))
    with limits.Spool(max_size=memory) as spool:
        target = cast("IO[bytes]", spool)
        if iterable is not None:
            rows = limits.rows_within_limit(run.watch(iterable))
            escape = settings.ESCAPE_FORMULAS
            csv.write(rows, target, encoding=encoding, escape_formulas=escape)
        elif file is not None:
            _copy(run, file, target)
        run.beat()
        return files.save(run.path, File(spool, run.download.filename))


def set_percentage(download_key: str, percentage: float) -> None:
    """Set how much of a download is done.

    Args:
        download_key: Which download. An unknown one is logged as a warning.
        percentage: A number; it is cut to 0 to 100, and to a whole number.

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


_steps_lock: Final = threading.Lock()

#: What ``update_percentage`` last saw of each download: the total and the
#: resolution, the range of positions that belong to the step it is in, and the
#: run whose signs of life depend on these calls, because no rows are watched.
_steps: Final[dict[str, tuple[int, int, int, int, store.Run | None]]] = {}


def update_percentage(download_key: str, total: int, cur: int, resolution: int = 10) -> None:
    """Work out how much of a download is done, and record it at each step.

    Between two steps it costs a look into a dictionary, so call it for every row.

    Args:
        download_key: Which download. An unknown one is logged as a warning at
            each step.
        total: How many there are in all. Nothing is recorded of 0 or less.
        cur: The index of the one that was just done, counted from 0. It may
            advance by any stride.
        resolution: The number of steps from 0 to 100 %, from 1 to 100.

    Raises:
        DownloadCancelled: The download was cleared while this process writes it.
    """
    last = _steps.get(download_key)
    if last is not None and last[2] <= cur < last[3] and last[0] == total and last[1] == resolution:
        run = last[4]
        if run is None or time.monotonic() < run.next_beat:
            return
        # A run that failed may have been followed by another one in this process.
        if run is store.current_run(download_key):
            run.beat()
            return
    if not total > 0:
        return
    steps = int(min(max(resolution, 1), 100))
    step = int(min(max(cur + 1, 0), total) * steps // total)
    # A step begins at the smallest cur for which (cur + 1) * steps // total is that step.
    begin = -(-step * total // steps) - 1 if step else -sys.maxsize
    end = -(-(step + 1) * total // steps) - 1 if step < steps else sys.maxsize
    run = store.current_run(download_key)
    with _steps_lock:
        if last is None and len(_steps) >= MAX_REMEMBERED_STEPS:
            del _steps[next(iter(_steps))]
        alone = run is not None and not run.watching
        _steps[download_key] = (total, resolution, begin, end, run if alone else None)
    if step or last is not None:
        store.set_percentage(download_key, step * 100 // steps)


def _forget_steps(download_key: str) -> None:
    with _steps_lock:
        _steps.pop(download_key, None)


def cleanup_collection(collection_key: str) -> None:
    """Remove what has expired from one collection, files included.

    Args:
        collection_key: The key that ``init_download`` returned.
    """
    for collection in store.collections_by_key(collection_key):
        store.clean_up(collection=collection)


def set_error(download_key: str, error: object) -> None:
    """Record that a download failed.

    Args:
        download_key: Which download. An unknown one is logged as a warning; one
            that is complete stays complete.
        error: A text, or a ``DownloadError``, is shown to the owner. Of any
            other exception the owner is told only that something went wrong,
            and staff see the rest.
    """
    logger.error("Download %s failed: %s", download_key, error)
    if isinstance(error, BaseException):
        store.set_error(download_key, failures.for_owner(error), detail=failures.for_staff(error))
    else:
        store.set_error(download_key, str(error))


def _check_binary(file: IO[bytes]) -> None:
    if not callable(getattr(file, "read", None)) or isinstance(file.read(0), str):
        raise TypeError("file must be a binary file object, opened for reading.")


def _copy(run: store.Run, source: IO[bytes], target: IO[bytes]) -> None:
    """Copy a file in pieces, with signs of life, so that the storage gets one it may close."""
    if getattr(source, "seekable", lambda: False)():
        source.seek(0)
    for piece in run.watch(iter(lambda: source.read(1 << 20), b"")):
        target.write(piece)
