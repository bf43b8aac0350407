"""How long a download is kept after its end: its own lifetime, or ``TIMEOUT``."""

import math
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.db.models import Case, DateTimeField, F, Q, Value, When
from django.utils import timezone
from django.utils.formats import date_format, time_format
from django.utils.translation import gettext

from async_downloads import settings
from async_downloads.models.timing import expiry, heartbeat_columns

__all__ = [
    "FOR_GOOD",
    "MAX_SECONDS",
    "Timeout",
    "ended_columns",
    "expiry_unless",
    "keep_until",
    "lifetime_of",
    "menu_until_text",
    "timeout_of",
    "until_text",
]

#: Seconds; None until the owner clears the download; ``"default"`` for the site's ``TIMEOUT``.
Timeout = float | Literal["default"] | None

#: The lifetime of a download that never expires. NULL stands for the site's ``TIMEOUT``.
FOR_GOOD: Final = timedelta()

#: A hundred years, which keeps dates representable.
MAX_SECONDS: Final = 100 * 365 * 24 * 60 * 60

#: An expiry this near is shown as a time of day, even if that is tomorrow.
NEAR: Final = timedelta(hours=12)

#: An expiry by ``TIMEOUT`` is shown in the menu only if it is this near.
SOON: Final = timedelta(hours=6)

#: How much a clock without time zones may be put forward meanwhile.
_CLOCK_CHANGE: Final = timedelta(hours=1)


def lifetime_of(timeout: Timeout) -> timedelta | None:
    """Return the lifetime that an argument ``timeout`` means, for the column of a row.

    Args:
        timeout: Seconds, rounded up; None for good; ``"default"`` for the site's ``TIMEOUT``.

    Raises:
        TypeError: It is neither a number nor one of the two.
        ValueError: It is not above 0, or above a hundred years.
    """
    if timeout is None:
        return FOR_GOOD
    if timeout == "default":
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds, None or 'default', not {timeout!r}.")
    if not 0 < timeout <= MAX_SECONDS:
        raise ValueError(
            f"timeout is {timeout!r}; it must be above 0 and at most {MAX_SECONDS} seconds, "
            "or None to keep the download until its owner clears it."
        )
    return timedelta(seconds=math.ceil(timeout))


def timeout_of(lifetime: timedelta | None) -> float | None:
    """Return the seconds from the end of a download to its expiry; None for never.

    Args:
        lifetime: As on the row.
    """
    if lifetime is None:
        timeout: float | None = settings.TIMEOUT
        return timeout
    return lifetime.total_seconds() or None


def ended_columns() -> dict[str, Any]:
    """Return the columns that the end of a download refreshes: its expiry is now its own."""
    return {**heartbeat_columns(), "expires_at": _own_expiry()}


def expiry_unless(failed: Q) -> Case:
    """Return the expiry that a heartbeat refreshes: the attempt may go on after a failure.

    Args:
        failed: The condition of the failure.
    """
    default = Value(expiry(), DateTimeField())
    return Case(When(failed, then=_own_expiry()), default=default, output_field=DateTimeField())


def _own_expiry() -> Case:
    """Return when a download expires that ends now."""
    now = timezone.now()
    if timezone.is_naive(now):
        now += _CLOCK_CHANGE
    return Case(
        When(lifetime__isnull=True, then=Value(expiry(), DateTimeField())),
        When(lifetime=FOR_GOOD, then=Value(None, DateTimeField())),
        default=Value(now, DateTimeField()) + F("lifetime"),
        output_field=DateTimeField(),
    )


def keep_until(download: Any) -> datetime | None:
    """Return until when its owner may keep a download; None if not for longer.

    That is one more lifetime after its expiry, and at most ``MAX_LIFETIME`` after its end.

    Args:
        download: The row, whose class imports this module.
    """
    limit, expires_at = settings.MAX_LIFETIME, download.expires_at
    if limit is None or expires_at is None or download.held or not download.complete:
        return None
    ended_at = download.finished_at or download.timestamp
    until: datetime = ended_at + timedelta(seconds=limit)
    timeout = download.timeout
    if timeout is not None:
        until = min(until, expires_at + timedelta(seconds=timeout))
    return until if until > expires_at else None


def until_text(download: Any) -> str:
    """Return in words until when a complete download is kept; empty if it does not expire.

    The text stays true while a page is open: a time of day, the name of a day or a date, in
    the language and the time zone of the reader.
    """
    expires_at = download.expires_at
    if expires_at is None or download.held or not download.complete:
        return ""
    now = timezone.now()
    near = expires_at - now < NEAR
    if timezone.is_aware(now):
        now, expires_at = timezone.localtime(now), timezone.localtime(expires_at)
    days = (expires_at.date() - now.date()).days
    if near or days < 1:
        time = time_format(expires_at.time(), "TIME_FORMAT")
    else:
        time = date_format(expires_at, "l" if days < 7 else "DATE_FORMAT")
    return gettext("until %(time)s") % {"time": time}


def menu_until_text(download: Any) -> str:
    """Return the same for the menu, which is silent about a ``TIMEOUT`` that is far away."""
    expires_at = download.expires_at
    if download.lifetime is None and (expires_at is None or expires_at - timezone.now() > SOON):
        return ""
    return until_text(download)
