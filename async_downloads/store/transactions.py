"""Decide which connection a write uses, and when it counts.

The caller may be inside a transaction, inside a broken one, or on a connection that has
died. A write that must be recorded is recorded in each case.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Final, TypeVar

from django.db import Error as DatabaseFault
from django.db import OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from async_downloads.models import Download, DownloadQuerySet
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit

__all__ = [
    "DatabaseFault",
    "after_commit",
    "canonical_key",
    "database",
    "downloads",
    "has_snapshot",
    "in_savepoint",
    "in_transaction",
    "on_passing_connection",
    "on_separate_connection",
    "read_committed",
    "reads_committed",
    "retry_on_deadlock",
    "retry_on_new_connection",
    "row_with_key",
    "short_lock_timeout",
    "write_outside_transaction",
]

logger = get_logger(__name__)

T = TypeVar("T")

#: Milliseconds that a statement with a short lock timeout waits for a lock.
LOCK_MILLISECONDS: Final = 900

#: Seconds in which a transaction is repeated after a deadlock, and between two repetitions.
DEADLOCK_SECONDS: Final = 3.0
DEADLOCK_PAUSE: Final = 0.05

#: Seconds that Python's SQLite waits for a lock if no timeout is set.
SQLITE_TIMEOUT: Final = 5.0


def database() -> str:
    """Return the alias of the primary database.

    A replica may lag behind, so reads (to list downloads, to check an owner) go to the
    primary database as well.
    """
    return router.db_for_write(Download)


def downloads() -> DownloadQuerySet:
    """Return all downloads, on the primary database."""
    return Download.objects.using(database())


def canonical_key(download_key: object) -> str:
    """Return a download key as ``init_download`` returned it, given that text or a UUID.

    Anything else is returned as text, which is the key of no download.
    """
    try:
        return str(uuid.UUID(str(download_key)))
    except ValueError:
        return str(download_key)


def row_with_key(download_key: str) -> DownloadQuerySet:
    """Return the row with this key; none if the text is not a key."""
    try:
        return downloads().filter(pk=uuid.UUID(download_key))
    except ValueError:
        return downloads().none()


def in_transaction(connection: BaseDatabaseWrapper | None = None) -> bool:
    """Return whether a transaction is open.

    Args:
        connection: The connection, maybe of another thread; the caller's to the primary
            database if left out.
    """
    if connection is None:
        connection = connections[database()]
    return connection.in_atomic_block or _autocommit_is_off(connection)


def after_commit(callback: Callable[[], Any], *, using: str | None = None) -> None:
    """Call back once the surrounding transaction has committed; at once if there is none.

    An exception of the callback is logged: it must not fail a transaction that has
    succeeded. Only that of a time limit is raised as well: the task has to end. If the caller
    has switched autocommit off, the callback runs once the caller has committed and switched it
    on again.

    Args:
        callback: What to call.
        using: The alias of the database; the primary one if left out.
    """
    using = using or database()
    connection = connections[using]
    # Django's own robust callbacks log the exception of a time limit, and the task would go on.
    call_back = partial(_call_back, callback)
    if not in_transaction(connection):
        call_back()
        return
    # Without autocommit, Django accepts callbacks inside an atomic block only, and keeps them.
    needs_block = _autocommit_is_off(connection) and not connection.in_atomic_block
    with transaction.atomic(using=using) if needs_block else nullcontext():
        transaction.on_commit(call_back, using=using)


def _call_back(callback: Callable[[], Any]) -> None:
    """Call back, log an exception, and raise that of a time limit."""
    try:
        callback()
    except Exception as error:
        logger.exception("A callback after a commit has failed")
        raise_time_limit(error)


def retry_on_new_connection(operation: Callable[[], T]) -> T:
    """Write or read, and repeat it on a new connection if this one fails.

    A dead connection fails. So does a connection of SQLite that reads rows while it writes,
    or that has read in its transaction, once another process has written.

    Raises:
        DatabaseFault: Both failed; or the first did, and has broken the caller's transaction,
            as on every database but SQLite.
    """
    try:
        return operation()
    except DatabaseFault:
        connection = connections[database()]
        if not in_transaction():
            if connection.connection is None or connection.is_usable():
                return on_separate_connection(operation)
            # It is dead, so nothing else uses it, and the task gets a new one too.
            connection.close()
            return operation()
        if connection.vendor != "sqlite":
            raise

        def operation_with_timeout() -> T:
            # The lock may be the caller's own, which is held during the wait.
            with short_lock_timeout():
                return operation()

        return on_separate_connection(operation_with_timeout)


def retry_on_deadlock(transact: Callable[[], T]) -> T:
    """Run a transaction, and repeat it if the database aborts it to resolve a deadlock.

    It is not repeated after a lock timeout longer than ``DEADLOCK_SECONDS``.

    Raises:
        OperationalError: It was aborted too often; or once, inside a caller's transaction.
    """
    deadline = time.monotonic() + DEADLOCK_SECONDS
    while True:
        try:
            return transact()
        except OperationalError:
            if in_transaction() or time.monotonic() > deadline:
                raise
            time.sleep(DEADLOCK_PAUSE)


def write_outside_transaction(rows: DownloadQuerySet, write: Callable[[], int]) -> int:
    """Write on a separate connection, so that no rollback of the caller's takes it along.

    Write inside the caller's transaction only if that is impossible: if the rows were
    created or are locked there.

    Args:
        rows: The rows to change.
        write: Changes them, and returns how many it has changed.

    Returns:
        The number of rows that were changed.

    Raises:
        DatabaseFault: Both ways failed.
    """
    if not in_transaction():
        return retry_on_new_connection(write)

    def write_if_visible() -> int | None:
        # The read comes first: a write would wait for rows that the transaction has created.
        with short_lock_timeout():
            return write() if rows.all().exists() else None

    try:
        written = on_separate_connection(write_if_visible)
    except DatabaseFault:
        return in_savepoint(write)
    try:
        return written or in_savepoint(write)
    except OperationalError:
        if written is None:
            # The transaction still sees rows that another connection has deleted.
            return 0
        raise


def in_savepoint(operation: Callable[[], T], *, using: str | None = None) -> T:
    """Write or read so that an error of the database does not break the caller's transaction.

    Args:
        operation: Writes or reads.
        using: The alias of the database; the primary one if left out.
    """
    using = using or database()
    inside = connections[using].in_atomic_block
    with transaction.atomic(using=using) if inside else nullcontext():
        return operation()


def read_committed(read: Callable[[], T]) -> T:
    """Read what is committed, whatever the caller's transaction sees or has changed."""
    return on_separate_connection(read) if in_transaction() else read()


def on_separate_connection(operation: Callable[[], T]) -> T:
    """Write or read on a new connection, whatever the state of the caller's.

    It bypasses a connection pool, whose last connection may be the caller's.
    """
    # A connection belongs to its thread.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(on_passing_connection, database(), operation).result()


def on_passing_connection(using: str, operation: Callable[[], T]) -> T:
    """Write or read, and close the connections that this thread has then.

    Args:
        using: The alias of the database that ``operation`` uses. It bypasses a pool.
        operation: Writes or reads.
    """
    connections[using] = _without_pool(connections[using])
    try:
        return operation()
    finally:
        # Receivers of signals and the cache may have opened connections to other databases.
        connections.close_all()


def _without_pool(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Return a connection to the same database that does not come from a pool."""
    settings = connection.settings_dict
    if "pool" not in settings["OPTIONS"]:
        return connection
    options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
    return type(connection)({**settings, "OPTIONS": options}, alias=connection.alias)


@contextmanager
def short_lock_timeout(*, using: str | None = None) -> Iterator[None]:
    """Raise ``DatabaseFault`` after ``LOCK_MILLISECONDS`` of waiting for a lock.

    Inside a caller's transaction it changes nothing.

    Args:
        using: The alias of the database; the primary one if left out.
    """
    connection = connections[using or database()]
    timeout = _LOCK_TIMEOUTS.get(connection.vendor)
    with timeout(connection) if timeout and not in_transaction(connection) else nullcontext():
        yield


def reads_committed(connection: BaseDatabaseWrapper) -> bool:
    """Return whether, by the settings, each statement of a transaction sees what is committed.

    Otherwise the transaction has a snapshot, and may not write to a row that another
    connection has written to since.

    Args:
        connection: A connection, maybe of another thread.
    """
    options = connection.settings_dict["OPTIONS"]
    level = options.get("isolation_level", "read committed")
    name = str(getattr(level, "name", level))
    return name.replace("_", " ").lower() == "read committed"


def has_snapshot() -> bool:
    """Return whether a transaction is open that may not see what others have committed since."""
    connection = connections[database()]
    return in_transaction(connection) and not reads_committed(connection)


def _autocommit_is_off(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the caller manages transactions; ``get_autocommit()`` would connect."""
    return connection.connection is not None and not connection.autocommit


@contextmanager
def _sqlite_lock_timeout(connection: BaseDatabaseWrapper) -> Iterator[None]:
    _execute(connection, f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")
    try:
        yield
    finally:
        seconds = connection.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT)
        _execute(connection, f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@contextmanager
def _postgresql_lock_timeout(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # SET LOCAL ends with the transaction, even behind a pooler that shares sessions.
    with transaction.atomic(using=connection.alias):
        _execute(connection, f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
        yield


@contextmanager
def _mysql_lock_timeout(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # It is in whole seconds.
    _execute(
        connection,
        "SET @async_downloads_wait = @@SESSION.innodb_lock_wait_timeout, "
        "SESSION innodb_lock_wait_timeout = 1",
    )
    session = connection.connection
    try:
        yield
    finally:
        # A queue may have closed the connection. A new one has the timeout that it should.
        if connection.connection is session and connection.is_usable():
            _execute(connection, "SET SESSION innodb_lock_wait_timeout = @async_downloads_wait")


_LOCK_TIMEOUTS: Final = {
    "mysql": _mysql_lock_timeout,
    "postgresql": _postgresql_lock_timeout,
    "sqlite": _sqlite_lock_timeout,
}


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
