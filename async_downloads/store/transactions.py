"""Through which connection a change goes, and when it counts.

The code that calls us may be inside a transaction, inside a broken one, or on a
connection that has died. None of it may lose what has to be written.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

from django.db import Error as DatabaseFault
from django.db import OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from async_downloads.models import Download, DownloadQuerySet
from async_downloads.utils.log import get_logger

__all__ = [
    "DatabaseFault",
    "after_commit",
    "database",
    "downloads",
    "in_savepoint",
    "in_transaction",
    "on_separate_connection",
    "read_committed",
    "retry_on_deadlock",
    "retry_on_new_connection",
    "short_lock_timeout",
    "write_outside_transaction",
]

logger = get_logger(__name__)

T = TypeVar("T")

#: Milliseconds that an impatient statement waits for somebody else's lock.
LOCK_MILLISECONDS: Final = 900

#: Seconds in which a transaction that the database gave up is tried again, and between two tries.
DEADLOCK_SECONDS: Final = 3.0
DEADLOCK_PAUSE: Final = 0.05

#: Seconds that Python's SQLite waits for a lock where no timeout is set.
SQLITE_TIMEOUT: Final = 5.0


def database() -> str:
    """Return the alias of the database that decides.

    A replica may lag behind, so that even what is only read here (to list, to
    check an owner) is read where it is written.
    """
    return router.db_for_write(Download)


def downloads() -> DownloadQuerySet:
    """Return all downloads, on the database that decides."""
    return Download.objects.using(database())


def in_transaction() -> bool:
    """Return whether the caller has a transaction open on the database that decides."""
    connection = connections[database()]
    return connection.in_atomic_block or _by_hand(connection)


def after_commit(callback: Callable[[], Any], *, using: str | None = None) -> None:
    """Call back once the surrounding transaction has committed; at once if there is none.

    An exception of the callback is logged: it must not fail the transaction
    that has just succeeded. Where the caller has switched autocommit off, it is
    called once they have committed and switched it on again.

    Args:
        callback: What to call.
        using: The database; the one that decides if left out.
    """
    using = using or database()
    connection = connections[using]
    # Without autocommit, Django takes callbacks only in a block, and keeps them from there.
    needed = _by_hand(connection) and not connection.in_atomic_block
    with transaction.atomic(using=using) if needed else nullcontext():
        transaction.on_commit(callback, using=using, robust=True)


def retry_on_new_connection(write: Callable[[], T]) -> T:
    """Write (or read), and if this connection cannot, do it on a new one.

    A connection that died cannot. Nor can one of SQLite that reads rows while it
    writes, or has read in its transaction, once somebody else has written: it
    would have to write to the past.

    Raises:
        DatabaseFault: Neither worked; or the first did not, and has broken the
            caller's transaction, as on every database but SQLite.
    """
    try:
        return write()
    except DatabaseFault:
        connection = connections[database()]
        if not in_transaction():
            if connection.connection is None or connection.is_usable():
                return on_separate_connection(write)
            # It is dead, so that nobody else can be using it, and the task gets a new one too.
            connection.close()
            return write()
        if connection.vendor != "sqlite":
            raise

        def write_soon() -> T:
            # It may be the caller's own transaction that locks it.
            with short_lock_timeout():
                return write()

        return on_separate_connection(write_soon)


def retry_on_deadlock(transact: Callable[[], T]) -> T:
    """Run a transaction, and run it again if the database gave it up for another one.

    Servers end a deadlock in that way. A wait for a lock that lasted longer than
    ``DEADLOCK_SECONDS`` is no such case.

    Raises:
        OperationalError: It was given up too often; or once, in a transaction of the caller's.
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
    """Write what must not be lost, whatever becomes of the caller's transaction.

    Inside a transaction it is written beside it, so that neither a rollback nor
    a broken transaction takes it along; and inside it where that cannot be,
    because the rows were made there or are locked there.

    Args:
        rows: What will be changed.
        write: Changes it, and returns how many rows that were.

    Returns:
        How many rows were changed.

    Raises:
        DatabaseFault: It could be written in neither way.
    """
    if not in_transaction():
        return retry_on_new_connection(write)

    def write_if_seen() -> int | None:
        # Without a look first, rows that were made in the transaction would be waited for.
        with short_lock_timeout():
            return write() if rows.all().exists() else None

    try:
        written = on_separate_connection(write_if_seen)
    except DatabaseFault:
        return in_savepoint(write)
    try:
        return written or in_savepoint(write)
    except OperationalError:
        if written is None:
            # The transaction still sees rows that were removed on another connection.
            return 0
        raise


def in_savepoint(write: Callable[[], T]) -> T:
    """Write, so that an error of the database does not break the caller's transaction."""
    inside = connections[database()].in_atomic_block
    with transaction.atomic(using=database()) if inside else nullcontext():
        return write()


def read_committed(read: Callable[[], T]) -> T:
    """Read what is committed, whatever the caller's transaction still sees or has changed."""
    return on_separate_connection(read) if in_transaction() else read()


def on_separate_connection(write: Callable[[], T]) -> T:
    """Write on a new connection, whatever the state of the caller's.

    It is none of a pool's, which may have no other one while the caller has theirs.
    """
    using = database()

    def on_new_connection() -> T:
        connections[using] = _unpooled(connections[using])
        try:
            return write()
        finally:
            # Who hears of the write may have asked other databases as well.
            connections.close_all()

    # A connection belongs to its thread.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(on_new_connection).result()


def _unpooled(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Return a connection to the same database that no pool has a say in."""
    settings = connection.settings_dict
    if "pool" not in settings["OPTIONS"]:
        return connection
    options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
    return type(connection)({**settings, "OPTIONS": options}, alias=connection.alias)


@contextmanager
def short_lock_timeout() -> Iterator[None]:
    """Fail with a ``DatabaseFault`` rather than wait long for somebody else's lock.

    Inside a transaction of the caller's it changes nothing.
    """
    connection = connections[database()]
    limited = _LIMITED_WAITS.get(connection.vendor)
    with limited(connection) if limited and not in_transaction() else nullcontext():
        yield


def _by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the caller has switched autocommit off; asking Django would connect."""
    return connection.connection is not None and not connection.autocommit


@contextmanager
def _limited_on_sqlite(connection: BaseDatabaseWrapper) -> Iterator[None]:
    _execute(connection, f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")
    try:
        yield
    finally:
        seconds = connection.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT)
        _execute(connection, f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@contextmanager
def _limited_on_postgresql(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # Only inside a transaction is it sure to end with it, whoever pools the connections.
    with transaction.atomic(using=connection.alias):
        _execute(connection, f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
        yield


@contextmanager
def _limited_on_mysql(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # It counts in whole seconds.
    _execute(
        connection,
        "SET @async_downloads_wait = @@SESSION.innodb_lock_wait_timeout, "
        "SESSION innodb_lock_wait_timeout = 1",
    )
    try:
        yield
    finally:
        if connection.is_usable():
            _execute(connection, "SET SESSION innodb_lock_wait_timeout = @async_downloads_wait")


_LIMITED_WAITS: Final = {
    "mysql": _limited_on_mysql,
    "postgresql": _limited_on_postgresql,
    "sqlite": _limited_on_sqlite,
}


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
