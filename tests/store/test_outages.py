"""Writes that must not be lost while the database is away."""

import sqlite3
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from async_downloads.exceptions import DownloadUnavailable
from async_downloads.models import Download
from async_downloads.store.outages import durable_write, is_outage, retry_on_outage
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


class DriverError(Exception):
    """Stands for the exception of a driver."""

    def __init__(self, **attributes: Any):
        super().__init__()
        vars(self).update(attributes)


def caused(error: Exception, **attributes: Any) -> Exception:
    error.__cause__ = DriverError(**attributes)
    return error


#: Errors as Django raises them, and whether they are outages.
ERRORS = {
    "psycopg: connection refused": (caused(OperationalError("refused"), sqlstate=None), True),
    "psycopg: starting up": (caused(OperationalError(""), sqlstate="57P03"), True),
    "psycopg: shutting down": (caused(OperationalError(""), sqlstate="57P01"), True),
    "psycopg: connection lost": (InterfaceError("the connection is closed"), True),
    "psycopg: read-only": (caused(InternalError(""), sqlstate="25006"), True),
    "psycopg2: read-only": (caused(InternalError(""), pgcode="25006"), True),
    "psycopg2: breaks off": (caused(DatabaseError("no message"), pgcode=None), True),
    "psycopg: transaction is broken": (caused(InternalError(""), sqlstate="25P02"), False),
    "mysqlclient: no socket": (OperationalError(2002, "Can't connect"), True),
    "mysqlclient: no server": (OperationalError(2003, "Can't connect"), True),
    "mysqlclient: gone away": (OperationalError(2006, "has gone away"), True),
    "mysqlclient: lost": (OperationalError(2013, "Lost connection"), True),
    "mysqlclient: read-only": (OperationalError(1290, "--read-only"), True),
    "mysqlclient: shutting down": (OperationalError(1053, "shutdown"), True),
    "mysqlclient: lock": (OperationalError(1205, "Lock wait timeout"), True),
    "mysqlclient: no column": (OperationalError(1054, "Unknown column"), False),
    "mysqlclient: no access": (OperationalError(1045, "Access denied"), False),
    "mysqlclient: character": (OperationalError(1366, "Incorrect string"), False),
    "sqlite3: busy": (caused(OperationalError(""), sqlite_errorcode=5), True),
    "sqlite3: busy snapshot": (caused(OperationalError(""), sqlite_errorcode=517), True),
    "sqlite3: no disk": (caused(OperationalError(""), sqlite_errorcode=14), True),
    "sqlite3: no such table": (caused(OperationalError(""), sqlite_errorcode=1), False),
    "sqlite3: corrupt": (caused(DatabaseError(""), sqlite_errorcode=11), False),
    "integrity": (IntegrityError("unique"), False),
    "data": (DataError("too long"), False),
    "programming": (ProgrammingError("no such table"), False),
}


@pytest.mark.parametrize("name", ERRORS)
def test_only_an_error_that_may_be_over_soon_is_an_outage(name: str) -> None:
    error, expected = ERRORS[name]
    assert is_outage(error) == expected


def test_a_wrong_statement_is_raised_at_once() -> None:
    with pytest.raises(DatabaseError) as raised:
        retry_on_outage(
            lambda: connection.cursor().execute("SELECT no_such_column FROM no_such_table")
        )
    assert not is_outage(raised.value)


def test_a_locked_sqlite_is_an_outage() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite is locked as a whole")
    with sqlite3.connect(connection.settings_dict["NAME"]) as other:
        other.execute("BEGIN IMMEDIATE")
        with connection.cursor() as cursor, pytest.raises(OperationalError) as raised:
            cursor.execute("PRAGMA busy_timeout = 10")
            cursor.execute("BEGIN IMMEDIATE")
    other.close()
    connection.close()
    assert is_outage(raised.value)


class Away:
    """A database that is away for a number of calls."""

    def __init__(self, failures: float):
        self.failures = failures
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise OperationalError("connection refused")
        return 1


def test_it_is_repeated_until_the_database_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    away = Away(5)
    assert retry_on_outage(away) == 1
    assert away.calls == 6
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_after_the_wait_it_is_raised_with_its_cause(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_DATABASE_WAIT = 0.3
    with pytest.raises(DownloadUnavailable, match=r"within 0\.3 seconds") as raised:
        retry_on_outage(Away(float("inf")))
    assert isinstance(raised.value.__cause__, OperationalError)


def test_without_a_wait_it_is_repeated_once_on_a_new_connection(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_DATABASE_WAIT = 0
    assert retry_on_outage(Away(1)) == 1
    away = Away(2)
    with pytest.raises(DownloadUnavailable):
        retry_on_outage(away)
    assert away.calls == 2


def test_inside_a_callers_transaction_it_does_not_wait() -> None:
    with transaction.atomic(), pytest.raises(OperationalError):
        retry_on_outage(Away(float("inf")))


def test_a_write_outside_the_transaction_waits() -> None:
    DownloadFactory()
    away = Away(3)
    with transaction.atomic():
        assert durable_write(Download.objects.all(), away) == 1
    assert away.calls > 3
