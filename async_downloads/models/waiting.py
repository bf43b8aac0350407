"""Say in words how long a download may take: what is ahead of it, and the time that is left."""

from datetime import datetime
from typing import Final

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

__all__ = ["MAX_AHEAD", "ahead_text", "coarse_ahead", "coarse_seconds", "time_left_text"]

#: How many downloads ahead of another one are counted; there may be more.
MAX_AHEAD: Final = 100

#: Up to this number each one is shown; above it, tens.
EXACT_AHEAD: Final = 10

#: Seconds up to which a text has minutes; above, hours.
MINUTES_UNTIL: Final = 90 * 60

#: Minutes from which they are rounded to five.
EXACT_MINUTES: Final = 10


def coarse_ahead(ahead: int | None) -> tuple[int, bool]:
    """Return the number that a page shows, and whether there are more ahead of it than that.

    Args:
        ahead: How many downloads are ahead of another one; None if that is not known.
    """
    number = ahead or 0
    if number <= EXACT_AHEAD:
        return number, False
    if number >= MAX_AHEAD:
        return MAX_AHEAD - 1, True
    return (number - 1) // 10 * 10, True


def ahead_text(ahead: int | None) -> str:
    """Return in words how many downloads are ahead of another one; empty if there are none."""
    number, more = coarse_ahead(ahead)
    if not number:
        return ""
    text = (
        ngettext(
            "more than %(count)s ahead of it",
            "more than %(count)s ahead of it",
            number,
        )
        if more
        else ngettext("%(count)s ahead of it", "%(count)s ahead of it", number)
    )
    return text % {"count": number_format(number)}


def coarse_seconds(expected_at: datetime | None) -> int | None:
    """Return how many seconds there are until then, in tens; None if that has passed."""
    if expected_at is None:
        return None
    seconds = (expected_at - timezone.now()).total_seconds()
    return max(10, _rounded(seconds, 10)) if seconds > 0 else None


def time_left_text(seconds: int | None) -> str:
    """Return in words how long it may take; empty if that is not known."""
    if seconds is None:
        return ""
    if seconds < 50:
        return gettext("less than a minute left")
    if seconds > MINUTES_UNTIL:
        return gettext("about %(hours)s h left") % {
            "hours": number_format(_rounded(seconds, 3600) // 3600)
        }
    minutes = max(1, _rounded(seconds, 60) // 60)
    if minutes > EXACT_MINUTES:
        minutes = _rounded(seconds, 300) // 60
    return gettext("about %(minutes)s min left") % {"minutes": number_format(minutes)}


def _rounded(seconds: float, unit: int) -> int:
    """Return a number of seconds, rounded to a multiple of a unit; half of one is rounded up."""
    return int(seconds / unit + 0.5) * unit
