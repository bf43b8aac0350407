"""The place of a download in the queue, among the downloads of all owners."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from async_downloads import cache, intervals, owners, store
from async_downloads.models import Download
from async_downloads.models.waiting import MAX_AHEAD
from async_downloads.owners import Owner
from async_downloads.store import cache_entries, estimate, queue_position
from tests.clocks import put_database_ahead
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def always_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the queue at each look."""
    monkeypatch.setattr(queue_position, "QUEUE_SECONDS", 0.0)


@pytest.fixture
def owner(user: Any) -> Owner:
    return owners.resolve(user)


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def waiting(user: Any, seconds: float = 0, **values: Any) -> Download:
    """Create a download that was queued so many seconds ago."""
    collection = DownloadCollectionFactory(user=user)
    return DownloadFactory(collection=collection, heard_at=ago(seconds), **values)


def shown(owner: Owner) -> list[tuple[int | None, str]]:
    """Return what the list says of each download, the newest first."""
    return [(each.ahead, each.status_text) for each in store.read_listing(owner).downloads]


def test_those_of_all_owners_count_that_were_queued_before(user: Any, owner: Owner) -> None:
    DownloadFactory(heard_at=ago(9))
    waiting(user, 5)
    DownloadFactory(heard_at=ago(3))
    DownloadFactory(heard_at=ago(-3))
    assert shown(owner) == [(1, "Waiting")]
    page = store.read_page_changes(owner, 1)
    assert page is not None
    assert [download.ahead for download in page.page.object_list] == [1]


@pytest.mark.parametrize(
    "values",
    [
        {"running": True},
        {"complete": True, "stored": False},
        {"failed": True},
        # Its task has ended without a file; it reports progress; it is yet to fail.
        {"started_at": timezone.now()},
        {"percentage": 3},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
    ids=lambda values: "-".join(values),
)
def test_only_what_waits_for_a_worker_is_ahead(
    user: Any, owner: Owner, values: dict[str, Any]
) -> None:
    waiting(user, 1)
    DownloadFactory(heard_at=ago(100), **values)
    assert shown(owner) == [(0, "Waiting")]


@pytest.mark.parametrize(
    "values",
    [{"running": True}, {"complete": True, "stored": False}, {"failed": True}, {"percentage": 3}],
    ids=lambda values: "-".join(values),
)
def test_what_does_not_wait_has_no_place(
    user: Any, owner: Owner, values: dict[str, Any], django_assert_num_queries: Any
) -> None:
    DownloadFactory(collection__user=user, **values)
    with django_assert_num_queries(1):
        (download,) = store.read_listing(owner).downloads
    assert (download.ahead, download.served, download.ahead_text) == (None, None, "")


def test_a_long_queue_is_not_counted_to_its_end(user: Any, owner: Owner) -> None:
    collection = DownloadCollectionFactory()
    Download.objects.bulk_create(
        Download(collection=collection, name="a", filename="a", filepath="a", heard_at=ago(50 + n))
        for n in range(MAX_AHEAD + 20)
    )
    waiting(user)
    ((ahead, _),) = shown(owner)
    assert ahead == MAX_AHEAD
    (download,) = store.read_listing(owner).downloads
    assert download.ahead_text == "more than 99 ahead of it"


LONG = 3600


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (None, "Waiting: nothing has begun to build it so far. If it stays so, please contact"),
        ({"running": True}, "Waiting for its turn"),
        ({"running": True, "heard_at": ago(LONG)}, "nothing has begun"),
        (
            {"complete": True, "stored": False, "started_at": None},
            "Waiting for its turn",
        ),
        (
            {"complete": True, "stored": False, "started_at": ago(LONG), "heard_at": ago(LONG)},
            "nothing has begun",
        ),
        ({"failed": True, "started_at": None}, "Waiting for its turn"),
        # It has stalled, and another process than its worker has recorded that.
        ({"failed": True, "started_at": ago(LONG)}, "nothing has begun"),
        ({"failed": True}, "nothing has begun"),
    ],
)
def test_one_that_waits_for_long_says_whether_others_are_built(
    user: Any, owner: Owner, values: dict[str, Any] | None, text: str
) -> None:
    DownloadFactory(heard_at=ago(LONG + 60))
    cache_entries.delete_entry(waiting(user, LONG).download_key)
    if values is not None:
        # A time of the collection of tests would be long ago by now.
        DownloadFactory(
            **{name: ago(0) if value is None else value for name, value in values.items()}
        )
    ((ahead, status),) = shown(owner)
    assert ahead == 1
    assert text in status


def test_an_answer_is_used_for_a_while(
    user: Any, owner: Owner, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(queue_position, "QUEUE_SECONDS", LONGEST_WAIT)
    waiting(user)
    with django_assert_num_queries(2):
        store.read_listing(owner)
    DownloadFactory(heard_at=ago(5))
    with django_assert_num_queries(1):
        assert shown(owner) == [(0, "Waiting")]
    queue_position.forget()
    assert shown(owner) == [(1, "Waiting")]


def test_one_thread_reads_while_the_others_use_the_last_answer(
    user: Any, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(user)
    assert shown(owner) == [(0, "Waiting")]
    DownloadFactory(heard_at=ago(5))
    monkeypatch.setattr(queue_position, "QUEUE_SECONDS", LONGEST_WAIT)
    ((alias, (queue, read_at)),) = queue_position._queues.items()
    queue_position._queues[alias] = queue, read_at - LONGEST_WAIT
    monkeypatch.setattr(queue_position, "LONGEST_SECONDS", 2 * LONGEST_WAIT)
    read, during = queue_position._read, []

    def read_slowly() -> Any:
        during.extend(shown(owner))
        return read()

    monkeypatch.setattr(queue_position, "_read", read_slowly)
    assert shown(owner) == [(1, "Waiting")]
    assert during == [(0, "Waiting")]


class Worker:
    """One thread that builds downloads one after the other, row by row as the test says."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.written = threading.Semaphore(0)
        self.pool = ThreadPoolExecutor(max_workers=1)

    def queue(self, key: str, rows: int) -> "Future[None]":
        return self.pool.submit(self.build, key, rows)

    def build(self, key: str, rows: int) -> None:
        try:
            cache.save_download(key, self.rows(rows), expected_rows=1_000_000)
        finally:
            connections.close_all()

    def rows(self, number: int) -> Iterator[list[int]]:
        for row in range(number):
            assert self.allowed.acquire(timeout=LONGEST_WAIT)
            yield [row]
            self.written.release()

    def write(self, number: int) -> None:
        """Wait until the worker has written so many rows, and begun with the next."""
        self.allowed.release(number)
        for _ in range(number):
            assert self.written.acquire(timeout=LONGEST_WAIT)


@pytest.fixture
def little_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate the end from the first rows on, whatever the machine does meanwhile."""
    for name in ("MIN_SECONDS", "MIN_SHARE", "MIN_STEP"):
        monkeypatch.setattr(estimate, name, 0.0)
    for name in ("UNSTEADY", "MAX_SECONDS"):
        monkeypatch.setattr(estimate, name, 1e8)


@pytest.mark.usefixtures("hasty", "little_evidence")
def test_three_wait_while_one_is_built(user: Any, other_user: Any, owner: Owner) -> None:
    worker, number = Worker(), 30
    keys = [cache.init_download(each, "orders.csv")[1] for each in (user, user, other_user, user)]
    seen: list[list[tuple[str, str]]] = []

    def look() -> list[Download]:
        listed = list(reversed(store.read_listing(owner).downloads))
        seen.append([(each.status_text, each.ahead_text) for each in listed])
        return listed

    look()
    ends = [worker.queue(key, number) for key in keys]
    for key, end in zip(keys, ends, strict=True):
        worker.write(number - 1)
        times = {each.download_key: each.time_left for each in look()}
        # A million rows take so long that the time has not passed before the look.
        assert times.pop(key, "about 1 h left").startswith("about ")
        assert set(times.values()) == {""}
        assert Download.objects.get(state="running").expected_at is not None
        worker.write(1)
        end.result(timeout=LONGEST_WAIT)
    look()
    worker.pool.shutdown()
    done = (f"Truncated: {number} of 1,000,000 rows", "")
    assert seen == [
        [("Waiting", ""), ("Waiting", "1 ahead of it"), ("Waiting", "3 ahead of it")],
        [("In progress", ""), ("Waiting", ""), ("Waiting", "2 ahead of it")],
        [done, ("In progress", ""), ("Waiting", "1 ahead of it")],
        [done, done, ("Waiting", "")],
        [done, done, ("In progress", "")],
        [done, done, done],
    ]
    assert not Download.objects.exclude(expected_at=None).exists()


# How often a list changes


@pytest.fixture(params=["file", "default"], ids=["shared", "not-shared"])
def any_sharing(request: pytest.FixtureRequest, settings: Any) -> None:
    """Use a cache with version tokens, and one without."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = request.param


@pytest.fixture
def always_another_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate another end with each write."""
    numbers = count(1)
    monkeypatch.setattr(estimate.Estimate, "end", lambda self, moment: ago(-60 * next(numbers)))


class Page:
    """A page that polls."""

    def __init__(self, owner: Owner):
        self.owner = owner
        self.fragments: list[store.Listing] = []

    def poll(self) -> None:
        seen = self.fragments[-1].version if self.fragments else None
        changes = store.read_changes(self.owner, seen)
        if changes is not None:
            self.fragments.append(changes)


@pytest.mark.any_database
@pytest.mark.usefixtures("hasty", "always_another_end", "any_sharing")
def test_an_estimate_brings_no_fragment_of_its_own(user: Any, owner: Owner) -> None:
    page, key = Page(owner), cache.init_download(user, "orders.csv")[1]
    page.poll()
    attempt = store.claim(key)
    assert attempt is not None
    expected = set()
    with attempt:
        page.poll()
        for percentage in range(10, 100, 10):
            attempt.set_percentage(percentage)
            for _ in range(5):
                page.poll()
                attempt.heartbeat()
                expected.add(Download.objects.values_list("expected_at", flat=True).get())
                page.poll()
        cache.set_error(key, "enough")
    page.poll()
    percentages = [listing.downloads[0].percentage for listing in page.fragments]
    assert percentages == [0, 0, *range(10, 100, 10), 90]
    assert len(expected) == 45


@pytest.mark.any_database
@pytest.mark.usefixtures("hasty", "any_sharing")
def test_a_time_that_has_passed_leaves_the_page(
    user: Any, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each poll compares the page with the rows.
    monkeypatch.setattr(cache_entries, "record_check", lambda *arguments: None)
    monkeypatch.setattr(intervals, "RECHECK", 0)
    row = DownloadFactory(collection__user=user, running=True, percentage=90)
    page = Page(owner)
    Download.objects.update(expected_at=ago(-60))
    page.poll()
    Download.objects.update(expected_at=ago(-50))
    page.poll()
    # The last part takes longer than expected, as an upload may.
    Download.objects.update(expected_at=ago(1))
    page.poll()
    Download.objects.filter(pk=row.pk).heartbeat_alone()
    page.poll()
    lefts = [listing.downloads[0].expected_at for listing in page.fragments]
    assert [left is not None and left > timezone.now() for left in lefts] == [True, False]


@pytest.mark.any_database
@pytest.mark.usefixtures("hasty", "always_another_end")
def test_the_end_is_expected_by_the_clock_of_the_database(
    user: Any, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cache.init_download(user, "orders.csv")[1]
    put_database_ahead(monkeypatch, LONG)
    attempt = store.claim(key)
    assert attempt is not None
    with attempt:
        attempt.set_percentage(10)
        (download,) = store.read_listing(owner).downloads
        assert download.seconds_left is not None
        assert download.seconds_left <= 60
        assert download.expected_at is not None
        assert download.expected_at > ago(-LONG)
        cache.set_error(key, "enough")


@pytest.mark.any_database
def test_a_long_queue_changes_a_list_only_at_each_ten(
    user: Any, owner: Owner, settings: Any
) -> None:
    # Without version tokens, each poll reads the rows.
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "default"
    collection = DownloadCollectionFactory()
    others = Download.objects.bulk_create(
        Download(collection=collection, name="a", filename="a", filepath="a", heard_at=ago(99 - n))
        for n in range(35)
    )
    waiting(user)
    page = Page(owner)
    page.poll()
    for each in others:
        Download.objects.filter(pk=each.pk).update(state="running", started_at=timezone.now())
        page.poll()
        page.poll()
    numbers = [listing.downloads[0].ahead for listing in page.fragments]
    assert numbers == [35, 30, 20, *range(10, -1, -1)]


@pytest.mark.any_database
@pytest.mark.usefixtures("hasty", "always_another_end")
@pytest.mark.parametrize("end", ["release", "error"])
def test_an_attempt_that_ends_leaves_no_estimate(user: Any, end: str) -> None:
    key = cache.init_download(user, "orders.csv")[1]
    attempt = store.claim(key)
    assert attempt is not None
    with attempt:
        attempt.set_percentage(10)
        assert Download.objects.get().expected_at is not None
        if end == "release":
            attempt.release()
        else:
            cache.set_error(key, "enough")
    assert Download.objects.get().expected_at is None


def test_workers_are_at_work_by_the_clock_of_the_database(
    user: Any, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By the clock of this process, the worker has stopped an hour ago.
    put_database_ahead(monkeypatch, -LONG)
    waiting(user, 2 * LONG)
    DownloadFactory(running=True, heard_at=ago(LONG))
    ((_, status),) = shown(owner)
    assert "Waiting for its turn" in status
