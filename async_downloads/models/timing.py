"""When a download expires, and when it has stalled."""

import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as project_settings
from django.db.models import DateTimeField, Expression
from django.utils import timezone

from async_downloads import settings

__all__ = [
    "ClockReading",
    "DatabaseNow",
    "alive_columns",
    "expiry",
    "heartbeat_columns",
    "mail_due",
    "stalled_before",
]

Sql = tuple[str, Any]


class DatabaseNow(Expression):
    """The time on the clock of the database, by which heartbeats are written and judged.

    The clocks of two machines may be minutes apart. By the clock of a web server, a worker
    that is alive could have stalled. SQLite has no clock of its own, as all its processes are
    on one machine. A site without ``USE_TZ`` has none that shows the same time for sure.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0):
        """Name a time that is so many seconds from now."""
        super().__init__()
        self.seconds = seconds

    def as_sql(self, compiler: Any, connection: Any) -> Sql:
        """Return the time on the clock of the process."""
        moment = min(_moments(self.seconds))
        return "%s", [connection.ops.adapt_datetimefield_value(moment)]

    def as_postgresql(self, compiler: Any, connection: Any) -> Sql:
        """Return the time at which the statement began."""
        if not project_settings.USE_TZ:
            return self.as_sql(compiler, connection)
        return f"(STATEMENT_TIMESTAMP() + INTERVAL '{self._microseconds} microseconds')", []

    def as_mysql(self, compiler: Any, connection: Any) -> Sql:
        """Return the same in UTC, if times are stored so."""
        if not project_settings.USE_TZ or connection.timezone_name != "UTC":
            sql, parameters = self.as_sql(compiler, connection)
            # In the columns of a query, a plain parameter would come back as text.
            return f"CAST({sql} AS DATETIME(6))", parameters
        return f"(UTC_TIMESTAMP(6) + INTERVAL {self._microseconds} MICROSECOND)", []

    @property
    def _microseconds(self) -> int:
        return round(self.seconds * 1_000_000)


class ClockReading:
    """An attribute that gets the time on the clock of the database as a row is read.

    The row keeps how far that is ahead of the clock of the process.
    """

    def __set__(self, row: Any, moment: datetime) -> None:
        row.clock_difference = moment - timezone.now()


def expiry() -> datetime | None:
    """Return when a download written now expires; None for never."""
    timeout = settings.TIMEOUT
    return None if timeout is None else max(_moments(timeout))


def mail_due() -> datetime | None:
    """Return from when on the end of a download requested now is mailed; None for never."""
    notify_after = settings.NOTIFY_AFTER
    return None if notify_after is None else max(_moments(notify_after))


def heartbeat_columns() -> dict[str, Any]:
    """Return the columns that every write of an attempt refreshes."""
    return {"moved_at": DatabaseNow(), **alive_columns()}


def alive_columns() -> dict[str, Any]:
    """Return the columns that a heartbeat refreshes which says nothing about the work."""
    return {"heard_at": DatabaseNow(), "expires_at": expiry()}


def stalled_before(clock_difference: timedelta = timedelta()) -> datetime:
    """Return the cutoff: an unfinished download has stalled if its heartbeat is older.

    Args:
        clock_difference: How far the clock of the database is ahead of the process's.
    """
    return min(_moments(-settings.STALLED_AFTER)) + clock_difference


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
