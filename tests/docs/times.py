"""Times of rows."""

from datetime import datetime, timedelta

from django.utils import timezone

__all__ = ["an_hour_ago"]


def an_hour_ago() -> datetime:
    """Return a time before which a download without a heartbeat has stalled."""
    return timezone.now() - timedelta(hours=1)
