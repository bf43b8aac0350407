"""Through which connection a change goes, and when it counts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.django_db(transaction=True)


def rename(name: str) -> Callable[[], int]:
    return lambda: Download.objects.all().update(name=name)


@contextmanager
def locked_elsewhere() -> Iterator[None]:
    """Keep every download locked by another connection's transaction."""
    locked, enough = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                rename("locked")()
                locked.set()
                enough.wait(timeout=LONGEST_WAIT)
                transaction.set_rollback(True)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextmanager
def by_hand() -> Iterator[None]:
    """Manage transactions by hand, as Django allows."""
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.set_autocommit(True)


class TestAfterCommit:
    def test_at_once_where_there_is_no_transaction(self) -> None:
        calls: list[int] = []
        after_commit(lambda: calls.append(1))
        assert calls == [1]

    def test_after_the_commit_and_never_after_a_rollback(self) -> None:
        calls: list[str] = []
        with transaction.atomic():
            after_commit(lambda: calls.append("committed"))
            assert calls == []
        with transaction.atomic():
            after_commit(lambda: calls.append("rolled back"))
            transaction.set_rollback(True)
        assert calls == ["committed"]

    @pytest.mark.parametrize("committed", [True, False])
    def test_by_hand_once_committed_and_automatic_again(self, committed: bool) -> None:
        calls: list[int] = []
        with by_hand():
            after_commit(lambda: calls.append(1))
            if committed:
                transaction.commit()
            else:
                transaction.rollback()
            assert calls == []
        assert calls == [1] * committed

    def test_a_download_is_made_by_hand_too(self, user: Any) -> None:
        with by_hand():
            assert in_transaction()
            _, key = cache.init_download(user, "orders.csv")
            transaction.commit()
        assert [row.download_key for row in Download.objects.all()] == [key]

    def test_a_file_stays_when_a_deletion_by_hand_is_rolled_back(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("without autocommit, Django lets SQLite commit each statement")
        download = DownloadFactory(complete=True)
        with by_hand():
            store.purge(Download.objects.all())
            transaction.rollback()
        assert Download.objects.get() == download
        assert default_storage.exists(download.filepath)


class TestRetried:
    def test_what_fails_on_this_connection_is_done_on_a_new_one(self) -> None:
        used: list[object] = []

        def write() -> bool:
            used.append(connection.connection)
            if len(used) == 1:
                raise DatabaseError("the server closed the connection")
            return True

        assert retry_on_new_connection(write)
        assert len(used) == 2

    def test_what_fails_there_too_is_raised(self) -> None:
        with pytest.raises(DatabaseError):
            retry_on_new_connection(_failing)

    def test_in_a_transaction_of_a_server_it_is_raised_at_once(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("a statement that SQLite refuses breaks no transaction")
        calls: list[int] = []

        def write() -> bool:
            calls.append(1)
            raise DatabaseError("aborted")

        with pytest.raises(DatabaseError), transaction.atomic():
            retry_on_new_connection(write)
        assert calls == [1]


class TestSurely:
    def test_without_a_transaction_it_is_written(self) -> None:
        DownloadFactory()
        assert write_outside_transaction(Download.objects.all(), rename("told")) == 1
        assert Download.objects.get().name == "told"

    def test_a_rollback_does_not_take_it_along(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite lets nobody write beside a transaction that has its lock")
        DownloadFactory()
        with transaction.atomic():
            assert write_outside_transaction(Download.objects.all(), rename("told")) == 1
            transaction.set_rollback(True)
        assert Download.objects.get().name == "told"

    def test_a_broken_transaction_does_not_keep_it_from_being_written(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL refuses everything after an error")
        DownloadFactory()
        with pytest.raises(IntegrityError), transaction.atomic():
            try:
                Download.objects.update(percentage=101)
            finally:
                assert write_outside_transaction(Download.objects.all(), rename("told")) == 1
        assert Download.objects.get().name == "told"

    def test_a_row_of_the_same_transaction_is_written_inside_it(self) -> None:
        with transaction.atomic():
            DownloadFactory()
            assert write_outside_transaction(Download.objects.all(), rename("told")) == 1
            assert Download.objects.get().name == "told"

    def test_a_row_that_the_caller_has_locked_is_written_inside_it(self) -> None:
        DownloadFactory()
        with transaction.atomic():
            rename("locked")()
            assert write_outside_transaction(Download.objects.all(), rename("told")) == 1
        assert Download.objects.get().name == "told"


class TestImpatient:
    def test_it_fails_soon_where_somebody_else_has_the_lock(self) -> None:
        DownloadFactory(name="before")
        with locked_elsewhere(), pytest.raises(DatabaseError), short_lock_timeout():
            rename("never")()
        assert Download.objects.get().name == "before"

    def test_afterwards_the_connection_waits_as_before(self) -> None:
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

    def test_inside_a_transaction_it_changes_nothing(self) -> None:
        with transaction.atomic(), short_lock_timeout():
            assert Download.objects.count() == 0


def test_apart_is_another_connection() -> None:
    def number() -> int:
        return id(connection.connection) if connection.connection else 0

    Download.objects.count()
    assert on_separate_connection(number) != number()


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
def test_apart_leaves_no_connection_open() -> None:
    def ask_both() -> list[BaseDatabaseWrapper]:
        for alias in ("default", "elsewhere"):
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        return connections.all(initialized_only=True)

    assert [used.connection for used in on_separate_connection(ask_both)] == [None, None]


class TestClearingWhatIsLocked:
    """A transaction of somebody else's has the row, or on SQLite the whole database."""

    def test_it_leaves_the_list_at_once_and_the_next_run_removes_it(
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

    def test_what_is_complete_leaves_the_list_and_cannot_be_fetched_any_more(
        self, user: Any, shared_cache: str
    ) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        with locked_elsewhere():
            assert store.clear(user.pk, download_key=download.pk)
        assert store.read_listing(download.collection.owner).downloads == []
        assert store.get_for_user(user.pk, download.pk) is None

    def test_all_that_has_finished_leaves_the_list_at_once(
        self, user: Any, shared_cache: str
    ) -> None:
        collection = DownloadFactory(collection__user=user, complete=True).collection
        DownloadFactory(collection=collection, failed=True)
        running = DownloadFactory(collection=collection, running=True)
        with locked_elsewhere():
            assert store.clear_finished(user.pk) == 2
            assert store.read_listing(collection.owner).downloads == [running]

    def test_a_stranger_marks_nothing(self, user: Any, other_user: Any, shared_cache: str) -> None:
        download = DownloadFactory(collection__user=user, running=True)
        with locked_elsewhere():
            assert not store.clear(other_user.pk, download_key=download.pk)
        assert len(store.read_listing(download.collection.owner).downloads) == 1


def _failing() -> int:
    raise DatabaseError("gone")


@pytest.fixture
def pool_of_one() -> Iterator[None]:
    """Have one connection for all, and wait for it for five minutes."""
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
def test_a_pool_of_one_connection_keeps_nobody_waiting() -> None:
    """What is written beside a transaction does not wait for the connection that this one has."""
    download = DownloadFactory()
    began = time.monotonic()
    with transaction.atomic():
        assert Download.objects.filter(pk=download.pk).exists()
        cache.set_error(download.download_key, "No orders today.")
        transaction.set_rollback(True)
    assert time.monotonic() - began < 200
    download.refresh_from_db()
    assert (download.state, download.errors) == ("failed", "No orders today.")
