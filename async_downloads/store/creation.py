"""Create a download, or join one that builds the same file already."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import NamedTuple, Self

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language

from async_downloads import owners, settings
from async_downloads.files.names import path_for, shown_name
from async_downloads.formats import registry
from async_downloads.models import (
    Call,
    Download,
    DownloadCollection,
    DownloadQuerySet,
    DownloadState,
)
from async_downloads.models.conditions import is_in_progress
from async_downloads.models.downloads import MAX_LANGUAGE_LENGTH
from async_downloads.models.lifetime import Timeout, lifetime_of
from async_downloads.models.texts import as_underscore, write_text
from async_downloads.models.timing import expiry, mail_due
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from async_downloads.store.active_limit import check_active_limit
from async_downloads.store.collections import (
    get_or_create_collection,
    is_known,
    known_collection,
    remember,
)
from async_downloads.store.live_progress import with_live_progress
from async_downloads.store.transactions import (
    after_commit,
    database,
    downloads,
    has_snapshot,
    in_transaction,
    on_separate_connection,
    retry_on_deadlock,
)
from async_downloads.store.write_through import cache_entry_of, publish_created, run_all

__all__ = [
    "RequestedFile",
    "create",
    "is_same",
    "join_or_create",
    "new_row",
    "requested_names",
    "with_calls",
]


class RequestedFile(NamedTuple):
    """A file that an owner requests.

    Attributes:
        owner: The owner of the download.
        filename: The name that the file is saved under.
        name: The name in the list.
        call: How the file is built; None if that is not known.
        lifetime: How long it is kept after its end, as on the row.
    """

    owner: Owner
    filename: str
    name: str
    call: Call | None = None
    lifetime: timedelta | None = None

    @classmethod
    def of(
        cls, user: object, filename: object, name: object = None, timeout: Timeout = "default"
    ) -> Self:
        """Return the file that the arguments of ``init_download`` request.

        Raises:
            ObjectDoesNotExist: No user has this primary key.
            TypeError: ``user`` cannot name an owner, a name is not text, or ``timeout`` is not a
                number.
            ValueError: The user is anonymous or not saved, ``filename`` is empty, or ``timeout``
                is out of range.
        """
        lifetime, names = lifetime_of(timeout), requested_names(filename, name)
        return cls(owners.resolve(user), *names, lifetime=lifetime)

    @classmethod
    def again(cls, download: Download) -> Self:
        """Return the file that a download was created for."""
        owner = download.collection.owner
        return cls(owner, download.filename, download.name, download.call, download.lifetime)


def requested_names(filename: object, name: object) -> tuple[str, str]:
    """Return the name that a file is saved under, and the name in the list.

    Raises:
        TypeError: A name is not text.
        ValueError: ``filename`` is empty.
    """
    for argument in (filename, name or ""):
        if not isinstance(argument, (str, Promise)):
            raise TypeError(f"A file name must be text, not {type(argument).__name__}.")
    shown = shown_name(str(filename))
    if not shown:
        raise ValueError("filename must not be empty.")
    return shown, shown_name(str(name or "")) or shown


def create(requested: RequestedFile) -> Download:
    """Insert the row of a new download, and set its cache entry at once.

    The cache entry makes a worker wait for the row if it starts before the transaction
    around this call has committed.

    Raises:
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
    """
    return _publish(requested, _write(requested, partial(_insert, requested)))


def join_or_create(requested: RequestedFile, *, fresh_for: float) -> tuple[Download, bool]:
    """Return a download that builds the requested file, or create one.

    Of several requests at once, one creates it, and the others return the same.

    Args:
        requested: The file, with its call.
        fresh_for: Seconds for which a complete file will do.

    Returns:
        The download, and whether this call has created it.

    Raises:
        TooManyDownloadsError: The owner has ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads in progress.
    """
    same: list[Download] = []

    def insert(filename: str, name: str) -> Download:
        same.clear()
        with transaction.atomic(using=database()):
            collection = get_or_create_collection(requested.owner, exclusive=True)
            if (found := _find_same(requested, fresh_for=fresh_for)) is not None:
                same.append(found)
                return found
            check_active_limit(collection.pk)
            return _insert_row(collection, requested, filename, name)

    download = _write(requested, insert)
    return (download, False) if same else (_publish(requested, download), True)


def _find_same(requested: RequestedFile, *, fresh_for: float) -> Download | None:
    """Return a download that builds the requested file, if there is one."""
    same = _read_same(requested, fresh_for=fresh_for)
    if same is None and has_snapshot():
        # The snapshot may be from before the lock on the collection.
        return on_separate_connection(lambda: _read_same(requested, fresh_for=fresh_for))
    return same


def _read_same(requested: RequestedFile, *, fresh_for: float) -> Download | None:
    """Return the owner's newest download with the same call and file format, if there is one.

    It is in progress, or has been complete for at most ``fresh_for`` seconds.
    """
    rows = with_calls([requested], is_in_progress(), fresh_for=fresh_for).newest_first()
    same = (row for row in with_live_progress(list(rows)) if is_same(row, requested))
    return next(same, None)


def with_calls(
    requests: Iterable[RequestedFile], unfinished: Q, *, fresh_for: float
) -> DownloadQuerySet:
    """Return the downloads of the owners that may have the calls of files, as ``is_same`` decides.

    Args:
        requests: The files, as many as fit into one query. Those without a call are left out.
        unfinished: The condition of unfinished ones.
        fresh_for: For how many seconds after its end a complete one counts as well.
    """
    wanted = unfinished
    if fresh_for > 0:
        since = timezone.now() - timedelta(seconds=fresh_for)
        wanted |= Q(state=DownloadState.COMPLETE, finished_at__gte=since)
    with_call = [request for request in requests if request.call]
    # All requests may have one and the same call.
    calls = {id(request.call): request.call for request in with_call}.values()
    rows = downloads().filter(
        wanted,
        collection__in={request.owner.collection_id for request in with_call},
        task__in={call.task for call in calls if call},
        arguments__in={text for call in calls if call for text in call.spellings},
    )
    return rows.active().defer("error_detail").with_database_clock()


def is_same(download: Download, requested: RequestedFile) -> bool:
    """Return whether a download has the call and the file format that are requested.

    A database, which has selected it, may ignore case.
    """
    call = requested.call
    if call is None or download.task != call.task or download.arguments not in call.spellings:
        return False
    return _format_of(download.filename) == _format_of(requested.filename)


def _format_of(filename: str) -> str:
    return registry.for_filename(filename).name


def _write(requested: RequestedFile, insert: Callable[[str, str], Download]) -> Download:
    """Insert a row, with as few characters of its names replaced as the database demands."""
    using = database()

    def write() -> Download:
        try:
            names = (requested.filename, requested.name)
            return write_text(insert, *names, using=using, replacement=as_underscore)
        except IntegrityError as error:
            collections = DownloadCollection.objects.using(using)
            if not collections.filter(pk=requested.owner.collection_id).exists():
                raise
            # Under REPEATABLE READ, only a new transaction sees the collection of another request.
            raise OperationalError(
                "Another transaction has inserted the owner's collection."
            ) from error

    # Two requests that insert one collection while it is being deleted can deadlock.
    return retry_on_deadlock(write)


def _insert(requested: RequestedFile, filename: str, name: str) -> Download:
    limited = settings.MAX_ACTIVE is not None
    if is_known(requested.owner) and not limited and not in_transaction():
        # One statement. It fails if the collection was deleted since.
        with suppress(IntegrityError):
            return _insert_row(known_collection(requested.owner), requested, filename, name)
    with transaction.atomic(using=database()):
        collection = get_or_create_collection(requested.owner, exclusive=limited)
        check_active_limit(collection.pk)
        return _insert_row(collection, requested, filename, name)


def _insert_row(
    collection: DownloadCollection, requested: RequestedFile, filename: str, name: str
) -> Download:
    download = new_row(collection, requested, filename, name)
    download.save(using=database(), force_insert=True)
    return download


def new_row(
    collection: DownloadCollection, requested: RequestedFile, filename: str, name: str
) -> Download:
    """Return a row that is yet to be inserted.

    Args:
        collection: The collection of the owner.
        requested: The file.
        filename: The name that the file is saved under, as the database can hold it.
        name: The name in the list, likewise.
    """
    download = Download(collection=collection, name=name, filename=filename, expires_at=expiry())
    download.language = (get_language() or "")[:MAX_LANGUAGE_LENGTH]
    if requested.owner.user_id is not None:
        download.mail_due_at = mail_due()
    download.filepath = path_for(download.download_key, filename)
    download.lifetime = requested.lifetime
    if requested.call is not None:
        download.task, download.arguments = requested.call.task, requested.call.arguments
        download.times_queued = 1
    return download


def _publish(requested: RequestedFile, download: Download) -> Download:
    """Publish a new row: its cache entry at once, all else once it is committed."""
    entry = cache_entry_of(download, user=requested.owner.name)
    run_all(lambda: cache_entries.set_entry(entry, download.timeout))

    def make_visible() -> None:
        remember(requested.owner)
        publish_created([download])

    after_commit(make_visible)
    return download
