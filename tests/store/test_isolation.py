"""Transactions with a snapshot: they do not see what others have cleared or requested since."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import DatabaseError, connection, transaction

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled, TooManyDownloadsError
from async_downloads.models import Download, DownloadCollection
from async_downloads.shortcuts import download_task, start_download, start_downloads
from async_downloads.store import cache_entries
from tests import jobs
from tests.factories import DownloadFactory
from tests.locks import giving_up_at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("hasty"),
    pytest.mark.skipif(
        connection.vendor == "sqlite", reason="SQLite has no levels of isolation to choose from"
    ),
]

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

#: When the owner clears it: before the first row, between two, or once the file is stored.
MOMENTS = ("first row", "second row", "stored")

#: How the body ends.
ENDS = ("well", "badly", "reported")


@contextmanager
def isolated(level: str) -> Iterator[None]:
    """Open a transaction at a level of isolation, and take its snapshot."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        Download.objects.count()
        yield


def elsewhere(work: Callable[[], object]) -> None:
    """Work on another connection."""

    def work_and_close() -> None:
        try:
            # A row that the transaction has locked is marked as cleared instead.
            with suppress(DatabaseError), giving_up_at_once():
                work()
        finally:
            connection.close()

    thread = threading.Thread(target=work_and_close)
    thread.start()
    thread.join()


def files_of(download: Download) -> list[str]:
    """Return the files in the folder of a download."""
    storage = FileSystemStorage()
    folder = f"downloads/{download.pk}"
    return storage.listdir(folder)[1] if storage.exists(folder) else []


@pytest.fixture
def clear(user: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Download, str], Any]:
    """Return a function that makes the owner clear a download at a moment."""

    def arm(download: Download, moment: str) -> Callable[[str], None]:
        def at(reached: str) -> None:
            if reached == moment:
                elsewhere(lambda: store.clear(user.pk, download_key=download.pk))

        real = FileSystemStorage._save

        def save(self: FileSystemStorage, name: str, content: Any) -> str:
            path = real(self, name, content)
            at("stored")
            return path

        monkeypatch.setattr(FileSystemStorage, "_save", save)
        return at

    return arm


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("supervised", [False, True], ids=["bare", "supervised"])
def test_a_download_that_is_cleared_during_a_transaction_leaves_no_file(
    user: Any,
    shared_cache: str,
    clear: Callable[[Download, str], Callable[[str], None]],
    level: str,
    moment: str,
    end: str,
    supervised: bool,
) -> None:
    download = DownloadFactory(collection__user=user)
    at = clear(download, moment)

    def rows() -> Iterator[list[str]]:
        at("first row")
        yield ["first"]
        at("second row")
        yield ["second"]
        if end == "badly":
            raise LookupError("no such row")
        if end == "reported":
            cache.set_error(download.download_key, "A row was left out.")

    def save(download_key: str) -> None:
        with isolated(level):
            cache.save_download(download_key, rows())

    with suppress(DownloadCancelled, DatabaseError):
        (download_task(save) if supervised else save)(download.download_key)
    if moment == "stored" and end == "badly":
        # It was never stored.
        elsewhere(lambda: store.clear(user.pk, download_key=download.pk))
    assert store.get_for_user(user.pk, download.pk) is None
    if Download.objects.exists():
        # It was locked when it was cleared, and rolled back: the next attempt deletes it.
        assert cache_entries.is_cleared(download.download_key)
        Download.objects.all().delete()
    assert files_of(download) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_download_that_is_not_cleared_is_complete(user: Any, level: str) -> None:
    download = DownloadFactory(collection__user=user)
    with isolated(level):
        cache.save_download(download.download_key, [["row"]])
    download.refresh_from_db()
    assert download.complete
    assert files_of(download) == [download.filename]


@pytest.mark.parametrize("level", LEVELS)
def test_a_download_created_in_the_same_transaction_is_complete(user: Any, level: str) -> None:
    with isolated(level):
        _, key = cache.init_download(user, "orders.csv")
        cache.save_download(key, [[number] for number in range(3)])
    assert Download.objects.get(pk=uuid.UUID(key)).complete


@pytest.mark.parametrize("level", LEVELS)
def test_the_callers_own_work_survives_a_cleared_download(user: Any, level: str) -> None:
    """The transaction is not broken: the caller can continue in it."""
    download, other = DownloadFactory(collection__user=user), DownloadFactory()

    def rows() -> Iterator[list[str]]:
        yield ["row"]
        elsewhere(lambda: store.clear(user.pk, download_key=download.pk))

    with isolated(level):
        Download.objects.filter(pk=other.pk).update(name="by the caller")
        with suppress(DownloadCancelled):
            cache.save_download(download.download_key, rows())
        assert Download.objects.get(pk=other.pk).name == "by the caller"
    other.refresh_from_db()
    assert other.name == "by the caller"


@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize("level", LEVELS)
def test_the_first_downloads_of_an_owner_can_begin_at_the_same_time(
    user: Any, settings: Any, level: str, limit: int | None
) -> None:
    """A site may set the level for all connections; each creation is its own transaction."""
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
    together = threading.Barrier(4)
    raised: list[Exception] = []

    def begin() -> None:
        session = "SESSION TRANSACTION"
        if connection.vendor == "postgresql":
            session = "SESSION CHARACTERISTICS AS TRANSACTION"
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SET {session} ISOLATION LEVEL {level}")
            together.wait()
            cache.init_download(user, "orders.csv")
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    for _ in range(3):
        DownloadCollection.objects.all().delete()
        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert raised == []
        assert Download.objects.count() == 4


@pytest.fixture
def repeatable_read() -> Iterator[None]:
    """Let every transaction have a snapshot."""
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        options["isolation_level"] = IsolationLevel.REPEATABLE_READ
    else:
        options["isolation_level"] = "repeatable read"
    connection.close()
    yield
    options.clear()
    options.update(before)
    connection.close()


def request(user: Any) -> str:
    return start_download(jobs.export, user, "orders.csv", join=True)[1]


@pytest.mark.usefixtures("repeatable_read")
def test_a_start_for_many_skips_what_the_snapshot_does_not_show(user: Any) -> None:
    cache.init_download(user, "other.csv")
    with transaction.atomic():
        Download.objects.count()
        elsewhere(lambda: request(user))
        outcome = start_downloads(jobs.export, [user, "team north"], "orders.csv")
    assert (len(outcome.skipped), len(outcome.started)) == (1, 1)
    assert Download.objects.count() == 3


@pytest.mark.usefixtures("repeatable_read")
def test_a_request_that_the_snapshot_does_not_show_is_joined(user: Any) -> None:
    cache.init_download(user, "other.csv")
    keys = []
    with transaction.atomic():
        Download.objects.count()
        elsewhere(lambda: keys.append(request(user)))
        keys.append(request(user))
    assert len(set(keys)) == 1
    assert Download.objects.count() == 2


@pytest.mark.usefixtures("repeatable_read")
@pytest.mark.parametrize("joins", [True, False])
def test_of_many_requests_at_once_each_sees_the_others(
    user: Any, settings: Any, joins: bool
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 2
    cache.init_download(user, "other.csv")

    def start(_: int) -> None:
        try:
            if joins:
                request(user)
            else:
                cache.init_download(user, "orders.csv")
        except TooManyDownloadsError:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(start, range(24)))
    assert Download.objects.count() == 2
