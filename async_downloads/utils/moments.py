"""Moments that a client names."""

from datetime import MAXYEAR, MINYEAR, datetime

from django.conf import settings
from django.utils import timezone

__all__ = ["parse_moment"]


def parse_moment(text: str) -> datetime | None:
    """Return the moment that a text names, comparable with those of rows.

    Args:
        text: A moment as ISO 8601, with an offset if ``USE_TZ`` is on and without one otherwise.

    Returns:
        None if it names no moment, or one near the ends of the calendar, which a database in
        another time zone may not be able to hold.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    within = MINYEAR < moment.year < MAXYEAR
    return moment if within and timezone.is_aware(moment) == settings.USE_TZ else None
