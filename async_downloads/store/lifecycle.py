"""What happens to a download: made, claimed for a run, given progress or an error."""

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db import IntegrityError, OperationalError, transaction
from django.utils.translation import gettext_noop

from async_downloads import settings
from async_downloads.exceptions import DownloadBusy
from async_downloads.files.names import path_for
from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadQuerySet,
    DownloadState,
)
from async_downloads.models.texts import as_underscore, write_text
from async_downloads.models.timing import expiry, stalled_before
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.outages import durable_write, retry_on_outage
from async_downloads.store.overdue import STOPPED_RESPONDING
from async_downloads.store.registry import canonical_key
from async_downloads.store.removal import purge
from async_downloads.store.starts import check_active_limit, insert_collection, lock_collection
from async_downloads.store.transactions import (
    DatabaseFault,
    after_commit,
    database,
    downloads,
    in_transaction,
    retry_on_deadlock,
)
from async_downloads.store.write_through import (
    cache_entry_of,
    publish_change,
    run_all,
    send_signal,
    write_progress,
    write_through,
)
from async_downloads.utils.log import get_logger

__all__ = [
    "claim",
    "create",
    "get_or_create_collection",
    "set_error",
    "set_percentage",
]

logger = get_logger(__name__)

#: Seconds to wait for the row of a download whose entry is there already: the
#: transaction of the request that made it has not committed yet.
ROW_WAIT_SECONDS: Final = 5.0

#: The same where no entry tells that there is something to wait for.
BLIND_ROW_WAIT_SECONDS: Final = 1.0

#: Seconds between two looks at the row while waiting for it.
ROW_WAIT_STEP: Final = 0.05

#: Seconds between two looks at a download that another run is writing.
TURN_WAIT_STEP: Final = 1.0


def create(owner: Owner, *, filename: str, name: str) -> Download:
    """Make the row of a new download, and its entry at once.

    The entry is evidence for a worker that starts before the transaction
    around this call has committed.

    Args:
        owner: Whose download it is.
        filename: The name that the file is saved under when fetched.
        name: What the list calls it.

    Raises:
        TooManyDownloadsError: The owner has as many in progress as ``ASYNC_DOWNLOADS_MAX_ACTIVE``.
    """
    # Two that make the same collection, while it is being removed, may block each other.
    download = retry_on_deadlock(partial(_begin, owner, filename, name))
    run_all(lambda: cache_entries.set_entry(cache_entry_of(download, user=owner.name)))
    after_commit(
        lambda: run_all(
            lambda: publish_change(download.collection, "created", download.download_key),
            lambda: send_signal(download, "created"),
        )
    )
    return download


def _begin(owner: Owner, filename: str, name: str) -> Download:
    try:
        insert = partial(_insert, owner)
        return write_text(insert, filename, name, using=database(), replacement=as_underscore)
    except IntegrityError as error:
        collections = DownloadCollection.objects.using(database())
        if in_transaction() or not collections.filter(pk=owner.collection_id).exists():
            raise
        # The transaction saw the past (REPEATABLE READ): a new one sees what was made since.
        raise OperationalError("The collection of the owner was made meanwhile.") from error


def _insert(owner: Owner, filename: str, name: str) -> Download:
    download = Download(name=name, filename=filename)
    download.filepath = path_for(download.download_key, filename)
    with transaction.atomic(using=database()):
        download.collection = get_or_create_collection(owner)
        check_active_limit(download.collection)
        download.expires_at = expiry()
        download.save(using=database(), force_insert=True)
    return download


def claim(download_key: str, *, superseded: bool = False) -> Attempt | None:
    """Take a download for writing, as soon as it is there to be taken.

    One that is with another run is waited for until it is clear what became of
    that: it ended, it gave a sign of life, or it has stalled and is taken over.

    Args:
        download_key: Which download.
        superseded: Whether the caller was alive and silent when another run took over. Then
            that run may be as well, so that it is not given up.

    Returns:
        The run, to be used as a context manager; None, with the reason logged,
        if there is no such download, if it is complete, if the run that was
        waited for has ended or if it was tried ``ASYNC_DOWNLOADS_MAX_ATTEMPTS`` times.

    Raises:
        DownloadBusy: Another run is alive.
        DownloadUnavailable: The database was away for too long.
    """
    download_key = canonical_key(download_key)
    download = retry_on_outage(lambda: _wait_for_row(download_key))
    if download is None:
        logger.warning("There is no download %s; nothing was written", download_key)
        return None
    if in_transaction():
        return _join_transaction(download, superseded=superseded)
    if cache_entries.is_cleared(download_key):
        logger.info("Download %s was cleared while its row was locked", download_key)
        retry_on_outage(lambda: purge(downloads().filter(pk=download.pk)))
        return None
    return _take_in_turn(download, superseded=superseded)


def set_percentage(download_key: str, percentage: int) -> None:
    """Record progress. A database that fails at it is logged and not raised.

    Args:
        download_key: Which download.
        percentage: 0 to 100.

    Raises:
        DownloadCancelled: This process is writing the download, and has lost it.
    """
    download_key = canonical_key(download_key)
    run = current_attempt(download_key)
    if run is not None:
        run.set_percentage(percentage)
        return
    rows = _rows(download_key)
    try:
        if in_transaction():
            download = rows.unfinished().select_related("collection__user").first()
            if download is not None:
                write_progress(download, percentage)
                return
        elif rows.unfinished().progress(percentage):
            write_through(uuid.UUID(download_key), "progressed")
            return
        _explain_no_row(download_key, rows, "progress")
    except DatabaseFault:
        logger.warning("The progress of %s was not recorded", download_key, exc_info=True)


def set_error(
    download_key: str, errors: str, *, detail: str = "", unless_ended: bool = False
) -> None:
    """Record a failure, unless the download is complete.

    Args:
        download_key: Which download.
        errors: What the owner is told.
        detail: What staff are told.
        unless_ended: Whether a failure that is there already stands, and a run that is alive.

    Raises:
        DownloadUnavailable: The database was away for too long.
    """
    download_key = canonical_key(download_key)
    run = current_attempt(download_key)
    rows = _rows(download_key)
    if unless_ended:
        rows = rows.unclaimed().unfinished()

    def write() -> int:
        changed = rows.fail(errors, detail=detail)
        if changed:
            write_through(uuid.UUID(download_key), "failed")
        return changed

    recorded = run.report_error(errors, detail=detail) if run else durable_write(rows, write) > 0
    if not recorded:
        retry_on_outage(lambda: _explain_no_row(download_key, rows, "an error"))


def get_or_create_collection(owner: Owner) -> DownloadCollection:
    """Return the owner's collection, which nobody can remove until the caller has committed."""
    label = owner.name if owner.user_id is None else ""
    fields: dict[str, Any] = {"key": owner.collection_key, "user_id": owner.user_id, "label": label}
    collections = DownloadCollection.objects.using(database())
    collection = lock_collection(collections, owner.collection_id)
    while collection is None:
        try:
            with transaction.atomic(using=database()):
                return insert_collection(collections, pk=owner.collection_id, **fields)
        except IntegrityError:
            collection = lock_collection(collections, owner.collection_id)
            if collection is None and not collections.filter(pk=owner.collection_id).exists():
                # Not that somebody else was faster: the owner is gone.
                raise
    if collection.key != owner.collection_key:
        # COLLECTION_KEY_FORMAT was changed; the key handed out must lead back here.
        collections.filter(pk=collection.pk).update(key=owner.collection_key)
        collection.key = owner.collection_key
    return collection


def _rows(download_key: str) -> DownloadQuerySet:
    """Return the row with this key, or none for what can be no key."""
    try:
        return downloads().filter(pk=uuid.UUID(download_key))
    except ValueError:
        return downloads().none()


def _wait_for_row(download_key: str) -> Download | None:
    rows = _rows(download_key).select_related("collection__user")
    download = rows.first()
    if download is not None or rows.query.is_empty():
        return download
    deadline = time.monotonic() + _patience(download_key)
    while download is None and time.monotonic() < deadline:
        time.sleep(ROW_WAIT_STEP)
        download = rows.first()
    return download


def _patience(download_key: str) -> float:
    return ROW_WAIT_SECONDS if cache_entries.get_entry(download_key) else BLIND_ROW_WAIT_SECONDS


def _join_transaction(download: Download, *, superseded: bool) -> Attempt | None:
    """Return a run inside a transaction of the caller's, whose claim is not written.

    It would hold the row's lock until the caller commits. Nothing is waited for,
    because what others write may not be seen there.
    """
    if _is_with_another(download):
        raise _busy(download)
    refused = _refused(download, superseded=superseded)
    return None if refused else Attempt(download, download.claim)


def _take_in_turn(download: Download, *, superseded: bool) -> Attempt | None:
    """Claim a download once no other run is alive; None if there is nothing left to do."""
    current: Download | None = download
    heard: datetime | None = None
    while current is not None:
        if _is_with_another(current):
            if heard is not None and _last_heard(current) > heard:
                raise _busy(current)
            heard = _last_heard(current)
            time.sleep(min(TURN_WAIT_STEP, settings.STALLED_AFTER / 4))
        elif _refused(current, superseded=superseded):
            return None
        elif heard is not None and current.failed and current.errors != STOPPED_RESPONDING:
            logger.info("Download %s has failed in the run that was waited for", current.pk)
            return None
        else:
            run = _take(current)
            if run is not None:
                return run
        current = retry_on_outage(_looking_for(download.pk))
    logger.info("Download %s was cleared", download.pk)
    return None


def _looking_for(pk: uuid.UUID) -> Callable[[], Download | None]:
    return lambda: downloads().select_related("collection__user").filter(pk=pk).first()


def _take(download: Download) -> Attempt | None:
    """Claim a download, or return None if somebody else was faster."""
    token = uuid.uuid4()

    def write() -> bool:
        # A connection that died may have died after the write.
        taken = (
            downloads().claim(download.pk, token) > 0
            or downloads().claimed_by(download.pk, token).exists()
        )
        if taken:
            write_through(download.pk, "started")
        return taken

    return Attempt(download, token) if retry_on_outage(write) else None


def _is_with_another(download: Download) -> bool:
    """Return whether another run has it that has not stalled."""
    return download.state == DownloadState.RUNNING and _last_heard(download) >= stalled_before()


def _last_heard(download: Download) -> datetime:
    """Return when a run was last heard of, by its row or by its entry.

    A run inside a caller's transaction gives its signs of life in the entry alone.
    """
    entry = cache_entries.get_entry(download.download_key)
    stamp = cache_entries.stamp_of(entry) if entry else None
    return download.heard_at if stamp is None else max(download.heard_at, stamp)


def _busy(download: Download) -> DownloadBusy:
    return DownloadBusy(f"Download {download.pk} is with another run that is alive.")


def _refused(download: Download, *, superseded: bool) -> bool:
    """Log why a download cannot be claimed, and fail one that was tried too often.

    Raises:
        DownloadBusy: It was tried too often, and its last run may be alive.
    """
    if download.state == DownloadState.COMPLETE:
        logger.info("Download %s is complete already", download.pk)
        return True
    if download.attempts < settings.MAX_ATTEMPTS:
        return False
    if download.failed:
        logger.info("Download %s has failed after %s attempts", download.pk, download.attempts)
        return True
    holder = current_attempt(download.download_key)
    if superseded or (holder is not None and holder.token == download.claim):
        raise _busy(download)
    given_up = downloads().claimed_by(download.pk, download.claim).unclaimed()
    text = gettext_noop("Given up: the worker stopped responding each time.")

    def write() -> bool:
        failed = given_up.fail(text, detail=f"{text} Attempts: {download.attempts}.") > 0
        if failed:
            write_through(download.pk, "failed")
        return failed

    if not retry_on_outage(write):
        # The run that has the download has given a heartbeat, or ended, since it was looked at.
        raise _busy(download)
    logger.error("Download %s is given up after %s attempts", download.pk, download.attempts)
    return True


def _explain_no_row(download_key: str, rows: DownloadQuerySet, what: str) -> None:
    if rows.exists():
        logger.info("Download %s is finished; %s came too late", download_key, what)
    else:
        logger.warning("There is no download %s; %s was not recorded", download_key, what)
