"""When a download expires, and when it has stalled."""

import time
from datetime import datetime, timedelta

from django.utils import timezone

from async_downloads import settings

__all__ = ["expiry", "heartbeat_columns", "stalled_before"]


def expiry() -> datetime | None:
    """Return when a download written now expires; None for never."""
    timeout = settings.TIMEOUT
    return None if timeout is None else max(_moments(timeout))


def heartbeat_columns() -> dict[str, datetime | None]:
    """Return the columns that every write of an attempt refreshes."""
    return {"heard_at": timezone.now(), "expires_at": expiry()}


def stalled_before() -> datetime:
    """Return the cutoff: an unfinished download has stalled if its heartbeat is older."""
    return min(_moments(-settings.STALLED_AFTER))


def _moments(seconds: float) -> tuple[datetime, ...]:
    """Return the times that a clock may show this many seconds from now.

    With ``USE_TZ`` there is one. Without it, the clock may be put forward or back
    in between; the caller takes the time that makes nothing happen too early.
    """
    now = timezone.now()
    moment = now + timedelta(seconds=seconds)
    if timezone.is_aware(now):
        return (moment,)
    return moment, datetime.fromtimestamp(time.time() + seconds)  # noqa: DTZ006
