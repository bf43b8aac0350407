"""How many downloads an owner may have in progress at once."""

from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadError, TooManyDownloadsError
from async_downloads.models import Download, DownloadCollection
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries
from tests.attempts import claimed, stall_all
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def two_at_most(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 2


def start(user: Any) -> str:
    return cache.init_download(user, "orders.csv")[1]


def test_one_more_is_refused_with_a_text_for_the_owner(user: Any) -> None:
    start(user)
    start(user)
    with pytest.raises(TooManyDownloadsError) as refused:
        start(user)
    assert str(refused.value) == (
        "You have 2 downloads in progress. Wait until one has finished, or cancel one."
    )
    assert isinstance(refused.value, DownloadError)


def test_a_refused_download_leaves_nothing_behind(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {start(user), start(user)}
    written: list[object] = []
    monkeypatch.setattr(cache_entries, "set_entry", lambda entry: written.append(entry))
    signals: list[object] = []

    def listen(**arguments: object) -> None:
        signals.append(arguments)

    download_changed.connect(listen)
    with pytest.raises(TooManyDownloadsError):
        start(user)
    download_changed.disconnect(listen)
    assert {download.download_key for download in Download.objects.all()} == keys
    assert (written, signals) == ([], [])


def test_the_callers_transaction_continues_after_a_refusal(user: Any) -> None:
    start(user)
    start(user)
    with transaction.atomic():
        other = DownloadCollectionFactory()
        with pytest.raises(TooManyDownloadsError):
            start(user)
    assert DownloadCollection.objects.filter(pk=other.pk).exists()


@pytest.mark.parametrize(
    "state",
    [{"complete": True}, {"failed": True}, {"complete": True, "expired": True}],
    ids=str,
)
def test_a_finished_download_does_not_count(user: Any, state: Any) -> None:
    DownloadFactory.create_batch(3, collection=DownloadCollectionFactory(user=user), **state)
    start(user)


def test_an_attempt_that_has_stalled_does_not_count(user: Any) -> None:
    DownloadFactory.create_batch(2, collection=DownloadCollectionFactory(user=user), running=True)
    with pytest.raises(TooManyDownloadsError):
        start(user)
    stall_all()
    start(user)


def test_a_pending_download_counts_however_long_it_waits(user: Any) -> None:
    """An owner cannot queue more than the limit while no worker is free."""
    for _ in range(8):
        with suppress(TooManyDownloadsError):
            start(user)
        stall_all()
    assert Download.objects.count() == 2
    assert store.clear(user.pk, download_key=Download.objects.all()[0].pk)
    start(user)


def test_an_overdue_download_does_not_count(user: Any) -> None:
    """An owner is not locked out for ever if no worker starts the downloads."""
    start(user)
    start(user)
    stall_all()
    Download.objects.update(expires_at=timezone.now())
    start(user)


def test_an_attempt_with_heartbeats_in_the_cache_alone_counts(user: Any, shared_cache: str) -> None:
    keys = [start(user), start(user)]
    stall_all()
    for key in keys:
        # As a task does inside its own transaction.
        with transaction.atomic():
            cache.set_percentage(key, 10)
    with pytest.raises(TooManyDownloadsError):
        start(user)


def test_finished_and_cleared_downloads_make_room(user: Any) -> None:
    first, second = start(user), start(user)
    cache.save_download(first, [["a"]])
    third = start(user)
    for key in (second, third):
        store.clear(user.pk, download_key=Download.objects.get(pk=key).pk)
    start(user)
    start(user)


def test_each_owner_has_a_limit_of_their_own(user: Any, other_user: Any) -> None:
    for owner in (user, other_user, "team north"):
        start(owner)
        start(owner)
        with pytest.raises(TooManyDownloadsError):
            start(owner)


def test_running_downloads_continue_when_the_limit_is_lowered(user: Any, settings: Any) -> None:
    keys = [start(user), start(user)]
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    with claimed(Download.objects.get(pk=keys[0])):
        cache.save_download(keys[0], [["a"]])
    assert Download.objects.get(pk=keys[0]).complete


def test_without_a_limit_nothing_is_counted(
    user: Any, settings: Any, django_assert_num_queries: Any
) -> None:
    start(user)
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = None
    counting = " ".join(str(Download.objects.active().unfinished().query).split()[-4:])
    with django_assert_num_queries(1) as captured:
        start(user)
    assert not [query for query in captured if counting in query["sql"]]
