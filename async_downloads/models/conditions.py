"""The states of a download, and what follows from them and from the clock."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.db.models import Q
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

__all__ = ["CLEARED", "UNFINISHED", "DownloadState", "has_expired", "status_of"]


class DownloadState(models.TextChoices):
    """The states of a download; ``COMPLETE`` is final, unless its file is lost."""

    PENDING = "pending", _("Waiting")
    RUNNING = "running", _("In progress")
    COMPLETE = "complete", _("Complete")
    FAILED = "failed", _("Failed")


#: What waits for a worker or is with one. It never expires: it fails first.
UNFINISHED: Final = (DownloadState.PENDING, DownloadState.RUNNING)

#: The claim of what its owner has cleared, and what is yet to be deleted: no run ever has it.
CLEARED: Final = uuid.UUID(int=0)


def has_expired(now: datetime) -> Q:
    """Return the condition that a finished download has expired by ``now``."""
    # NULL compares with nothing, so that the negation of this would be unknown as well.
    outlived = Q(expires_at__isnull=False, expires_at__lte=now)
    return outlived & ~Q(state__in=UNFINISHED)


def status_of(download: Any) -> str:
    """Return the state of a download in words for the owner, with what happened to a stalled one.

    Args:
        download: The row; it defines its columns, which are therefore not known here.
    """
    if download.stalled and download.state == DownloadState.PENDING:
        if download.started_at is not None:
            return str(_("Stalled: its task ended without making a file"))
        return str(_("Still waiting: nothing has picked it up"))
    if download.stalled:
        return str(_("Stalled: the worker stopped responding"))
    if download.state == DownloadState.PENDING and download.percentage:
        # Its task reports progress, and saves the file only later.
        return str(DownloadState.RUNNING.label)
    if download.truncated:
        return gettext("Ended early: %(written)s of %(expected)s rows") % {
            "written": number_format(download.rows_written or 0),
            "expected": number_format(download.rows_expected or 0),
        }
    return str(DownloadState(download.state).label)
