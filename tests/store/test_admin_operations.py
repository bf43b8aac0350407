"""The operations of staff on the downloads of others."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.files import storage
from async_downloads.models import Download, DownloadState
from async_downloads.shortcuts import download_task
from async_downloads.signals import (
    download_cancelled,
    download_changed,
    download_failed,
    download_requeued,
)
from async_downloads.store import attempt, cache_entries
from tests import queues
from tests.attempts import long_ago
from tests.clocks import put_database_ahead
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.recorded_calls import download as recorded_download

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent_signals() -> Any:
    """Yield the signals that were sent, with the names of the downloads."""
    sent: list[tuple[str, str]] = []

    def remember(name: str) -> Any:
        return lambda **news: sent.append((name, news["download"].name))

    receivers = {
        signal: remember(name)
        for name, signal in {
            "failed": download_failed,
            "cancelled": download_cancelled,
            "requeued": download_requeued,
        }.items()
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    yield sent
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


def test_cancelling_deletes_unfinished_downloads(sent_signals: list[Any]) -> None:
    for name, state in {"waiting": {}, "running": {"running": True}}.items():
        DownloadFactory(name=name, **state)
    kept = [DownloadFactory(complete=True), DownloadFactory(failed=True)]
    assert store.cancel(Download.objects.all()) == 2
    assert set(Download.objects.all()) == set(kept)
    assert sorted(sent_signals) == [("cancelled", "running"), ("cancelled", "waiting")]


def test_marking_fails_unfinished_downloads(sent_signals: list[Any]) -> None:
    waiting, running = (
        DownloadFactory(name="waiting"),
        DownloadFactory(name="running", running=True),
    )
    complete, failed = DownloadFactory(complete=True), DownloadFactory(failed=True, errors="Mine")
    assert store.mark_failed(Download.objects.all(), by="ada") == 2
    for row in (waiting, running):
        row.refresh_from_db()
        assert row.failed
        assert row.errors == "Stopped by an administrator."
        assert row.error_detail == "Marked as failed by ada."
        assert row.finished_at is not None
    complete.refresh_from_db()
    failed.refresh_from_db()
    assert complete.complete
    assert failed.errors == "Mine"
    assert sorted(sent_signals) == [("failed", "running"), ("failed", "waiting")]


def test_the_owner_sees_a_failure_by_staff_at_once(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv")
    entry = cache_entries.get_entry(key)
    assert entry is not None
    assert entry["state"] == "pending"
    changes: list[dict[str, Any]] = []

    def remember(**news: Any) -> None:
        changes.append(news)

    download_changed.connect(remember)
    store.mark_failed(Download.objects.all(), by="ada")
    download_changed.disconnect(remember)
    entry = cache_entries.get_entry(key)
    assert entry is not None
    assert entry["state"] == "failed"
    assert entry["errors"] == "Stopped by an administrator."
    assert [(news["change"], news["user_id"]) for news in changes] == [("failed", user.pk)]


def test_more_than_a_batch_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("async_downloads.store.removal.BATCH_SIZE", 3)
    DownloadFactory.create_batch(10, running=True)
    DownloadFactory.create_batch(2, failed=True)
    assert store.mark_failed(Download.objects.all(), by="ada") == 10
    assert not Download.objects.unfinished().exists()


@pytest.mark.parametrize("written", [1, 3])
def test_an_attempt_stops_once_its_download_is_marked_as_failed(
    user: Any, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    monkeypatch.setattr(attempt, "HEARTBEAT_SECONDS", 0)
    _, key = cache.init_download(user, "a.csv")
    made = []

    def rows() -> Any:
        for number in range(10):
            made.append(number)
            if number == written:
                store.mark_failed(Download.objects.all(), by="ada")
            yield [number]

    with pytest.raises(DownloadCancelled):
        cache.save_download(key, rows())
    assert made == list(range(written + 1))
    download = Download.objects.get()
    assert download.failed
    assert download.errors == "Stopped by an administrator."
    assert not storage.storage().exists(download.filepath)


def test_an_attempt_without_rows_stops_at_its_next_progress(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv")
    steps = []

    @download_task
    def task(download_key: str) -> None:
        store.mark_failed(Download.objects.all(), by="ada")
        steps.append(download_key)
        cache.set_percentage(download_key, 50)
        steps.append("never")

    # A cancelled task returns, so that the queue does not retry it.
    task(key)
    assert steps == [key]
    assert Download.objects.get().errors == "Stopped by an administrator."


def test_a_file_that_is_saved_after_the_mark_does_not_complete_the_download(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv")
    claimed = store.claim(key)
    assert claimed is not None
    with pytest.raises(DownloadCancelled), claimed:
        store.mark_failed(Download.objects.all(), by="ada")
        claimed.complete(storage.StoredFile(claimed.output.path, 3))
    assert Download.objects.get().state == DownloadState.FAILED


def test_another_delivery_may_still_finish_it(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv")
    store.mark_failed(Download.objects.all(), by="ada")
    cache.save_download(key, [["a"]])
    download = Download.objects.get()
    assert download.complete
    assert download.errors == ""


def everything(download: Download) -> bool:
    return True


def test_failed_and_stalled_downloads_with_a_call_wait_for_a_first_attempt_again(
    user: Any, sent_signals: list[Any]
) -> None:
    failed = recorded_download(user, failed=True, attempts=3, name="failed")
    stalled = recorded_download(user, running=True, heard_at=long_ago(), name="stalled")
    others = [
        recorded_download(user, complete=True),
        recorded_download(user, running=True),
        recorded_download(user),
        DownloadFactory(failed=True),
    ]
    before = list(Download.objects.filter(pk__in=[row.pk for row in others]).values())
    assert store.run_again(Download.objects.all(), may_start=everything) == 2
    for row in (failed, stalled):
        claim = row.claim
        row.refresh_from_db()
        assert (row.state, row.attempts, row.errors) == (DownloadState.PENDING, 0, "")
        assert row.claim not in (None, claim)
    assert list(Download.objects.filter(pk__in=[row.pk for row in others]).values()) == before
    assert sorted(sent_signals) == [("requeued", "failed"), ("requeued", "stalled")]
    assert len(queues.waiting()) == 2


def test_more_than_a_batch_is_run_again(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("async_downloads.store.removal.BATCH_SIZE", 3)
    refused = [recorded_download(user, failed=True).pk for _ in range(7)][::2]
    count = store.run_again(Download.objects.all(), may_start=lambda row: row.pk not in refused)
    assert count == 3
    assert {row.pk for row in Download.objects.filter(state=DownloadState.FAILED)} == {*refused}


def test_an_attempt_that_lives_in_the_cache_alone_is_not_run_again(
    user: Any, shared_cache: str
) -> None:
    row = recorded_download(user, running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(row.download_key, 40)
    assert store.run_again(Download.objects.all(), may_start=everything) == 0


def test_finished_downloads_are_kept_for_longer() -> None:
    now = timezone.now()
    until = now + timedelta(days=7)

    def made(**state: Any) -> Download:
        row: Download = DownloadFactory(**state)
        return row

    extended = [
        made(complete=True),
        made(failed=True),
        made(complete=True, expires_at=now - timedelta(minutes=1)),
    ]
    others = {
        made(): "its next write sets its expiry anew",
        made(running=True): "the same",
        made(complete=True, expires_at=None): "never expires",
        made(complete=True, expires_at=now + timedelta(days=30)): "expires later",
    }
    before = {row.pk: row.expires_at for row in others}
    heard = {row.pk: row.heard_at for row in extended}
    assert store.extend_expiry(Download.objects.all(), until) == len(extended)
    for row in extended:
        row.refresh_from_db()
        assert row.expires_at == until
        # It is not a heartbeat.
        assert row.heard_at == heard[row.pk]
    for row, why in others.items():
        row.refresh_from_db()
        assert row.expires_at == before[row.pk], why
    assert store.clean_up().downloads == 0


def test_an_extended_download_is_back_in_the_list_of_its_owner(user: Any) -> None:
    download = DownloadFactory(
        collection=DownloadCollectionFactory(user=user), complete=True, expired=True
    )
    owner = download.collection.owner
    seen = store.read_listing(owner)
    assert seen.total == 0
    store.extend_expiry(Download.objects.all(), timezone.now() + timedelta(days=1))
    listing = store.read_changes(owner, seen.version)
    assert listing is not None
    assert list(listing.downloads) == [download]


def test_the_clock_of_the_database_says_what_is_run_again(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_database_ahead(monkeypatch, 600)
    # By the clock of this process, its heartbeat is yet to come.
    recorded_download(user, running=True, heard_at=timezone.now() + timedelta(seconds=400))
    assert store.run_again(Download.objects.all(), may_start=lambda row: True) == 1
