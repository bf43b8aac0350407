"""A new download: its collection, its row and its cache entry."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, owners, store
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import RequestedFile, cache_entries, collections
from async_downloads.utils.memory import Memory
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


def create(user: Any, filename: str = "a.csv") -> Download:
    return store.create(RequestedFile.of(user, filename))


def statements(user: Any) -> list[str]:
    """Return the kinds of statements that a further download costs, with BEGIN if captured."""
    with CaptureQueriesContext(connection) as queries:
        create(user)
    return [query["sql"].split(maxsplit=1)[0] for query in queries.captured_queries]


def test_a_collection_that_the_process_knows_costs_one_insert(user: Any) -> None:
    create(user)
    assert statements(user) == ["INSERT"]


def test_another_collection_is_locked_first(user: Any) -> None:
    create(user)
    # As another process, which has not used it.
    collections._remembered.clear()
    # Only some databases count BEGIN and COMMIT.
    kinds = [kind for kind in statements(user) if kind in {"SELECT", "INSERT"}]
    assert kinds == ["SELECT", "INSERT"]


def test_inside_a_transaction_a_known_collection_is_locked_too(user: Any) -> None:
    """An insert that fails would break the caller's transaction."""
    create(user)
    DownloadCollection.objects.all().delete()
    with transaction.atomic():
        download = create(user)
    assert Download.objects.get() == download


@pytest.mark.parametrize("deleted", ["collection", "user"])
def test_a_known_collection_may_be_deleted_meanwhile(user: Any, deleted: str) -> None:
    create(user)
    if deleted == "collection":
        DownloadCollection.objects.all().delete()
        assert create(user) == Download.objects.get()
        return
    type(user).objects.all().delete()
    with pytest.raises(IntegrityError):
        create(user)
    assert not Download.objects.exists()


def test_a_collection_is_known_only_after_the_commit(user: Any) -> None:
    with transaction.atomic():
        create(user)
        transaction.set_rollback(True)
    assert not collections.is_known(owners.resolve(user))
    create(user)
    assert collections.is_known(owners.resolve(user))


def test_a_collection_whose_key_has_changed_is_not_known(user: Any, settings: Any) -> None:
    create(user)
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = "other/{}"
    assert not collections.is_known(owners.resolve(user))
    create(user)
    assert DownloadCollection.objects.get().key == f"other/{user.pk}"


def test_a_process_remembers_a_limited_number_of_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collections, "_remembered", Memory(3))
    for number in range(10):
        create(f"team {number}")
        assert len(collections._remembered) <= 3


def test_the_cache_entry_is_set_before_the_commit(user: Any, shared_cache: str) -> None:
    with transaction.atomic():
        download = create(user)
        assert cache_entries.get_entry(download.download_key) is not None


def test_it_expires_a_timeout_after_its_last_write(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 100
    download = create(user)
    assert download.expires_at is not None
    assert 95 < (download.expires_at - timezone.now()).total_seconds() <= 100
    Download.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    store.set_percentage(download.download_key, 5)
    assert Download.objects.get().expires_at > timezone.now() + timedelta(seconds=95)  # type: ignore[operator]


def test_without_a_timeout_it_never_expires(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    create(user)
    assert Download.objects.get().expires_at is None
    assert Download.objects.active().count() == 1


def test_fifty_created_at_once_are_all_listed(shared_cache: str) -> None:
    user = UserFactory()

    def start(number: int) -> None:
        try:
            cache.init_download(user, f"{number}.csv")
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=10) as pool:
        list(pool.map(start, range(50)))
    listed = store.read_listing(owners.resolve(user)).downloads
    assert {d.name for d in listed} == {f"{number}.csv" for number in range(50)}
    assert DownloadCollection.objects.count() == 1
