"""What must not be lost although the database is away for a while."""

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

#: Seconds between the first two attempts, and at the most; each pause is twice the one before.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

#: What PostgreSQL answers where only reading is allowed: a standby, which may become the primary
#: database or leave its address to it.
POSTGRESQL_READ_ONLY: Final = "25006"

#: Operational errors of MySQL and MariaDB that no waiting heals: no access (1044, 1045, 1142,
#: 1143, 1227), no such database or column (1049, 1054), no value (1364), no such routine (1305),
#: characters or a text that the column or the server refuses (1153, 1267, 1300, 1366, 3988).
MYSQL_PERMANENT: Final = {
    *(1044, 1045, 1049, 1054, 1142, 1143, 1153, 1227, 1267, 1300, 1305, 1364, 1366, 3988),
}

#: Errors of SQLite that waiting may heal: busy, locked, out of memory, read-only, interrupted,
#: input and output, full, cannot be opened, lock protocol, schema changed.
SQLITE_TRANSIENT: Final = {5, 6, 7, 8, 9, 10, 13, 14, 15, 17}


def retry_on_outage(operation: Callable[[], T]) -> T:
    """Run an operation, and while the database is away run it again, each time on a new connection.

    The pauses grow. Inside a transaction of the caller's there is nothing to wait for, as
    the transaction is lost along with its connection: the first error is raised.

    Args:
        operation: Reads, or writes what may be written twice: a connection that died may have
            died after the write.

    Raises:
        DatabaseFault: An error that waiting does not heal; or any, in a transaction.
        DownloadUnavailable: The database was away for longer than ``DATABASE_WAIT``.
    """
    return _waiting(lambda: retry_on_new_connection(operation), inside=False)


def durable_write(rows: DownloadQuerySet, write: Callable[[], int]) -> int:
    """Write as ``surely`` does, and wait for the database as ``durably`` does.

    It waits inside a transaction of the caller's, too, because the write is not a part of it.

    Args:
        rows: What will be changed.
        write: Changes it, and returns how many rows that were.

    Returns:
        How many rows were changed.

    Raises:
        DatabaseFault: An error that waiting does not heal.
        DownloadUnavailable: The database was away for longer than ``DATABASE_WAIT``.
    """
    return _waiting(lambda: write_outside_transaction(rows, write), inside=True)


def _waiting(attempt: Callable[[], T], *, inside: bool) -> T:
    wait = settings.DATABASE_WAIT
    deadline, pause, away = time.monotonic() + wait, FIRST_PAUSE, False
    while True:
        try:
            result = attempt()
        except DatabaseFault as error:
            if not is_outage(error) or (in_transaction() and not inside):
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
            # All that wait should not come at once when the database is back.
            time.sleep(min(left, pause * random.uniform(0.5, 1)))  # noqa: S311 (not a secret)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if away:
                logger.info("The database is back")
            return result


def is_outage(error: DatabaseFault) -> bool:
    """Return whether the database is away, busy or read-only, which may be over soon.

    Nothing else is waited for: a statement or a value that the database refuses, it refuses again.
    """
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        # The lowest byte is the kind of the error, the rest what is known besides.
        return code & 0xFF in SQLITE_TRANSIENT
    if isinstance(error, InternalError):
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return state == POSTGRESQL_READ_ONLY
    if isinstance(error, OperationalError):
        return not (error.args and error.args[0] in MYSQL_PERMANENT)
    # Drivers have no better kind for a connection that breaks off in the middle of an answer.
    return isinstance(error, InterfaceError) or type(error) is DatabaseError
