"""A process that changes a download keeps the summary for the pages that poll."""

import math
import random
from typing import Any

import pytest
from django.db import transaction

from async_downloads import cache, intervals, owners, store
from async_downloads.models import Download
from async_downloads.owners import Owner
from async_downloads.store import cache_entries, queue_position, summary
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def shared(shared_cache: str) -> None:
    """Use a cache that other processes see, so that there are version tokens."""


@pytest.fixture
def owner(user: Any) -> Owner:
    return owners.resolve(user)


@pytest.fixture
def running(user: Any) -> Download:
    return DownloadFactory(collection=DownloadCollectionFactory(user=user), running=True)


def kept(owner: Owner) -> Any:
    """Return how often in a row a writer has kept the summary; None if it is out of date."""
    known, value = cache_entries.get_version_and_summary(owner.collection_key)
    return value[1] if isinstance(value, tuple) and value[0] == known else None


def read_anew(owner: Owner) -> store.Summary:
    """Return the summary that a reader makes of the rows."""
    return summary._read(owner, "token")


class Changes:
    """Changes of one owner's downloads, in a random order that a seed repeats."""

    def __init__(self, user: Any, seed: int) -> None:
        self.user = user
        self.random = random.Random(seed)
        self.keys: list[str] = []
        self.start()

    def change(self) -> None:
        """Change something, most often the progress."""
        others = (self.start, self.start_and_roll_back, self.build, self.fail, self.clear, self.see)
        self.random.choice([self.progress] * 6 + [self.progress_in_a_transaction, *others])()

    def key(self) -> str:
        return self.random.choice(self.keys)

    def start(self) -> None:
        self.keys.append(cache.init_download(self.user, "orders.csv")[1])

    def start_and_roll_back(self) -> None:
        with transaction.atomic():
            cache.init_download(self.user, "orders.csv")
            transaction.set_rollback(True)

    def progress(self) -> None:
        cache.set_percentage(self.key(), self.random.randrange(101))

    def progress_in_a_transaction(self) -> None:
        with transaction.atomic():
            self.progress()

    def build(self) -> None:
        cache.save_download(self.key(), [["R1"], ["R2"]])

    def fail(self) -> None:
        cache.set_error(self.key(), "It broke.")

    def clear(self) -> None:
        store.clear(self.user.pk, download_key=self.key())  # type: ignore[arg-type]

    def see(self) -> None:
        owner = owners.resolve(self.user)
        store.mark_seen(owner, store.read_listing(owner))


@pytest.mark.parametrize("seed", range(6))
def test_after_any_changes_it_is_that_of_the_rows(
    owner: Owner, user: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The numbers of those that are ahead may be seconds old.
    monkeypatch.setattr(queue_position, "QUEUE_SECONDS", 0)
    changes = Changes(user, seed)
    for _ in range(25):
        changes.change()
        if changes.random.random() < 0.7:
            read, anew = store.read_summary(owner), read_anew(owner)
            assert read.digest == anew.digest
            assert read[1:7] == anew[1:7]


def test_progress_is_read_from_the_cache_alone(
    owner: Owner, running: Download, round_trips: list[str], django_assert_num_queries: Any
) -> None:
    store.read_summary(owner)
    cache.set_percentage(running.download_key, 40)
    round_trips.clear()
    with django_assert_num_queries(0):
        assert store.read_summary(owner).percentage == 40
    assert round_trips == ["get_many"]


def test_a_writer_makes_no_query_for_it_if_no_page_looks(
    owner: Owner, running: Download, django_assert_num_queries: Any
) -> None:
    cache_entries.renew_version(owner.collection_key)
    with django_assert_num_queries(0):
        store.renew_summary(owner)
    assert kept(owner) is None


def test_after_some_changes_in_a_row_a_reader_has_to(
    owner: Owner, running: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MAX_RENEWED", 2)
    store.read_summary(owner)
    turns = []
    for percentage in (10, 20, 30, 40):
        cache.set_percentage(running.download_key, percentage)
        turns.append(kept(owner))
    assert turns == [1, 2, None, None]
    assert store.read_summary(owner).percentage == 40
    assert kept(owner) == 0


def test_it_is_left_to_a_reader_inside_of_a_transaction(owner: Owner, running: Download) -> None:
    store.read_summary(owner)
    with transaction.atomic():
        cache.set_percentage(running.download_key, 40)
        assert kept(owner) is None
    assert store.read_summary(owner).percentage == 40


def test_one_that_is_read_in_a_transaction_holds_for_seconds(owner: Owner, user: Any) -> None:
    # The transaction may have a snapshot: the token is then of a change that it does not see.
    with transaction.atomic():
        read = store.read_summary(owner)
        assert read.changes_after == math.inf
    held = store.read_summary(owner)
    assert held.recheck_after == held.changes_after == intervals.RECHECK, "Sockets look again."
    assert held.version == read.version


def test_it_is_left_to_a_reader_if_something_waits(
    owner: Owner, running: Download, user: Any
) -> None:
    store.read_summary(owner)
    cache.init_download(user, "orders.csv")
    assert kept(owner) is None


@pytest.mark.parametrize("by_a_writer", [True, False])
def test_a_download_that_was_cleared_while_its_row_is_locked_does_not_count(
    owner: Owner, running: Download, by_a_writer: bool
) -> None:
    store.read_summary(owner)
    cache_entries.mark_cleared([running.download_key])
    cache_entries.renew_version(owner.collection_key)
    if by_a_writer:
        store.renew_summary(owner)
        assert kept(owner) == 1
    read = store.read_summary(owner)
    assert (read.running, store.read_listing(owner).running) == (0, 0)


def test_a_change_while_the_rows_are_read_is_not_hidden(
    owner: Owner, running: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.read_summary(owner)
    read_rows = summary._read_rows

    def change_afterwards(owner: Owner) -> Any:
        rows = read_rows(owner)
        with monkeypatch.context() as patch:
            patch.setattr(summary, "MAX_RENEWED", 0)
            cache.set_percentage(running.download_key, 60)
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(summary, "_read_rows", change_afterwards)
        cache_entries.renew_version(owner.collection_key)
        store.renew_summary(owner)
    assert kept(owner) is None
    assert store.read_summary(owner).percentage == 60


def test_the_owner_of_a_text_has_no_pages_so_nothing_is_read(
    django_assert_num_queries: Any, round_trips: list[str]
) -> None:
    from async_downloads import receivers

    round_trips.clear()
    with django_assert_num_queries(0):
        receivers.renew_summary(user_id=None)
    assert round_trips == []
