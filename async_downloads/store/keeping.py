"""Let the owner of a complete download keep it for longer."""

from async_downloads.models import Download
from async_downloads.models.lifetime import keep_until
from async_downloads.store.transactions import downloads
from async_downloads.store.write_through import write_and_publish

__all__ = ["keep"]


def keep(download: Download) -> bool:
    """Keep a complete download for one more lifetime, at most ``MAX_LIFETIME``.

    Returns:
        Whether it expires later than before: not at the limit, nor if it is deleted by now.
    """
    until = keep_until(download)
    if until is None:
        return False
    rows = downloads().filter(pk=download.pk, held=False)
    return write_and_publish(lambda: rows.extend(until), download.pk, "progressed")
