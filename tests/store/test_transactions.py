"""Which connection a write uses, and when it counts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from async_downloads import cache, store
from async_downloads.models import Download
from async_downloads.store.transactions import (
    after_commit,
    in_transaction,
    on_separate_connection,
    retry_on_new_connection,
    short_lock_timeout,
    write_outside_transaction,
)
from tests.factories import DownloadFactory
from tests.locks import giving_up_at_once
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.django_db(transaction=True)


def rename(name: str) -> Callable[[], int]:
    return lambda: Download.objects.all().update(name=name)


@contextmanager
def locked_elsewhere(**which: Any) -> Iterator[None]:
    """Lock downloads in a transaction on another connection: all, or those that match."""
    locked, enough = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Download.objects.filter(**which).update(name="locked")
                locked.set()
                enough.wait(timeout=LONGEST_WAIT)
                transaction.set_rollback(True)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(timeout=LONGEST_WAIT)
    try:
        with giving_up_at_once():
            yield
    finally:
        enough.set()
        thread.join()


@contextmanager
def without_autocommit() -> Iterator[None]:
    """Switch autocommit off, as Django allows."""
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.set_autocommit(True)


class TestAfterCommit:
    def test_without_a_transaction_it_is_called_at_once(self) -> None:
        calls: list[int] = []
        after_commit(lambda: calls.append(1))
        assert calls == [1]

    def test_it_is_called_after_a_commit_and_never_after_a_rollback(self) -> None:
        calls: list[str] = []
        with transaction.atomic():
            after_commit(lambda: calls.append("committed"))
            assert calls == []
        with transaction.atomic():
            after_commit(lambda: calls.append("rolled back"))
            transaction.set_rollback(True)
        assert calls == ["committed"]

    @pytest.mark.parametrize("inside", [True, False])
    def test_an_error_of_a_callback_is_logged_and_the_next_one_is_called(
        self, inside: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[int] = []
        with transaction.atomic() if inside else nullcontext():
            after_commit(lambda: 1 // 0)
            after_commit(lambda: calls.append(1))
        assert calls == [1]
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("committed", [True, False])
    def test_without_autocommit_it_is_called_once_that_is_on_again(self, committed: bool) -> None:
        calls: list[int] = []
        with without_autocommit():
            after_commit(lambda: calls.append(1))
            if committed:
                transaction.commit()
            else:
                transaction.rollback()
            assert calls == []
        assert calls == [1] * committed

    def test_a_download_is_created_without_autocommit(self, user: Any) -> None:
        with without_autocommit():
            assert in_transaction()
            _, key = cache.init_download(user, "orders.csv")
            transaction.commit()
        assert [row.download_key for row in Download.objects.all()] == [key]

    def test_a_file_stays_when_a_deletion_without_autocommit_is_rolled_back(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("without autocommit, Django lets SQLite commit each statement")
        download = DownloadFactory(complete=True)
        with without_autocommit():
            store.purge(Download.objects.all())
            transaction.rollback()
        assert Download.objects.get() == download
        assert default_storage.exists(download.filepath)


class TestRetryOnNewConnection:
    def test_a_write_that_fails_is_repeated_on_a_new_connection(self) -> None:
        used: list[object] = []

        def write() -> bool:
            used.append(connection.connection)
            if len(used) == 1:
                raise DatabaseError("the server closed the connection")
            return True

        assert retry_on_new_connection(write)
        assert len(used) == 2

    def test_a_second_failure_is_raised(self) -> None:
        with pytest.raises(DatabaseError):
            retry_on_new_connection(_failing)

    def test_inside_a_transaction_a_failure_is_raised_at_once(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("a statement that SQLite refuses breaks no transaction")
        calls: list[int] = []

        def write() -> bool:
            calls.append(1)
            raise DatabaseError("aborted")

        with pytest.raises(DatabaseError), transaction.atomic():
            retry_on_new_connection(write)
        assert calls == [1]


class TestWriteOutsideTransaction:
    def test_without_a_transaction_it_is_written(self) -> None:
        DownloadFactory()
        assert write_outside_transaction(Download.objects.all(), rename("written")) == 1
        assert Download.objects.get().name == "written"

    def test_a_rollback_does_not_undo_it(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite cannot write beside a transaction that has its lock")
        DownloadFactory()
        with transaction.atomic():
            assert write_outside_transaction(Download.objects.all(), rename("written")) == 1
            transaction.set_rollback(True)
        assert Download.objects.get().name == "written"

    def test_a_broken_transaction_does_not_prevent_it(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL refuses everything after an error")
        DownloadFactory()
        with pytest.raises(IntegrityError), transaction.atomic():
            try:
                Download.objects.update(percentage=101)
            finally:
                assert write_outside_transaction(Download.objects.all(), rename("written")) == 1
        assert Download.objects.get().name == "written"

    def test_a_row_that_the_caller_has_created_is_written_inside_the_transaction(self) -> None:
        with transaction.atomic():
            DownloadFactory()
            assert write_outside_transaction(Download.objects.all(), rename("written")) == 1
            assert Download.objects.get().name == "written"

    def test_a_row_that_the_caller_has_locked_is_written_inside_the_transaction(self) -> None:
        DownloadFactory()
        with transaction.atomic():
            rename("locked")()
            assert write_outside_transaction(Download.objects.all(), rename("written")) == 1
        assert Download.objects.get().name == "written"


class TestShortLockTimeout:
    def test_it_fails_soon_if_another_transaction_has_the_lock(self) -> None:
        DownloadFactory(name="before")
        with locked_elsewhere(), pytest.raises(DatabaseError), short_lock_timeout():
            rename("never")()
        assert Download.objects.get().name == "before"

    def test_afterwards_the_timeout_is_as_before(self) -> None:
        question = {
            "sqlite": "PRAGMA busy_timeout",
            "postgresql": "SHOW lock_timeout",
            "mysql": "SELECT @@SESSION.innodb_lock_wait_timeout",
        }[connection.vendor]

        def wait() -> object:
            with connection.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchone()

        before = wait()
        with short_lock_timeout():
            assert wait() != before
        assert wait() == before

    def test_a_connection_that_is_closed_meanwhile_does_no_harm(self) -> None:
        """Queues close connections that they consider old."""
        if connection.vendor == "postgresql":
            pytest.skip("there it is in a transaction, which nothing closes")
        with short_lock_timeout():
            Download.objects.count()
            connection.close()
            Download.objects.count()
        assert Download.objects.count() == 0

    def test_inside_a_transaction_it_changes_nothing(self) -> None:
        with transaction.atomic(), short_lock_timeout():
            assert Download.objects.count() == 0


def test_a_separate_connection_is_another_one() -> None:
    def number() -> int:
        return id(connection.connection) if connection.connection else 0

    Download.objects.count()
    assert on_separate_connection(number) != number()


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
def test_no_separate_connection_stays_open() -> None:
    def ask_both() -> list[BaseDatabaseWrapper]:
        for alias in ("default", "elsewhere"):
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        return connections.all(initialized_only=True)

    assert [used.connection for used in on_separate_connection(ask_both)] == [None, None]


def test_a_connection_that_is_closed_during_a_short_lock_timeout_is_replaced() -> None:
    """As a broker of django-q2 does if connections are not kept."""
    if connection.vendor == "postgresql":
        pytest.skip("it is in a transaction, during which Django closes no connection")
    with short_lock_timeout():
        connection.close()
        assert rename("inside")() == 0
    assert rename("after")() == 0


class TestClearingLockedRows:
    """Another transaction has locked the rows, or on SQLite the whole database."""

    def test_it_leaves_the_list_at_once_and_the_next_attempt_removes_it(
        self, user: Any, shared_cache: str
    ) -> None:
        download = DownloadFactory(collection__user=user, running=True)
        owner = download.collection.owner
        with locked_elsewhere():
            assert store.clear(user.pk, download_key=download.pk)
            assert store.read_listing(owner).downloads == []
        assert store.read_listing(owner).downloads == []
        cache.save_download(download.download_key, [["row"]])
        assert Download.objects.count() == 0

    def test_a_complete_download_leaves_the_list_and_cannot_be_fetched(
        self, user: Any, shared_cache: str
    ) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        with locked_elsewhere():
            assert store.clear(user.pk, download_key=download.pk)
        assert store.read_listing(download.collection.owner).downloads == []
        assert store.get_for_user(user.pk, download.pk) is None

    def test_all_finished_downloads_leave_the_list_at_once(
        self, user: Any, shared_cache: str
    ) -> None:
        collection = DownloadFactory(collection__user=user, complete=True).collection
        DownloadFactory(collection=collection, failed=True)
        running = DownloadFactory(collection=collection, running=True)
        with locked_elsewhere():
            assert store.clear_finished(user.pk) == 2
            assert store.read_listing(collection.owner).downloads == [running]

    def test_only_the_owner_can_clear_it(
        self, user: Any, other_user: Any, shared_cache: str
    ) -> None:
        download = DownloadFactory(collection__user=user, running=True)
        with locked_elsewhere():
            assert not store.clear(other_user.pk, download_key=download.pk)
        assert len(store.read_listing(download.collection.owner).downloads) == 1


def _failing() -> int:
    raise DatabaseError("gone")


@pytest.fixture
def pool_of_one() -> Iterator[None]:
    """Use a pool of one connection, with a timeout of five minutes."""
    if connection.vendor != "postgresql" or find_spec("psycopg_pool") is None:
        pytest.skip("only PostgreSQL has pools, by psycopg_pool")
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 300}
    yield
    connection.close()
    connection.close_pool()
    del options["pool"]


@pytest.mark.usefixtures("pool_of_one")
def test_a_write_outside_the_transaction_does_not_wait_for_a_pool_of_one() -> None:
    """The caller has the only connection of the pool."""
    download = DownloadFactory()
    began = time.monotonic()
    with transaction.atomic():
        assert Download.objects.filter(pk=download.pk).exists()
        cache.set_error(download.download_key, "No orders today.")
        transaction.set_rollback(True)
    assert time.monotonic() - began < 200
    download.refresh_from_db()
    assert (download.state, download.errors) == ("failed", "No orders today.")
