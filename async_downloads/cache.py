"""The functions that a site's views and tasks call.

Named for the cache that once held everything; today the rows hold it, and the
cache only makes it fast.
"""

import math
from collections.abc import Callable, Generator, Iterable
from typing import IO, Any, cast

from django.utils.functional import Promise

from async_downloads import owners, store
from async_downloads.building import archive, progress
from async_downloads.building.content import Content, Copy, Table, build
from async_downloads.building.progress import update_percentage
from async_downloads.files.names import shown_name
from async_downloads.formats import registry
from async_downloads.utils import error_text
from async_downloads.utils.log import get_logger

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

logger = get_logger(__name__)


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
    shown = shown_name(str(filename))
    if not shown:
        raise ValueError("filename must not be empty.")
    owner = owners.resolve(user)
    download = store.create(owner, filename=shown, name=shown_name(str(name or "")) or shown)
    return owner.collection_key, download.download_key


def save_download(
    download_key: str,
    iterable: Iterable[Iterable[Any]] | None = None,
    file: IO[bytes] | None = None,
    encoding: str = "utf-8",
    *,
    header: Iterable[Any] | None = None,
    expected_rows: int | Callable[[], int] | None = None,
    format: str | None = None,  # noqa: A002 (the word for it)
    members: archive.Members | None = None,
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
        iterable: Rows, each an iterable of cells, or a mapping whose keys the header names
            or labels. They are consumed once and never held in memory. A queryset of
            ``values_list()`` reports progress by itself; for CSV, its text is made in
            the database, where that is known to give the same.
        file: A binary file object to store instead, read from its beginning if
            it can be rewound.
        encoding: The encoding of a file of text.
        header: A row to write before the others, which does not count as one.
        expected_rows: How many rows there will be, or what returns it, which is
            called once the download is claimed. A file that ends up with fewer
            is shown as one that ended early. Known by itself of a queryset and
            of what has a length.
        format: What to write the rows as, such as ``"xlsx"`` or ``"csv.gz"``. The
            file then gets the extension of the format, if it has another one. Left
            out, it is what the extension of the file name means, and CSV (as of
            ``csv.writer(lineterminator="\n")``) if that means nothing.
        members: Several files for one ZIP file: a mapping of their names, or pairs
            that are read one by one. Each is rows, in the format that its name
            means; ``formats.Rows``, for rows with a header; a binary file; bytes; or
            a text.

    Raises:
        DownloadBusy: Another run of the same download is alive.
        DownloadCancelled: The download was cleared, or taken over by another run.
        DownloadUnavailable: The database was away for so long that neither the claim nor
            the end could be recorded.
        ImproperlyConfigured: ``format`` needs a package that is not installed.
        RuntimeError: The task has saved its file already, or is saving it.
        TypeError: ``file`` is not a binary file, ``header`` is not a header, or
            ``expected_rows`` is no whole number.
        ValueError: Not just one of ``iterable``, ``file`` and ``members`` was given,
            there is no such format or encoding, it is not for what was given, or
            ``expected_rows`` is below 0.
    """
    content = _content(
        iterable, file, members, format, encoding=encoding, header=header, expected=expected_rows
    )
    run = store.join(download_key, any_thread=True) or store.claim(download_key)
    if run is None:
        return
    try:
        with store.saving(run), run:
            run.complete(build(run, content))
    except Exception as error:
        # A queue need not repeat what has failed for good. It has to know what no row tells.
        if error is not run.recorded_error:
            raise
    finally:
        _close(iterable, members)
        progress.forget(download_key)


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
        store.set_error(
            download_key, error_text.for_owner(error), detail=error_text.for_staff(error)
        )
    else:
        store.set_error(download_key, str(error))


def _content(
    iterable: Iterable[Iterable[Any]] | None,
    file: IO[bytes] | None,
    members: archive.Members | None,
    wanted: str | None,
    *,
    encoding: str,
    header: Iterable[Any] | None,
    expected: int | Callable[[], int] | None,
) -> Content:
    """Return what is to be written, if the arguments of ``save_download`` say that."""
    if sum(given is not None for given in (iterable, file, members)) != 1:
        raise ValueError("save_download() needs either an iterable of rows, a file or members.")
    if iterable is not None:
        found = None if wanted is None else registry.named(wanted)
        return Table(iterable, encoding, header, expected, found)
    if members is not None:
        _refuse_unless(header is None, "members have headers of their own, by formats.Rows")
        _refuse_unless(wanted in {None, registry.ZIP.name}, "members make a ZIP file")
        return archive.Archive(members, encoding, expected)
    _refuse_unless(wanted is None, "a file is stored as it is, without a format")
    return Copy(cast("IO[bytes]", file))


def _refuse_unless(fitting: bool, reason: str) -> None:
    if not fitting:
        raise ValueError(f"save_download(): {reason}.")


def _close(*given: object) -> None:
    """Run the ``finally`` of generators now, and not when somebody drops them."""
    for each in given:
        if isinstance(each, Generator):
            each.close()
