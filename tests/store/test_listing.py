"""The listing of one owner, and its cost."""

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.utils import timezone

from async_downloads import cache, intervals, owners, store
from async_downloads.models import Download, DownloadCollection, DownloadState
from async_downloads.owners import Owner
from async_downloads.store import Version, cache_entries, queue_position
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(user: Any) -> Owner:
    return owners.resolve(user)


@pytest.fixture
def key(user: Any) -> str:
    return cache.init_download(user, "orders.csv")[1]


@pytest.fixture(params=[1, 100])
def number(request: pytest.FixtureRequest, user: Any, key: str) -> int:
    """Return the number of the user's downloads, of which none waits for a worker."""
    collection = DownloadCollection.objects.get(user=user)
    for _ in range(request.param - 1):
        DownloadFactory(collection=collection)
    Download.objects.update(state=DownloadState.RUNNING)
    return int(request.param)


@pytest.fixture
def timeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each version token be young, however busy the machine is."""
    now = time.time()
    monkeypatch.setattr(cache_entries, "time", SimpleNamespace(time=lambda: now))


@pytest.mark.usefixtures("timeless")
class TestCost:
    def test_a_listing_is_one_query_and_two_round_trips(
        self, number: int, owner: Owner, round_trips: list[str], django_assert_num_queries: Any
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        round_trips.clear()
        with django_assert_num_queries(1):
            assert len(store.read_listing(owner).downloads) == number
        assert round_trips == ["get", "get_many"]

    def test_a_listing_with_one_that_waits_is_one_more_query_every_two_seconds(
        self,
        number: int,
        owner: Owner,
        django_assert_num_queries: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        Download.objects.update(state=DownloadState.PENDING)
        with django_assert_num_queries(2):
            assert len(store.read_listing(owner).downloads) == number
        # The answer serves every owner who waits.
        other = DownloadFactory().collection.owner
        monkeypatch.setattr(queue_position, "QUEUE_SECONDS", LONGEST_WAIT)
        for each in (owner, other):
            with django_assert_num_queries(1):
                store.read_listing(each)

    @pytest.mark.usefixtures("number")
    def test_an_unchanged_listing_is_one_round_trip_without_a_query(
        self, owner: Owner, round_trips: list[str], django_assert_num_queries: Any
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        seen = store.read_listing(owner).version
        round_trips.clear()
        with django_assert_num_queries(0):
            assert store.read_changes(owner, seen) is None
        assert round_trips == ["get_many"]

    @pytest.mark.usefixtures("number")
    def test_a_changed_listing_is_one_query_and_at_most_two_round_trips(
        self,
        number: int,
        owner: Owner,
        key: str,
        round_trips: list[str],
        django_assert_num_queries: Any,
    ) -> None:
        seen = store.read_listing(owner).version
        cache.set_percentage(key, 10)
        round_trips.clear()
        with django_assert_num_queries(1):
            changes = store.read_changes(owner, seen)
        assert changes is not None
        assert round_trips == ["get_many"] * (1 if number == 1 else 2)

    def test_a_page_that_soon_changes_by_itself_is_given_a_check_instead_of_the_token(
        self, owner: Owner, key: str, round_trips: list[str], django_assert_num_queries: Any
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        round_trips.clear()
        # It waits for a worker.
        version = store.read_listing(owner).version
        assert version.token != cache_entries.get_version(owner.collection_key)
        assert "set" in round_trips
        with django_assert_num_queries(0):
            assert store.read_changes(owner, version) is None

    @pytest.mark.usefixtures("key", "shared_cache")
    def test_pages_that_soon_change_by_themselves_have_one_version_and_one_check(
        self, owner: Owner
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        # It waits for a worker.
        assert len({store.read_listing(owner).version for _ in range(3)}) == 1

    @pytest.mark.usefixtures("key", "shared_cache")
    def test_a_page_that_a_change_leaves_as_it_is_is_compared_with_the_rows_once(
        self, owner: Owner, django_assert_num_queries: Any
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        seen = store.read_listing(owner).version
        cache_entries.renew_version(owner.collection_key)
        for number in (1, 0, 0):
            with django_assert_num_queries(number):
                assert store.read_changes(owner, seen) is None

    def test_an_expired_token_is_replaced_while_a_page_is_current(
        self, owner: Owner, key: str, round_trips: list[str], django_assert_num_queries: Any
    ) -> None:
        cache_entries.renew_version(owner.collection_key)
        seen = store.read_listing(owner).version
        caches["file"].delete(f"{owner.collection_key}:version")
        round_trips.clear()
        with django_assert_num_queries(1):
            assert store.read_changes(owner, seen) is None
        assert round_trips == ["get_many", "add", "set"]
        with django_assert_num_queries(0):
            assert store.read_changes(owner, seen) is None

    def test_without_a_token_the_cache_gets_that_of_a_new_page(
        self, owner: Owner, shared_cache: str, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            changes = store.read_changes(owner, None)
        assert changes is not None
        with django_assert_num_queries(0):
            assert store.read_changes(owner, changes.version) is None

    @pytest.mark.parametrize("alias", ["default", "dummy"])
    def test_a_cache_that_is_not_shared_is_not_read_for_a_token(
        self, alias: str, owner: Owner, key: str, settings: Any, django_assert_num_queries: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_CACHE_NAME = alias
        seen = store.read_listing(owner).version
        caches[alias].set(f"{owner.collection_key}:version", seen.token)
        with django_assert_num_queries(1):
            assert store.read_changes(owner, seen) is None
        Download.objects.update(percentage=5)
        assert store.read_changes(owner, seen) is not None


class TestTruth:
    def test_newest_first_and_nothing_expired(self, user: Any, owner: Owner, key: str) -> None:
        collection = DownloadCollection.objects.get(user=user)
        now = timezone.now()
        old = DownloadFactory(collection=collection, timestamp=now - timedelta(hours=2))
        DownloadFactory(collection=collection, failed=True, expired=True)
        DownloadFactory()
        listed = store.read_listing(owner).downloads
        assert [d.download_key for d in listed] == [key, old.download_key]

    def test_a_write_whose_token_was_lost_is_seen_once_the_token_expires(
        self, owner: Owner, key: str, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = store.read_listing(owner).version
        Download.objects.update(percentage=50)
        caches["file"].delete(f"{owner.collection_key}:version")
        changes = store.read_changes(owner, seen)
        assert changes is not None
        assert changes.downloads[0].percentage == 50

    @pytest.mark.usefixtures("shared_cache")
    @pytest.mark.parametrize("ahead", [-3600, -10, 0, 1, 10, 14, 3600])
    def test_a_token_from_another_clock_hides_nothing_for_longer(
        self, user: Any, owner: Owner, ahead: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = DownloadFactory(collection__user=user, running=True)
        # Each poll compares the page with the rows, unless its token says that it is current.
        monkeypatch.setattr(cache_entries, "record_check", lambda *arguments: None)
        now = time.time()
        clock = SimpleNamespace(time=lambda: now + ahead)
        monkeypatch.setattr(cache_entries, "time", clock)
        cache_entries.renew_version(owner.collection_key)
        clock.time = lambda: now
        seen = store.read_changes(owner, None)
        assert seen is not None
        # The token of this write is lost.
        Download.objects.filter(pk=row.pk).update(percentage=50)
        for later in range(intervals.RECHECK, 2 * intervals.RECHECK):
            clock.time = lambda: now + later  # noqa: B023
            assert store.read_changes(owner, seen.version) is not None

    def test_the_newer_of_cache_entry_and_row_is_shown(self, owner: Owner, key: str) -> None:
        entry = cache_entries.get_entry(key)
        assert entry is not None
        for minutes, percentage, shown in [(-5, 90, 0), (5, 60, 60)]:
            stamp = (timezone.now() + timedelta(minutes=minutes)).isoformat()
            cache_entries.set_entry({**entry, "percentage": percentage, "stamp": stamp})
            assert store.read_listing(owner).downloads[0].percentage == shown

    @pytest.mark.usefixtures("shared_cache")
    def test_a_list_that_is_read_again_shows_what_only_the_cache_knows(
        self, owner: Owner, key: str
    ) -> None:
        entry = cache_entries.get_entry(key)
        assert entry is not None
        listing = store.read_listing(owner, limit=20)
        stamp = (timezone.now() + timedelta(minutes=5)).isoformat()
        cache_entries.set_entry({**entry, "percentage": 60, "stamp": stamp})
        cache_entries.renew_version(owner.collection_key)
        changed = store.read_changes(owner, listing.version, limit=20)
        assert changed is not None
        assert changed.downloads[0].percentage == 60
        cache_entries.mark_cleared([key])
        cache_entries.renew_version(owner.collection_key)
        emptied = store.read_changes(owner, changed.version, limit=20)
        assert emptied is not None
        assert (emptied.downloads, emptied.total) == ([], 0)

    def test_a_cache_entry_cannot_change_a_finished_download(self, owner: Owner, key: str) -> None:
        cache.save_download(key, [["row"]])
        entry = cache_entries.get_entry(key)
        assert entry is not None
        later = (timezone.now() + timedelta(minutes=5)).isoformat()
        cache_entries.set_entry({**entry, "percentage": 3, "complete": False, "stamp": later})
        download = store.read_listing(owner).downloads[0]
        assert (download.complete, download.percentage) == (True, 100)

    @pytest.mark.parametrize(
        "poison",
        [
            "text",
            17,
            {},
            [1, 2],
            {"percentage": 50},
            ("percentage", "many"),
            ("percentage", 900),
            ("stamp", None),
            ("stamp", "yesterday"),
            ("stamp", "2999-01-01T00:00:00"),
        ],
    )
    def test_a_poisoned_entry_is_a_miss(self, owner: Owner, key: str, poison: Any) -> None:
        entry: Any = cache_entries.get_entry(key)
        value = {**entry, poison[0]: poison[1]} if isinstance(poison, tuple) else poison
        caches["default"].set(key, value)
        assert store.read_listing(owner).downloads[0].percentage == 0

    def test_a_download_stalls_without_a_write(self, owner: Owner, key: str) -> None:
        seen = store.read_listing(owner)
        assert (seen.in_progress, seen.stalled) == (True, False)
        Download.objects.update(heard_at=timezone.now() - timedelta(hours=1))
        # The cache entry would be newer than the row.
        cache_entries.delete_entry(key)
        changes = store.read_changes(owner, seen.version)
        assert changes is not None
        assert (changes.in_progress, changes.stalled) == (False, True)

    def test_pages_with_different_contents_have_different_tokens(
        self, owner: Owner, key: str, shared_cache: str
    ) -> None:
        """Downloads stall and expire without a write, so a token alone is not enough."""
        first = store.read_listing(owner).version
        caches["file"].delete(f"{owner.collection_key}:version")
        assert store.read_changes(owner, first) is None
        Download.objects.update(heard_at=timezone.now() - timedelta(hours=1))
        cache_entries.delete_entry(key)
        second = store.read_listing(owner)
        assert second.stalled
        assert second.version.token != first.token
        caches["file"].delete(f"{owner.collection_key}:version")
        assert store.read_changes(owner, second.version) is None
        changes = store.read_changes(owner, first)
        assert changes is not None
        assert changes.stalled


class TestGetForUser:
    def test_another_users_and_expired_downloads_are_none(self, user: Any, other_user: Any) -> None:
        mine = DownloadFactory(collection__user=user)
        expired = DownloadFactory(collection=mine.collection, complete=True, expired=True)
        download = store.get_for_user(user.pk, mine.pk)
        assert download is not None
        assert download.pk == mine.pk
        assert store.get_for_user(other_user.pk, mine.pk) is None
        assert store.get_for_user(user.pk, expired.pk) is None


class TestVersion:
    def test_a_version_is_parsed_from_its_text(self) -> None:
        version = Version("abc123", "def456")
        assert Version.parse(str(version)) == version

    @pytest.mark.parametrize("text", ["", ".", "abc", "a b.c", "<x>.y", "a" * 128 + ".b"])
    def test_any_other_text_is_not_a_version(self, text: str) -> None:
        assert Version.parse(text) is None


def test_a_page_with_an_old_download_polls_at_a_longer_interval(owner: Owner, key: str) -> None:
    listing = store.read_listing(owner)
    assert listing.polling_tier == 0
    for minutes, polling_tier in ((2, 1), (20, 2)):
        # Only the time passes: nothing writes a new token.
        Download.objects.update(timestamp=timezone.now() - timedelta(minutes=minutes))
        changed = store.read_changes(owner, listing.version)
        assert changed is not None
        assert changed.polling_tier == polling_tier
        listing = changed
        assert store.read_changes(owner, listing.version) is None


class TestChangesAfter:
    """When a list changes though nothing is written."""

    def test_never_while_nothing_expires_or_stalls(self, owner: Owner, user: Any) -> None:
        assert store.read_listing(owner).changes_after is None
        DownloadFactory(collection__user=user, complete=True, expires_at=None)
        assert store.read_listing(owner).changes_after is None

    def test_at_the_first_expiry_of_what_is_finished(self, owner: Owner, user: Any) -> None:
        now = timezone.now()
        for hours, state in ((3, "complete"), (2, "failed"), (1, "running")):
            expires_at = now + timedelta(hours=hours)
            DownloadFactory(collection__user=user, expires_at=expires_at, **{state: True})
        Download.objects.filter(state="running").update(heard_at=now + timedelta(days=1))
        listing = store.read_listing(owner)
        assert listing.changes_after is not None
        assert timedelta(hours=1.9).total_seconds() < listing.changes_after <= 2 * 60 * 60
        assert listing.recheck_after == intervals.RECHECK

    def test_when_the_first_download_would_stall(
        self, owner: Owner, key: str, settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1000
        listing = store.read_listing(owner)
        assert listing.changes_after is not None
        assert 0 < listing.changes_after <= 1000
