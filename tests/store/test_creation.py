"""A new download: its collection, its row and its cache entry."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, owners, store
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import cache_entries
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


def test_a_known_collection_costs_two_queries(user: Any) -> None:
    owner = owners.resolve(user)
    store.create(owner, filename="a.csv", name="a")
    with CaptureQueriesContext(connection) as queries:
        store.create(owner, filename="b.csv", name="b")
    # Only some databases count BEGIN and COMMIT.
    kinds = [query["sql"].split(maxsplit=1)[0] for query in queries.captured_queries]
    assert [kind for kind in kinds if kind in {"SELECT", "INSERT"}] == ["SELECT", "INSERT"]


def test_the_cache_entry_is_set_before_the_commit(user: Any, shared_cache: str) -> None:
    with transaction.atomic():
        download = store.create(owners.resolve(user), filename="a.csv", name="a")
        assert cache_entries.get_entry(download.download_key) is not None


def test_it_expires_a_timeout_after_its_last_write(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 100
    download = store.create(owners.resolve(user), filename="a.csv", name="a")
    assert download.expires_at is not None
    assert 95 < (download.expires_at - timezone.now()).total_seconds() <= 100
    Download.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    store.set_percentage(download.download_key, 5)
    assert Download.objects.get().expires_at > timezone.now() + timedelta(seconds=95)  # type: ignore[operator]


def test_without_a_timeout_it_never_expires(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    store.create(owners.resolve(user), filename="a.csv", name="a")
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
