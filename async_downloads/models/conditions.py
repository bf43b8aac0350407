"""The states of a download, and the conditions that follow from them and from the clock."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_downloads import settings
from async_downloads.models.labels import grouped
from async_downloads.models.timing import DatabaseNow

__all__ = [
    "CLEARED",
    "STALLED",
    "UNFINISHED",
    "DownloadState",
    "has_expired",
    "has_heartbeat",
    "has_outlived",
    "has_stalled",
    "is_in_progress",
    "is_stuck",
    "is_waiting",
    "status_text",
]


class DownloadState(models.TextChoices):
    """The states of a download; ``COMPLETE`` is final, unless its file is missing."""

    PENDING = "pending", _("Waiting")
    RUNNING = "running", _("In progress")
    COMPLETE = "complete", _("Complete")
    FAILED = "failed", _("Failed")


#: The name of the condition that ``has_stalled`` returns, beside those of the states.
STALLED: Final = "stalled"

#: The states before the end. An unfinished download never expires: it fails first.
UNFINISHED: Final = (DownloadState.PENDING, DownloadState.RUNNING)

#: The claim of a download that its owner has cleared and that is yet to be deleted: no attempt
#: ever has it.
CLEARED: Final = uuid.UUID(int=0)


def has_outlived(now: datetime) -> Q:
    """Return the condition that the expiry of a download has come by ``now``."""
    # NULL compares with nothing, so that the negation of this would be unknown as well.
    return Q(expires_at__isnull=False, expires_at__lte=now)


def has_expired(now: datetime) -> Q:
    """Return the condition that a finished download has expired by ``now``, and is not held."""
    return has_outlived(now) & ~Q(state__in=UNFINISHED) & Q(held=False)


def has_stalled() -> Q:
    """Return the condition that an unfinished download has no heartbeat any more."""
    return Q(state__in=UNFINISHED, heard_at__lt=DatabaseNow(-settings.STALLED_AFTER))


def is_stuck() -> Q:
    """Return the condition that an attempt is alive, and its work does not move."""
    stuck_after = settings.STUCK_AFTER
    if stuck_after is None:
        return Q(pk__in=[])
    motionless = Q(moved_at__lt=DatabaseNow(-stuck_after))
    return Q(state=DownloadState.RUNNING) & has_heartbeat() & motionless


def is_in_progress() -> Q:
    """Return the condition that a download is unfinished and has not stalled."""
    return Q(state__in=UNFINISHED) & has_heartbeat()


def is_waiting() -> Q:
    """Return the condition that no worker has begun with a download, nor reported progress."""
    return Q(state=DownloadState.PENDING, started_at__isnull=True, percentage=0)


def has_heartbeat() -> Q:
    """Return the condition that a heartbeat is younger than ``STALLED_AFTER`` seconds."""
    return Q(heard_at__gte=DatabaseNow(-settings.STALLED_AFTER))


def status_text(download: Any) -> str:
    """Return the state of a download in words for its owner, with the reason if it has stalled.

    Args:
        download: The row, whose class imports this module.
    """
    if download.stalled and download.state == DownloadState.PENDING:
        if download.started_at is not None:
            return gettext(
                "Stalled: the task ended without a file. Wait, or cancel it and request it again."
            )
        return _still_waiting(download.served)
    if download.stalled and download.rescuable:
        return gettext("Interrupted: it stopped responding. It starts again by itself.")
    if download.stalled and download.retryable:
        return gettext("Stalled: it stopped responding. Wait, or try again.")
    if download.stalled:
        return gettext("Stalled: it stopped responding. Wait, or cancel it and request it again.")
    if download.state == DownloadState.PENDING and download.percentage:
        # Its task reports progress, and saves the file only later.
        return str(DownloadState.RUNNING.label)
    if download.truncated:
        return gettext("Truncated: %(written)s of %(expected)s rows") % {
            "written": grouped(download.rows_written or 0),
            "expected": grouped(download.rows_expected or 0),
        }
    return str(DownloadState(download.state).label)


def _still_waiting(served: bool | None) -> str:
    """Return the state of a download that waits for long.

    Args:
        served: Whether others are being built; None if that is not known.
    """
    if served is None:
        return gettext("Still waiting: nothing has started it. Wait, or cancel it.")
    if served:
        return gettext("Waiting for its turn")
    return gettext(
        "Waiting: nothing has begun to build it so far. If it stays so, please contact an "
        "administrator."
    )
