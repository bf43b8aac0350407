"""What handing out a file leaves on its row: that it was fetched, or that it is missing."""

from typing import Any

from django.utils.translation import gettext_noop

from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.store.transactions import DatabaseFault, downloads, impatient
from async_downloads.store.write_through import tell, write_through
from async_downloads.utils.log import get_logger

__all__ = ["fetched", "lose"]

logger = get_logger(__name__)


def lose(download: Download) -> bool:
    """Record that the file of a complete download is no longer in the storage.

    The list then says so rather than offer it. A database that is busy is left
    alone, because the next one who asks for the file finds the same.

    Returns:
        Whether it is gone for good: not where the storage itself is not there.
    """
    if not storage.is_there(download.filepath):
        logger.error("The storage is not there, and with it %s", download.filepath)
        return False
    rows = downloads().filter(pk=download.pk, filepath=download.filepath)
    try:
        with impatient():
            lost = rows.lose(gettext_noop("The file is no longer there. Please ask for it again."))
    except DatabaseFault:
        logger.warning("The file of %s is gone, unrecorded", download.pk, exc_info=True)
        return True
    if lost:
        logger.error("The storage no longer has %s of download %s", download.filepath, download.pk)
        write_through(download.pk, "failed")
    return True


def fetched(download: Download, user: Any) -> None:
    """Count that the file of a download was handed out.

    A database that is busy loses the count rather than keep anybody waiting.

    Args:
        download: The row.
        user: To whom.
    """
    try:
        with impatient():
            counted = downloads().filter(pk=download.pk).fetched(user.pk)
    except DatabaseFault:
        logger.warning("A fetch of %s was not counted", download.pk, exc_info=True)
        return
    if counted:
        tell(download, "fetched", user=user)
