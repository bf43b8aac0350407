"""An identical request joins the download that is there already."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.models import Call, Download, DownloadCollection
from async_downloads.shortcuts import start_download
from async_downloads.store import RequestedFile, cache_entries
from tests import queues
from tests.attempts import claimed, stall_all

pytestmark = pytest.mark.django_db(transaction=True)

CALL = Call("tests.jobs.export", [1, "open"], {"since": "2026"})


def request(
    user: Any, filename: str = "orders.csv", call: Call | None = CALL, *, fresh_for: float = 0
) -> tuple[str, bool]:
    """Return the key of the download that a request gets, and whether it was created."""
    requested = RequestedFile.of(user, filename)._replace(call=call)
    download, created = store.join_or_create(requested, fresh_for=fresh_for)
    return download.download_key, created


@pytest.fixture
def first(user: Any) -> str:
    """Return the key of a pending download of the user."""
    key, created = request(user)
    assert created
    return key


def test_the_same_request_gets_the_same_download(user: Any, first: str) -> None:
    assert request(user) == (first, False)
    # Names in the list and stems of files may have the time of the request.
    assert request(user, "orders-2.csv") == (first, False)
    assert Download.objects.count() == 1


def test_so_it_does_while_a_worker_builds_it(user: Any, first: str) -> None:
    with claimed(Download.objects.get()):
        assert request(user) == (first, False)
        cache.save_download(first, [["row"]])


@pytest.mark.parametrize(
    "call",
    [
        CALL._replace(task="tests.jobs.Export"),
        CALL._replace(args=[1, "OPEN"]),
        CALL._replace(args=[True, "open"]),
        CALL._replace(args=[1.0, "open"]),
        CALL._replace(args=[1]),
        CALL._replace(kwargs={"since": "2026", "until": None}),
        CALL._replace(kwargs={}),
        None,
    ],
    ids=str,
)
def test_another_call_is_another_download(user: Any, first: str, call: Call | None) -> None:
    """A database may ignore case, and Python takes True for 1."""
    key, created = request(user, call=call)
    assert created
    assert key != first


@pytest.mark.parametrize(("filename", "created"), [("orders.xlsx", True), ("b.CSV", False)])
def test_another_file_format_is_another_download(
    user: Any, first: str, filename: str, created: bool
) -> None:
    assert request(user, filename)[1] is created


def test_the_download_of_another_owner_is_not_joined(
    user: Any, other_user: Any, first: str
) -> None:
    assert request(other_user)[1]
    assert request("team north")[1]
    assert request("team north")[1] is False
    assert Download.objects.count() == 3


def test_one_that_has_stalled_is_not_joined(user: Any, first: str) -> None:
    stall_all()
    assert request(user)[1]


def test_one_with_heartbeats_in_the_cache_alone_may_be_built_twice(
    user: Any, first: str, shared_cache: str
) -> None:
    """Its row has stalled. A second file is better than none."""
    stall_all()
    with transaction.atomic():
        cache.set_percentage(first, 10)
    assert request(user)[1]


@pytest.mark.parametrize("state", ["failed", "cleared", "cleared and not yet deleted"])
def test_one_that_has_ended_without_a_file_is_not_joined(
    user: Any, first: str, state: str, shared_cache: str
) -> None:
    if state == "failed":
        cache.set_error(first, "No orders.")
    elif state == "cleared":
        store.clear(user.pk, download_key=Download.objects.get().pk)
    else:
        cache_entries.mark_cleared([first])
    assert request(user)[1]


class TestFreshFor:
    @pytest.fixture(autouse=True)
    def complete(self, first: str) -> None:
        cache.save_download(first, [["row"]])

    def test_a_complete_one_is_joined_only_on_request(self, user: Any, first: str) -> None:
        assert request(user, fresh_for=60) == (first, False)
        assert request(user)[1]

    def test_it_is_joined_for_as_long_as_that(self, user: Any, first: str) -> None:
        Download.objects.update(finished_at=timezone.now() - timedelta(seconds=100))
        assert request(user, fresh_for=1000) == (first, False)
        assert request(user, fresh_for=50)[1]

    def test_the_newest_is_joined(self, user: Any, first: str) -> None:
        second, created = request(user)
        assert created
        assert request(user, fresh_for=60) == (second, False)

    def test_one_that_has_expired_is_not_joined(self, user: Any, first: str) -> None:
        Download.objects.update(expires_at=timezone.now())
        assert request(user, fresh_for=10**6)[1]

    def test_one_whose_file_is_missing_is_not_joined(self, user: Any, first: str) -> None:
        Download.objects.all().fail_missing("The file is missing.")
        assert request(user, fresh_for=60)[1]


def test_joining_needs_no_room(user: Any, first: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    assert request(user) == (first, False)
    with pytest.raises(TooManyDownloadsError):
        request(user, "orders.xlsx")


def test_a_rolled_back_request_is_not_joined(user: Any) -> None:
    with transaction.atomic():
        request(user)
        transaction.set_rollback(True)
    assert request(user)[1]


def test_inside_one_transaction_the_second_request_joins_the_first(user: Any) -> None:
    with transaction.atomic():
        key, _ = request(user)
        assert request(user) == (key, False)


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("known", [True, False], ids=["known owner", "new owner"])
def test_fifty_at_once_are_one(
    user: Any, settings: Any, shared_cache: str, limit: int | None, known: bool
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
    if known:
        store.clear(user.pk, download_key=Download.objects.get(pk=request(user)[0]).pk)
    queued_before = len(queues.waiting())

    def start(_: int) -> str:
        try:
            return start_download("tests.jobs.export", user, "orders.csv", args=[1], join=True)[1]
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=10) as pool:
        keys = set(pool.map(start, range(50)))
    assert keys == {row.download_key for row in Download.objects.all()}
    assert len(keys) == 1
    assert len(queues.waiting()) == queued_before + 1
    assert DownloadCollection.objects.count() == 1
