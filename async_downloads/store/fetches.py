"""Record on a row that its file was fetched, or is missing."""

from typing import Any, Final

from django.utils.translation import gettext_noop

from async_downloads.files import storage
from async_downloads.models import Download, DownloadState
from async_downloads.store import cache_entries
from async_downloads.store.transactions import DatabaseFault, downloads, short_lock_timeout
from async_downloads.store.write_through import send_signal, write_through
from async_downloads.utils.log import get_logger

__all__ = ["FILE_MISSING", "record_fetch", "record_missing_file"]

logger = get_logger(__name__)

#: The owner reads this of a complete download whose file is no longer in the storage.
FILE_MISSING: Final = gettext_noop("The file is missing. Please request it again.")


def record_missing_file(download: Download) -> bool:
    """Record that the file of a complete download is no longer in the storage.

    The list then says so, and no longer offers the file. If the database is busy,
    nothing is recorded, because the next request for the file finds the same.

    Args:
        download: The row, whose state is updated.

    Returns:
        Whether the file is gone for good; False if the storage itself is not there.
    """
    if not storage.is_there(download.filepath):
        logger.error("The storage is not there, and with it %s", download.filepath)
        return False
    rows = downloads().filter(pk=download.pk, filepath=download.filepath)
    try:
        with short_lock_timeout():
            failed = rows.fail_missing(FILE_MISSING)
    except DatabaseFault:
        logger.warning("The missing file of %s was not recorded", download.pk, exc_info=True)
        return True
    if failed:
        download.state = DownloadState.FAILED
        logger.error("The storage no longer has %s of download %s", download.filepath, download.pk)
        write_through(download.pk, "failed")
    return True


def record_fetch(download: Download, user: Any) -> None:
    """Record that the file of a download was sent to a user.

    If the database is busy, the fetch is not counted, and the request does not wait.
    """
    try:
        with short_lock_timeout():
            counted = downloads().filter(pk=download.pk).count_fetch(user.pk)
        # The timeout may take a transaction, which has committed by now.
        if counted and not download.fetch_count:
            # The list shows what has been fetched.
            cache_entries.renew_version(download.collection.key)
    except DatabaseFault:
        logger.warning("A fetch of %s was not counted", download.pk, exc_info=True)
        return
    if counted:
        send_signal(download, "fetched", user=user)
