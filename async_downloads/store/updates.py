"""Record progress and errors that a caller reports with a download key alone."""

from async_downloads.models import DownloadQuerySet
from async_downloads.store.attempt import current_attempt
from async_downloads.store.outages import retry_on_outage
from async_downloads.store.transactions import (
    DatabaseFault,
    canonical_key,
    in_transaction,
    row_with_key,
)
from async_downloads.store.write_through import fail_and_publish, write_and_publish, write_progress
from async_downloads.utils.log import get_logger

__all__ = ["set_error", "set_percentage"]

logger = get_logger(__name__)


def set_percentage(download_key: str, percentage: int) -> None:
    """Record progress. An error of the database is logged, not raised.

    Args:
        download_key: Which download.
        percentage: 0 to 100.

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
            download = rows.unfinished().select_related("collection__user").first()
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


def _log_ignored(download_key: str, rows: DownloadQuerySet, report: str) -> None:
    if rows.exists():
        logger.info("Download %s is finished; %s came too late", download_key, report)
    else:
        logger.warning("Download %s does not exist; %s was not recorded", download_key, report)
