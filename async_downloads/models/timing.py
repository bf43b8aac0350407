"""When what is written now expires, and how long a silence counts as alive."""

import time
from datetime import datetime, timedelta

from django.utils import timezone

from async_downloads import settings

__all__ = ["expiry", "sign_of_life", "stalled_before"]


def expiry() -> datetime | None:
    """Return when something written now expires; None for never."""
    timeout = settings.TIMEOUT
    return None if timeout is None else max(_moments(timeout))


def sign_of_life() -> dict[str, datetime | None]:
    """Return the columns that every write refreshes."""
    return {"heard_at": timezone.now(), "expires_at": expiry()}


def stalled_before() -> datetime:
    """Return before when something unfinished was last heard of if it has stalled."""
    return min(_moments(-settings.STALLED_AFTER))


def _moments(seconds: float) -> tuple[datetime, ...]:
    """Return what a clock may show so many seconds from now.

    With ``USE_TZ`` that is one time. Without it, the clock may be put forward or
    back on the way; whoever asks takes the answer that is too early for nothing.
    """
    now = timezone.now()
    moment = now + timedelta(seconds=seconds)
    if timezone.is_aware(now):
        return (moment,)
    return moment, datetime.fromtimestamp(time.time() + seconds)  # noqa: DTZ006
