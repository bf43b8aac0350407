"""Claim a download for an attempt, or join the attempt that is under way."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from django.utils.translation import gettext_noop

from async_downloads import permissions, settings
from async_downloads.exceptions import DownloadBusy
from async_downloads.models import Download, DownloadState
from async_downloads.models.timing import stalled_before
from async_downloads.store import cache_entries
from async_downloads.store.attempt import Attempt, current_attempt
from async_downloads.store.outages import is_outage, retry_on_outage
from async_downloads.store.overdue import GIVEN_UP, STOPPED_RESPONDING
from async_downloads.store.removal import purge
from async_downloads.store.transactions import (
    DatabaseFault,
    canonical_key,
    downloads,
    in_transaction,
    row_with_key,
)
from async_downloads.store.write_through import write_and_publish
from async_downloads.utils.log import get_logger

__all__ = ["claim", "join", "saving"]

logger = get_logger(__name__)

#: The owner reads this if they may not have the file built.
NOT_PERMITTED: Final = gettext_noop("You may no longer request this file.")

#: Seconds to wait for a row if the cache has an entry: the transaction of the request that
#: created the download has not committed yet.
ROW_WAIT_SECONDS: Final = 5.0

#: Seconds to wait for a row if the cache has no entry.
BLIND_ROW_WAIT_SECONDS: Final = 1.0

#: Seconds between two reads of a row that is not there yet.
ROW_WAIT_STEP: Final = 0.05

#: Seconds between two reads of a row that another attempt has claimed.
TURN_WAIT_STEP: Final = 1.0


def claim(download_key: str, *, superseded: bool = False) -> Attempt | None:
    """Claim a download, and return the new attempt, to be used as a context manager.

    If another attempt has the claim, wait until it ends, until it gives a heartbeat, or
    until it has stalled and can be taken over.

    Args:
        download_key: Which download.
        superseded: Whether an attempt of the caller was taken over while it gave no
            heartbeats. The attempt that took over may be just as alive, so it is not given up.

    Returns:
        None, with the reason logged, if the download does not exist or is complete, if the
        other attempt has ended it, if its owner may not have it built, or after
        ``ASYNC_DOWNLOADS_MAX_ATTEMPTS`` attempts.

    Raises:
        DownloadBusy: Another attempt is alive.
        DownloadUnavailable: The database was away for too long.
    """
    download_key = canonical_key(download_key)
    download = retry_on_outage(lambda: _wait_for_row(download_key))
    if download is None:
        logger.warning("Download %s does not exist; nothing was written", download_key)
        return None
    if in_transaction():
        return _join_transaction(download, superseded=superseded)
    if cache_entries.is_cleared(download_key):
        logger.info("Download %s was cleared while its row was locked", download_key)
        retry_on_outage(lambda: purge(downloads().filter(pk=download.pk)))
        return None
    return _claim_in_turn(download, superseded=superseded)


def join(download_key: str, *, any_thread: bool) -> Attempt | None:
    """Return the attempt that the caller is a part of, if there is one.

    Args:
        download_key: Which download.
        any_thread: Whether an attempt of another thread counts. A task may save its file in
            any thread; another delivery of the task must not join.

    Raises:
        RuntimeError: The attempt has finished the download already.
    """
    attempt = current_attempt(download_key)
    if attempt is None:
        return None
    if not attempt.in_this_thread and not (any_thread and attempt.runs_task):
        return None
    own = downloads().filter(pk=attempt.download.pk, claim=attempt.token)
    # A transaction that has finished it may have been rolled back since.
    if attempt.download.complete and own.filter(state=DownloadState.COMPLETE).exists():
        raise _saved_twice(attempt, "complete")
    attempt.resume()
    return attempt


@contextmanager
def saving(attempt: Attempt) -> Iterator[None]:
    """Save a file in an attempt, and refuse to save a second one.

    Raises:
        RuntimeError: Another file of the attempt is being saved, or has been saved since the
            attempt was joined.
    """
    if not attempt.save_lock.acquire(blocking=False):
        raise _saved_twice(attempt, "being saved")
    try:
        if attempt.download.complete:
            raise _saved_twice(attempt, "complete")
        yield
    finally:
        attempt.save_lock.release()


def _wait_for_row(download_key: str) -> Download | None:
    rows = row_with_key(download_key).select_related("collection__user").with_database_clock()
    download = rows.first()
    if download is not None or rows.query.is_empty():
        return download
    expected = cache_entries.get_entry(download_key) is not None
    deadline = time.monotonic() + (ROW_WAIT_SECONDS if expected else BLIND_ROW_WAIT_SECONDS)
    while download is None and time.monotonic() < deadline:
        time.sleep(ROW_WAIT_STEP)
        download = rows.first()
    return download


def _join_transaction(download: Download, *, superseded: bool) -> Attempt | None:
    """Return an attempt inside the caller's transaction, without writing a claim.

    A claim would lock the row until the caller commits. Waiting for another attempt is
    pointless, because the transaction may not see what others write.
    """
    if _is_claimed_by_another(download):
        raise _busy(download)
    if _is_refused(download, superseded=superseded):
        return None
    return Attempt(download, download.claim)


def _claim_in_turn(download: Download, *, superseded: bool) -> Attempt | None:
    """Claim a download once no other attempt is alive; None if there is nothing left to do."""
    rows = downloads().select_related("collection__user").filter(pk=download.pk)
    rows = rows.with_database_clock()
    current: Download | None = download
    heard_at: datetime | None = None
    while current is not None:
        if _is_claimed_by_another(current):
            if heard_at is not None and _last_heartbeat(current) > heard_at:
                raise _busy(current)
            heard_at = _last_heartbeat(current)
            time.sleep(min(TURN_WAIT_STEP, settings.STALLED_AFTER / 4))
        elif _is_refused(current, superseded=superseded):
            return None
        elif heard_at is not None and current.failed and current.errors != STOPPED_RESPONDING:
            logger.info("Download %s has failed in the attempt that was waited for", current.pk)
            return None
        elif attempt := _claim_row(current):
            return attempt
        current = retry_on_outage(rows.first)
    logger.info("Download %s was cleared", download.pk)
    return None


def _claim_row(download: Download) -> Attempt | None:
    """Claim a row, or return None if another process was faster."""
    token = uuid.uuid4()
    stalled = download.state == DownloadState.RUNNING
    waited = download.database_time() - download.heard_at
    seconds_queued = max(waited.total_seconds(), 0.0) if download.waiting else None

    def write() -> int:
        # A connection that broke may have written the claim before it broke.
        return (
            downloads().claim(download.pk, token)
            or downloads().claimed_by(download.pk, token).count()
        )

    claimed = retry_on_outage(
        lambda: write_and_publish(
            *(write, download.pk, "started"), stalled=stalled, seconds_queued=seconds_queued
        )
    )
    if claimed and stalled:
        logger.warning("Download %s has stalled and is taken over", download.pk)
    return Attempt(download, token) if claimed else None


def _is_claimed_by_another(download: Download) -> bool:
    """Return whether another attempt has claimed it and has not stalled."""
    if download.state != DownloadState.RUNNING:
        return False
    return _last_heartbeat(download) >= stalled_before(download.clock_difference)


def _last_heartbeat(download: Download) -> datetime:
    """Return the time of the last heartbeat, in the row or in the cache entry.

    An attempt inside a caller's transaction sends its heartbeats to the cache alone.
    """
    entry = cache_entries.get_entry(download.download_key)
    stamp = cache_entries.stamp_of(entry, now=download.database_time()) if entry else None
    return download.heard_at if stamp is None else max(download.heard_at, stamp)


def _busy(download: Download) -> DownloadBusy:
    return DownloadBusy(f"Download {download.pk} is with another attempt that is alive.")


def _is_refused(download: Download, *, superseded: bool) -> bool:
    """Return whether there is nothing left to do, and fail a download after too many attempts.

    Raises:
        DownloadBusy: No attempt is left, and the last one may be alive.
    """
    if download.state == DownloadState.COMPLETE:
        logger.info("Download %s is complete already", download.pk)
        return True
    if _is_forbidden(download):
        _forbid(download)
        return True
    if download.attempts < settings.MAX_ATTEMPTS:
        return False
    if download.failed:
        logger.info("Download %s has failed after %s attempts", download.pk, download.attempts)
        return True
    last_attempt = current_attempt(download.download_key)
    if superseded or (last_attempt is not None and last_attempt.token == download.claim):
        raise _busy(download)
    _give_up(download)
    return True


def _is_forbidden(download: Download) -> bool:
    """Return whether its owner may not have it built, if its call asks for that first.

    Raises:
        DatabaseFault: The site's function met an outage inside a caller's transaction.
        DownloadUnavailable: It met one that was too long.
    """
    # Most sites have no such function, and then the arguments need not be read.
    call = download.call if settings.MAY_START else None
    user = download.collection.user
    if call is None or not call.asks_first or user is None:
        return False
    try:
        # An outage says nothing about the rights of a person.
        return not retry_on_outage(
            lambda: permissions.may_start(user, download, passing=(DatabaseFault,))
        )
    except DatabaseFault as error:
        if is_outage(error):
            raise
        # A statement that the database refuses is an error like any other: it is logged.
        return not permissions.may_start(user, download)


def _forbid(download: Download) -> None:
    """Fail a download whose owner may not have it built."""
    logger.info("Download %s is refused to its owner", download.pk)
    rows = downloads().claimed_by(download.pk, download.claim).unclaimed().unfinished()
    detail = f"{NOT_PERMITTED} ASYNC_DOWNLOADS_MAY_START refused it to its owner."
    retry_on_outage(
        lambda: write_and_publish(
            lambda: rows.fail(NOT_PERMITTED, detail=detail), download.pk, "failed"
        )
    )


def _give_up(download: Download) -> None:
    """Fail a download whose last attempt has stalled.

    Raises:
        DownloadBusy: The attempt has given a heartbeat, or ended, since the row was read.
    """
    rows = downloads().claimed_by(download.pk, download.claim).unclaimed()
    detail = f"{GIVEN_UP} Attempts: {download.attempts}."

    def fail() -> bool:
        return write_and_publish(
            lambda: rows.fail(GIVEN_UP, detail=detail),
            download.pk,
            "failed",
            stalled=download.state == DownloadState.RUNNING,
        )

    if not retry_on_outage(fail):
        raise _busy(download)
    logger.error("Download %s is given up after %s attempts", download.pk, download.attempts)


def _saved_twice(attempt: Attempt, state: str) -> RuntimeError:
    return RuntimeError(
        f"Download {attempt.download.pk} is {state}: a task calls save_download() once. For "
        "several files, pass members=."
    )
