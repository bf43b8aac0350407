"""Moments that a client sends."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings as project_settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime

__all__ = ["moment_of"]

#: How far a moment may be from now. Each time zone has such a moment, and each database.
FARTHEST: Final = timedelta(days=100 * 365)


def moment_of(text: str) -> datetime | None:
    """Return the moment that a text names, as a query can compare it; None if it names none.

    One that is far away becomes a nearer one. A moment without a time zone is one of the site's.
    """
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    if moment is None:
        return None
    now = datetime.now(UTC if timezone.is_aware(moment) else None)
    moment = max(min(moment, now + FARTHEST), now - FARTHEST)
    if timezone.is_aware(moment) == project_settings.USE_TZ:
        return moment
    zone = timezone.get_default_timezone()
    if project_settings.USE_TZ:
        return timezone.make_aware(moment, zone)
    return timezone.make_naive(moment, zone)
