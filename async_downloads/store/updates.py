"""Record progress and errors that a caller reports with a download key alone."""

import uuid
from collections.abc import Iterable

from django.db import transaction

from async_downloads.models import Call, DownloadQuerySet, DownloadState
from async_downloads.models.lifetime import Timeout, lifetime_of
from async_downloads.store.attempt import current_attempt
from async_downloads.store.outages import durable_write, retry_on_outage
from async_downloads.store.transactions import (
    DatabaseFault,
    canonical_key,
    database,
    downloads,
    in_transaction,
    retry_on_new_connection,
    row_with_key,
)
from async_downloads.store.write_through import (
    fail_and_publish,
    write_and_publish,
    write_progress,
    write_through_all,
)
from async_downloads.utils.log import get_logger

__all__ = ["record_call", "set_error", "set_errors", "set_percentage"]

logger = get_logger(__name__)


def set_percentage(download_key: str, percentage: int) -> None:
    """Record progress. An error of the database is logged, not raised.

    Raises:
        DownloadCancelled: An attempt of this process has lost its claim on the download.
    """
    download_key = canonical_key(download_key)
    attempt = current_attempt(download_key)
    if attempt is not None:
        attempt.set_percentage(percentage)
        return
    rows = row_with_key(download_key)
    try:
        if in_transaction():
            unfinished = rows.unfinished().with_database_clock()
            download = unfinished.select_related("collection__user").first()
            if download is not None:
                write_progress(download, percentage)
                return
        elif write_and_publish(
            lambda: rows.unfinished().progress(percentage), download_key, "progressed"
        ):
            return
        _log_ignored(download_key, rows, "progress")
    except DatabaseFault:
        logger.warning("The progress of %s was not recorded", download_key, exc_info=True)


def set_error(
    download_key: str, errors: str, *, detail: str = "", unless_ended: bool = False
) -> None:
    """Record a failure, unless the download is complete.

    Args:
        download_key: Which download.
        errors: The text for the owner.
        detail: The text for staff.
        unless_ended: Whether to leave alone a download that has failed already, or that a live
            attempt has claimed.

    Raises:
        DownloadUnavailable: The database was away for too long.
    """
    download_key = canonical_key(download_key)
    attempt = current_attempt(download_key)
    rows = row_with_key(download_key)
    if attempt is not None:
        recorded = attempt.report_error(errors, detail=detail)
    else:
        writable = rows.unclaimed().unfinished() if unless_ended else rows
        recorded = fail_and_publish(writable, download_key, errors, detail)
    if not recorded:
        retry_on_outage(lambda: _log_ignored(download_key, rows, "an error"))


def set_errors(download_keys: Iterable[uuid.UUID], errors: str, *, detail: str) -> None:
    """Record the same failure of downloads that wait, in few statements.

    Args:
        download_keys: Primary keys, as many as fit into one query. A download that has been
            claimed, or has ended, is left alone.
        errors: The text for the owners.
        detail: The text for staff.

    Raises:
        DownloadUnavailable: The database was away for too long.
    """
    rows = downloads().filter(pk__in=list(download_keys), state=DownloadState.PENDING)

    def write() -> int:
        with transaction.atomic(using=database()):
            locked = list(rows.select_for_update().values_list("pk", flat=True))
            failed = downloads().filter(pk__in=locked).fail(errors, detail=detail)
            write_through_all(locked, "failed")
        return failed

    durable_write(rows, write)


def record_call(download_key: str, call: Call | None, *, timeout: Timeout = "default") -> None:
    """Record how a download is built, and how long it is kept.

    An unknown download is left to its task, which logs it.

    Args:
        download_key: Which download.
        call: The call; None if it cannot be recorded.
        timeout: As for ``init_download``; ``"default"`` leaves its lifetime as it is.

    Raises:
        DatabaseFault: It could not be recorded.
    """
    rows = row_with_key(canonical_key(download_key))
    if call is not None:
        retry_on_new_connection(lambda: rows.record_call(call))
    if timeout != "default":
        retry_on_new_connection(lambda: rows.set_lifetime(lifetime_of(timeout)))


def _log_ignored(download_key: str, rows: DownloadQuerySet, report: str) -> None:
    if rows.exists():
        logger.info("Download %s is finished; %s came too late", download_key, report)
    else:
        logger.warning("Download %s does not exist; %s was not recorded", download_key, report)
