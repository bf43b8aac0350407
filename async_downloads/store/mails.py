"""Claim mails about downloads that have ended, so that each is sent once.

A claim is one conditional update on the row. It leaves a second attempt to the periodic jobs;
once the mail is sent, that is settled. A process that is killed in between has sent nothing,
or else, in the moment before it could settle, the mail is sent twice.
"""

from datetime import timedelta
from typing import Final

from django.utils import timezone

from async_downloads.models import Download
from async_downloads.models.timing import DatabaseNow
from async_downloads.store.outages import retry_on_outage
from async_downloads.store.transactions import downloads, retry_on_new_connection

__all__ = ["MAX_MAIL_ATTEMPTS", "PAUSE_SECONDS", "claim_mail", "read_due_mails", "settle_mail"]

#: How often a mail is attempted.
MAX_MAIL_ATTEMPTS: Final = 2

#: Seconds between the attempts at a mail. The periodic jobs also wait for so long after the end
#: of a download: its queue may repeat a task that has failed.
PAUSE_SECONDS: Final = 300

#: Seconds after the end of a download for which the periodic jobs send a mail.
LATEST_SECONDS: Final = 24 * 60 * 60

#: Mails that one run of a periodic job sends; the next run sends further ones.
BATCH_SIZE: Final = 500


def claim_mail(download: Download) -> bool:
    """Claim the mail about the end of a download, if it is due.

    Args:
        download: The row, as it was read. A row without a mail due costs no query.

    Returns:
        Whether this call has claimed it: not if the file was fetched, the row was deleted,
        has expired or is built again, or another process has claimed the mail.
    """
    if not _may_be_due(download):
        return False
    attempts = download.mail_attempts
    is_last = attempts + 1 >= MAX_MAIL_ATTEMPTS
    again_at = None if is_last else timezone.now() + timedelta(seconds=PAUSE_SECONDS)
    rows = downloads().filter(pk=download.pk, state=download.state, mail_attempts=attempts)
    claimed = retry_on_new_connection(lambda: rows.claim_mail(again_at)) > 0
    if claimed:
        download.mail_attempts, download.mail_due_at = attempts + 1, again_at
    return claimed


def settle_mail(download: Download) -> None:
    """Record that a claimed mail needs no further attempt.

    Args:
        download: The row, as ``claim_mail`` has changed it.

    Raises:
        DownloadUnavailable: The database was away for too long.
    """
    rows = downloads().filter(pk=download.pk, mail_attempts=download.mail_attempts)
    retry_on_outage(rows.settle_mail)


def read_due_mails() -> list[Download]:
    """Return downloads about whose end a periodic job is to send mails, with their owners."""
    ended = {
        "heard_at__gte": DatabaseNow(-LATEST_SECONDS),
        "heard_at__lt": DatabaseNow(-PAUSE_SECONDS),
    }
    rows = downloads().to_mail().filter(**ended).select_related("collection__user")
    return list(rows.without_long_columns().order_by("heard_at")[:BATCH_SIZE])


def _may_be_due(download: Download) -> bool:
    """Return whether the mail about a download may be due, by the row as it was read."""
    due_at, finished_at = download.mail_due_at, download.finished_at
    if due_at is None or finished_at is None:
        return False
    return download.mail_attempts > 0 or finished_at >= due_at
