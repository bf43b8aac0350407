"""Wait for a database that is away, instead of losing what has to be recorded."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import DatabaseError, InterfaceError, InternalError, OperationalError
from django.db import Error as DatabaseFault

from async_downloads import settings
from async_downloads.exceptions import DownloadUnavailable
from async_downloads.models import DownloadQuerySet
from async_downloads.store.transactions import (
    in_transaction,
    retry_on_new_connection,
    write_outside_transaction,
)
from async_downloads.utils.log import get_logger

__all__ = ["durable_write", "is_outage", "retry_on_outage"]

logger = get_logger(__name__)

T = TypeVar("T")

#: Seconds between the first two calls, and at most; each pause is twice as long as the last.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

#: PostgreSQL refuses a write because it is read-only: a standby, which may become the primary
#: database or give its address to it.
POSTGRESQL_READ_ONLY: Final = "25006"

#: Operational errors of MySQL and MariaDB that stay, however long one waits: no access (1044,
#: 1045, 1142, 1143, 1227), no such database or column (1049, 1054), no value (1364), no such
#: routine (1305), a text that the column or the server refuses (1153, 1267, 1300, 1366, 3988),
#: a wrong regular expression (1139, 3685 to 3697).
MYSQL_PERMANENT: Final = {
    *(1044, 1045, 1049, 1054, 1139, 1142, 1143, 1153, 1227, 1267, 1300, 1305, 1364, 1366, 3988),
    *range(3685, 3698),
}

#: Errors of SQLite that may be over soon: busy, locked, out of memory, read-only, interrupted,
#: input and output, full, cannot be opened, lock protocol, schema changed.
SQLITE_TRANSIENT: Final = {5, 6, 7, 8, 9, 10, 13, 14, 15, 17}


def retry_on_outage(operation: Callable[[], T]) -> T:
    """Write or read, and repeat it while the database is away, each time on a new connection.

    The pauses grow. Inside a caller's transaction the first error is raised: the transaction
    is lost with its connection, so there is nothing to wait for.

    Args:
        operation: Reads, or writes what can be written twice: a connection that broke may
            have written before it broke.

    Raises:
        DatabaseFault: An error other than an outage; any error inside a transaction.
        DownloadUnavailable: The database was away for longer than ``DATABASE_WAIT``.
    """
    return _wait_out(lambda: retry_on_new_connection(operation), in_transactions=False)


def durable_write(rows: DownloadQuerySet, write: Callable[[], int]) -> int:
    """Write outside the caller's transaction, and repeat it while the database is away.

    It waits inside a caller's transaction, too, because the write does not belong to it.
    Arguments and result are those of ``write_outside_transaction``.

    Raises:
        DatabaseFault: An error other than an outage.
        DownloadUnavailable: The database was away for longer than ``DATABASE_WAIT``.
    """
    return _wait_out(lambda: write_outside_transaction(rows, write), in_transactions=True)


def _wait_out(operation: Callable[[], T], *, in_transactions: bool) -> T:
    wait = settings.DATABASE_WAIT
    deadline, pause, away = time.monotonic() + wait, FIRST_PAUSE, False
    while True:
        try:
            result = operation()
        except DatabaseFault as error:
            if not is_outage(error) or (in_transaction() and not in_transactions):
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                logger.error("The database is still away; nothing was recorded: %s", error)
                raise DownloadUnavailable(
                    f"The database did not answer within {wait:g} seconds "
                    "(ASYNC_DOWNLOADS_DATABASE_WAIT), so nothing was recorded."
                ) from error
            if not away:
                logger.warning("The database is away; waiting for it: %s", error)
            away = True
            # The pauses differ, so that not all workers come back at the same moment.
            time.sleep(min(left, pause * random.uniform(0.5, 1)))  # noqa: S311 (not a secret)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if away:
                logger.info("The database is back")
            return result


def is_outage(error: DatabaseFault) -> bool:
    """Return whether the database is away, busy or read-only, which may be over soon.

    A statement or a value that the database refuses is refused again, so it is not an outage.
    """
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        # The lowest byte is the kind of the error, the rest are details.
        return code & 0xFF in SQLITE_TRANSIENT
    if isinstance(error, InternalError):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return state == POSTGRESQL_READ_ONLY
    if isinstance(error, OperationalError):
        return not (error.args and error.args[0] in MYSQL_PERMANENT)
    # A connection that breaks off amid an answer: drivers have no better class for it.
    return isinstance(error, InterfaceError) or type(error) is DatabaseError
