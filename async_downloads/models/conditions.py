"""The states of a download, and what follows from them and from the clock."""

from datetime import datetime
from typing import Final

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

__all__ = ["UNFINISHED", "DownloadState", "has_expired"]


class DownloadState(models.TextChoices):
    """The states of a download; ``COMPLETE`` is final, unless its file is lost."""

    PENDING = "pending", _("Waiting")
    RUNNING = "running", _("In progress")
    COMPLETE = "complete", _("Complete")
    FAILED = "failed", _("Failed")


#: What waits for a worker or is with one. It never expires: it fails first.
UNFINISHED: Final = (DownloadState.PENDING, DownloadState.RUNNING)


def has_expired(now: datetime) -> Q:
    """Return the condition that a finished download has expired by ``now``."""
    # NULL compares with nothing, so that the negation of this would be unknown as well.
    outlived = Q(expires_at__isnull=False, expires_at__lte=now)
    return outlived & ~Q(state__in=UNFINISHED)
