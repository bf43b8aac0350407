"""What happens to a download: made, claimed for a run, given progress or an error."""

import logging
import time
import uuid
from typing import Final

from django.db import Error as DatabaseFault
from django.db import transaction

from async_downloads import entries, files, settings
from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadQuerySet,
    DownloadState,
    expiry,
)
from async_downloads.owners import Owner
from async_downloads.store.run import Run, current_run
from async_downloads.store.write_through import (
    after_commit,
    announce,
    database,
    downloads,
    entry_of,
    in_transaction,
    write_progress,
    write_through,
)

__all__ = ["claim", "create", "set_error", "set_percentage"]

logger = logging.getLogger(__name__)

#: Seconds to wait for the row of a download whose entry is there already: the
#: transaction of the request that made it has not committed yet.
ROW_WAIT_SECONDS: Final = 5.0

#: The same where no entry tells that there is something to wait for.
BLIND_ROW_WAIT_SECONDS: Final = 1.0

#: Seconds between two looks at the row while waiting for it.
ROW_WAIT_STEP: Final = 0.05


def create(owner: Owner, *, filename: str, name: str) -> Download:
    """Make the row of a new download, and its entry at once.

    The entry is evidence for a worker that starts before the transaction
    around this call has committed.

    Args:
        owner: Whose download it is.
        filename: The name that the file is saved under when fetched.
        name: What the list calls it.
    """
    with transaction.atomic(using=database()):
        collection = _collection_of(owner)
        download = Download(collection=collection, name=name, filename=filename)
        download.filepath = files.path_for(download.download_key, filename)
        download.expires_at = expiry()
        download.save(using=database(), force_insert=True)
    entries.set_entry(entry_of(download, user=owner.name))
    after_commit(lambda: announce(collection, "created", download.download_key))
    return download


def claim(download_key: str) -> Run | None:
    """Take a download for writing, if it is there to be taken.

    Returns:
        The run, to be used as a context manager; None, with the reason logged,
        if there is no such download, if it is complete, if another run is alive
        or if it was tried ``ASYNC_DOWNLOADS_MAX_ATTEMPTS`` times.
    """
    download = _wait_for_row(download_key)
    if download is None:
        logger.warning("There is no download %s; nothing was written", download_key)
        return None
    if in_transaction():
        # The claim itself would hold the row's lock until the caller commits.
        if _refused(download):
            return None
        return Run(download, download.claim)
    token = uuid.uuid4()
    if not downloads().claim(download.pk, token):
        refused = downloads().filter(pk=download.pk).first()
        if refused is not None:
            _refused(refused)
        return None
    write_through(download.pk, "started")
    return Run(download, token)


def set_percentage(download_key: str, percentage: int) -> None:
    """Record progress. A database that fails at it is logged and not raised.

    Args:
        download_key: Which download.
        percentage: 0 to 100.

    Raises:
        DownloadCancelled: This process is writing the download, and has lost it.
    """
    run = current_run(download_key)
    if run is not None:
        run.progress(percentage)
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


def set_error(download_key: str, errors: str, *, detail: str = "") -> None:
    """Record a failure, unless the download is complete.

    Args:
        download_key: Which download.
        errors: What the owner is told.
        detail: What staff are told.
    """
    run = current_run(download_key)
    rows = _rows(download_key) if run is None else run.held
    if rows.fail(errors, detail=detail):
        write_through(uuid.UUID(download_key), "failed")
        return
    _explain_no_row(download_key, rows, "an error")


def _collection_of(owner: Owner) -> DownloadCollection:
    key = owner.collection_key
    collections = DownloadCollection.objects.using(database())
    label = owner.name if owner.user_id is None else ""
    collection, made = collections.get_or_create(
        pk=owner.collection_id, defaults={"key": key, "user_id": owner.user_id, "label": label}
    )
    if not made and collection.key != key:
        # COLLECTION_KEY_FORMAT was changed; the key handed out must lead back here.
        collections.filter(pk=collection.pk).update(key=key)
        collection.key = key
    return collection


def _rows(download_key: str) -> DownloadQuerySet:
    """Return the row with this key, or none for what can be no key."""
    try:
        return downloads().filter(pk=uuid.UUID(download_key))
    except (AttributeError, TypeError, ValueError):
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
    return ROW_WAIT_SECONDS if entries.get_entry(download_key) else BLIND_ROW_WAIT_SECONDS


def _refused(download: Download) -> bool:
    """Log why a download is not to be had, and fail one that was tried too often."""
    key = download.download_key
    if download.state == DownloadState.COMPLETE:
        logger.info("Download %s is complete already", key)
    elif download.state == DownloadState.RUNNING and not download.stalled:
        logger.info("Download %s is with another run that is alive", key)
    elif download.attempts >= settings.MAX_ATTEMPTS:
        logger.error("Download %s is given up after %s attempts", key, download.attempts)
        given_up = downloads().held(download.pk, download.claim).unfinished()
        text = f"It was given up after {download.attempts} attempts."
        if given_up.fail(text, detail=text):
            write_through(download.pk, "failed")
    else:
        return False
    return True


def _explain_no_row(download_key: str, rows: DownloadQuerySet, what: str) -> None:
    if rows.exists():
        logger.info("Download %s is finished; %s came too late", download_key, what)
    else:
        logger.warning("There is no download %s; %s was not recorded", download_key, what)
