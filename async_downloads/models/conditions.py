"""The states of a download, and the conditions that follow from them and from the clock."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.db.models import Q
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_downloads.models.timing import stalled_before

__all__ = [
    "CLEARED",
    "STALLED",
    "UNFINISHED",
    "DownloadState",
    "has_expired",
    "has_heartbeat",
    "has_stalled",
    "is_in_progress",
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


def has_expired(now: datetime) -> Q:
    """Return the condition that a finished download has expired by ``now``."""
    # NULL compares with nothing, so that the negation of this would be unknown as well.
    outlived = Q(expires_at__isnull=False, expires_at__lte=now)
    return outlived & ~Q(state__in=UNFINISHED)


def has_stalled() -> Q:
    """Return the condition that an unfinished download has no heartbeat any more."""
    return Q(state__in=UNFINISHED, heard_at__lt=stalled_before())


def is_in_progress() -> Q:
    """Return the condition that a download is unfinished and has not stalled."""
    return Q(state__in=UNFINISHED) & has_heartbeat()


def has_heartbeat() -> Q:
    """Return the condition that a heartbeat is younger than ``STALLED_AFTER`` seconds."""
    return Q(heard_at__gte=stalled_before())


def status_text(download: Any) -> str:
    """Return the state of a download in words for its owner, with the reason if it has stalled.

    Args:
        download: The row, whose class imports this module.
    """
    if download.stalled and download.state == DownloadState.PENDING:
        if download.started_at is not None:
            return str(
                _(
                    "Stalled: the task ended without a file. "
                    "Wait, or cancel it and request it again."
                )
            )
        return str(_("Still waiting: no worker has started it. Wait, or cancel it."))
    if download.stalled:
        return str(
            _("Stalled: the worker stopped responding. Wait, or cancel it and request it again.")
        )
    if download.state == DownloadState.PENDING and download.percentage:
        # Its task reports progress, and saves the file only later.
        return str(DownloadState.RUNNING.label)
    if download.truncated:
        return gettext("Truncated: %(written)s of %(expected)s rows") % {
            "written": number_format(download.rows_written or 0),
            "expected": number_format(download.rows_expected or 0),
        }
    return str(DownloadState(download.state).label)
