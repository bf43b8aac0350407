"""The summary of an owner's downloads: what it says, what it costs, and how long it holds."""

from datetime import timedelta
from math import inf
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from django.utils import timezone

from async_downloads import cache, intervals, owners, store
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import Owner
from async_downloads.store import cache_entries
from tests.attempts import long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


@pytest.fixture
def owner(user: Any) -> Owner:
    return owners.resolve(user)


@pytest.fixture
def collection(user: Any) -> DownloadCollection:
    return DownloadCollectionFactory(user=user)


def see(owner: Owner) -> None:
    """Show the owner the list in the open menu."""
    store.mark_seen(owner, store.read_listing(owner))


def test_an_owner_without_downloads_has_an_empty_summary(owner: Owner) -> None:
    summary = store.read_summary(owner)
    assert (summary.running, summary.stalled, summary.unseen, summary.newest) == (0, False, 0, "")
    assert summary.recheck_after == intervals.SUMMARY
    assert summary.changes_after == inf


def test_it_counts_what_is_in_progress_and_what_has_finished(
    owner: Owner, collection: DownloadCollection
) -> None:
    for percentage in (20, 60):
        DownloadFactory(collection=collection, running=True, percentage=percentage)
    DownloadFactory(collection=collection, running=True, percentage=90, heard_at=long_ago())
    DownloadFactory(collection=collection, complete=True)
    DownloadFactory(collection=collection, failed=True)
    DownloadFactory(collection=collection, complete=True, expired=True)
    DownloadFactory(complete=True)
    summary = store.read_summary(owner)
    assert (summary.running, summary.stalled, summary.unseen) == (2, True, 2)
    assert summary.percentage == 40


def test_what_has_finished_counts_the_same_while_another_one_is_in_progress(
    owner: Owner, collection: DownloadCollection, settings: Any
) -> None:
    # Another statement reads it then.
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1_000_000
    now = timezone.now()
    DownloadFactory(collection=collection, complete=True, heard_at=now - timedelta(seconds=9))
    see(owner)
    for seconds, held in ((4_000, False), (8_000, False), (100, True), (-100, True), (-9, False)):
        DownloadFactory(
            collection=collection,
            complete=True,
            heard_at=now,
            expires_at=now + timedelta(seconds=seconds),
            held=held,
        )
    DownloadFactory(collection=collection, failed=True, heard_at=now, expires_at=None)
    alone = store.read_summary(owner)
    DownloadFactory(collection=collection, running=True)
    # As a writer does.
    cache_entries.renew_version(owner.collection_key)
    beside = store.read_summary(owner)
    assert (alone.unseen, alone.running, beside.running) == (5, 0, 1)
    assert (beside.unseen, beside.newest) == (alone.unseen, alone.newest)
    for summary in (alone, beside):
        assert 1_000 < summary.changes_after <= 4_000


def test_what_the_owner_has_seen_is_not_new(owner: Owner, collection: DownloadCollection) -> None:
    DownloadFactory(collection=collection, complete=True)
    see(owner)
    assert store.read_summary(owner).unseen == 0
    running = DownloadFactory(collection=collection, running=True)
    assert store.read_summary(owner).unseen == 0
    cache.set_error(running.download_key, "It broke.")
    assert store.read_summary(owner).unseen == 1
    see(owner)
    assert store.read_summary(owner).unseen == 0


def test_a_download_that_is_retried_and_finishes_is_new_again(
    owner: Owner, collection: DownloadCollection
) -> None:
    download = DownloadFactory(collection=collection, failed=True)
    see(owner)
    Download.objects.filter(pk=download.pk).fail("Once more.")
    Download.objects.filter(pk=download.pk).update(heard_at=timezone.now() + timedelta(seconds=1))
    assert store.read_summary(owner).unseen == 1


def test_nothing_is_written_if_the_owner_sees_nothing_new(
    owner: Owner, collection: DownloadCollection, django_assert_num_queries: Any
) -> None:
    DownloadFactory(collection=collection, complete=True)
    see(owner)
    listing = store.read_listing(owner)
    with django_assert_num_queries(0):
        store.mark_seen(owner, listing)


def test_a_list_that_is_older_than_what_was_seen_does_not_take_that_back(
    owner: Owner, collection: DownloadCollection
) -> None:
    DownloadFactory(collection=collection, complete=True, heard_at=timezone.now())
    old = store.read_listing(owner)
    DownloadFactory(
        collection=collection, complete=True, heard_at=timezone.now() + timedelta(seconds=5)
    )
    see(owner)
    store.mark_seen(owner, old)
    assert store.read_summary(owner).unseen == 0


def test_the_newly_finished_are_those_after_the_stamp_that_were_not_seen(
    owner: Owner, collection: DownloadCollection
) -> None:
    now = timezone.now()
    names = ["first", "second", "third", "fourth"]
    for number, name in enumerate(names):
        DownloadFactory(
            collection=collection,
            complete=True,
            name=name,
            heard_at=now + timedelta(seconds=number),
        )

    def finished(since: str, limit: int = 9) -> list[str]:
        rows = store.read_newly_finished(owner, since, newest, limit=limit)
        return [row.name for row in rows]

    newest = store.read_summary(owner).newest

    assert finished("") == names[::-1]
    assert finished("", 3) == names[:0:-1]
    assert finished((now + timedelta(seconds=1)).isoformat()) == ["fourth", "third"]
    for text in ("nonsense", "0001-01-01T00:00:00+14:00"):
        assert finished(text) == []
    assert finished(newest) == []
    assert finished("2020-01-01T00:00:00") == []
    see(owner)
    assert finished("") == []


@pytest.mark.django_db(transaction=True)
class TestWithASharedCache:
    @pytest.fixture(autouse=True)
    def shared(self, shared_cache: str) -> None:
        """Use a cache that other processes see, so that there are version tokens."""

    @pytest.mark.parametrize("number", [0, 1, 20])
    def test_it_costs_one_read_of_the_cache_and_no_query(
        self,
        owner: Owner,
        collection: DownloadCollection,
        round_trips: list[str],
        django_assert_num_queries: Any,
        number: int,
    ) -> None:
        DownloadFactory.create_batch(number, collection=collection, running=True)
        first = store.read_summary(owner)
        round_trips.clear()
        with django_assert_num_queries(0):
            assert store.read_summary(owner) == first
        assert round_trips == ["get_many"]

    def test_each_write_is_seen_at_once(self, owner: Owner, user: Any) -> None:
        shown = [store.read_summary(owner)]
        key = cache.init_download(user, "orders.csv")[1]
        shown.append(store.read_summary(owner))
        cache.set_percentage(key, 40)
        shown.append(store.read_summary(owner))
        cache.save_download(key, [["R1"]])
        shown.append(store.read_summary(owner))
        see(owner)
        shown.append(store.read_summary(owner))
        assert [(each.running, each.percentage, each.unseen) for each in shown] == [
            (0, 0, 0),
            (1, 0, 0),
            (1, 40, 0),
            (0, 0, 1),
            (0, 0, 0),
        ]
        assert len({each.digest for each in shown[:4]}) == 4

    def test_a_write_during_the_read_is_not_hidden(
        self, owner: Owner, user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_summary = cache_entries.set_summary

        def write_first(*args: Any) -> None:
            cache.init_download(user, "orders.csv")
            set_summary(*args)

        store.read_summary(owner)
        cache_entries.renew_version(owner.collection_key)
        with monkeypatch.context() as patch:
            patch.setattr(cache_entries, "set_summary", write_first)
            assert store.read_summary(owner).running == 0
        assert store.read_summary(owner).running == 1

    @pytest.mark.parametrize(
        "value", [None, "text", (), ("token",), ("token", "x"), 7, {"running": 1}], ids=repr
    )
    def test_another_value_in_the_cache_is_a_miss(self, owner: Owner, value: object) -> None:
        summary = store.read_summary(owner)
        token = cache_entries.get_version(owner.collection_key)
        if isinstance(value, tuple) and value:
            value = (token, *value[1:])
        caches["file"].set(f"{owner.collection_key}:summary", value)
        assert store.read_summary(owner) == summary

    def test_it_holds_until_a_download_stalls_or_expires(
        self, owner: Owner, collection: DownloadCollection, settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 10
        DownloadFactory(collection=collection, running=True)
        assert 8 < store.read_summary(owner).recheck_after <= 10
        Download.objects.all().delete()
        DownloadFactory(
            collection=collection, complete=True, expires_at=timezone.now() + timedelta(seconds=5)
        )
        cache_entries.renew_version(owner.collection_key)
        summary = store.read_summary(owner)
        assert 3 < summary.changes_after <= 5
        assert summary.recheck_after == summary.changes_after

    def test_progress_inside_of_a_transaction_is_in_it(self, owner: Owner, user: Any) -> None:
        key = cache.init_download(user, "orders.csv")[1]
        with transaction.atomic():
            cache.set_percentage(key, 70)
            assert store.read_summary(owner).percentage == 70
