"""The signals of downloads."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from async_downloads import cache, signals, store
from async_downloads.models import Download
from async_downloads.signals import download_changed
from async_downloads.store import write_through
from tests.attempts import claimed, long_ago
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """Yield the arguments of each ``download_changed`` so far."""
    sent: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        kwargs.pop("signal")
        sent.append(kwargs)

    download_changed.connect(listen)
    yield sent
    download_changed.disconnect(listen)


@pytest.fixture
def broken_receiver() -> Iterator[list[str]]:
    """Connect a receiver that always raises, before all others."""
    heard: list[str] = []

    def listen(change: str, **_: Any) -> None:
        heard.append(change)
        raise RuntimeError("a receiver of the site's own")

    download_changed.connect(listen)
    yield heard
    download_changed.disconnect(listen)


def changes(sent: list[dict[str, Any]]) -> list[str]:
    return [arguments["change"] for arguments in sent]


def test_each_change_has_its_documented_name(user: Any, sent: list[dict[str, Any]]) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"]])
    _, other = cache.init_download(user, "b.csv")
    cache.set_percentage(other, 50)
    cache.set_error(other, "It broke.")
    store.clear(user.pk, download_key=Download.objects.get(pk=other).pk)
    assert changes(sent) == [
        "created",
        "started",
        "completed",
        "created",
        "progressed",
        "failed",
        "removed",
    ]


def test_a_signal_names_the_collection_and_the_owner(user: Any, sent: list[dict[str, Any]]) -> None:
    collection_key, key = cache.init_download(user, "a.csv")
    label_key, other = cache.init_download("team", "b.csv")
    assert sent == [
        {
            "sender": Download,
            "download_key": key,
            "collection_key": collection_key,
            "user_id": user.pk,
            "change": "created",
        },
        {
            "sender": Download,
            "download_key": other,
            "collection_key": label_key,
            "user_id": None,
            "change": "created",
        },
    ]


def test_no_signal_is_sent_before_the_commit(user: Any, sent: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        _, key = cache.init_download(user, "a.csv")
        cache.set_error(key, "It broke.")
        assert sent == []
    assert changes(sent) == ["created", "failed"]


def test_no_signal_is_sent_after_a_rollback(user: Any, sent: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        cache.init_download(user, "a.csv")
        transaction.set_rollback(True)
    assert sent == []


def test_the_row_holds_the_new_value_when_the_signal_is_sent(user: Any) -> None:
    seen: list[str] = []

    def look(download_key: str, **_: Any) -> None:
        seen.append(Download.objects.get(pk=download_key).state)

    download_changed.connect(look)
    try:
        _, key = cache.init_download(user, "a.csv")
        cache.save_download(key, [["a"]])
    finally:
        download_changed.disconnect(look)
    assert seen == ["pending", "running", "complete"]


def test_a_receiver_that_raises_does_not_fail_the_export(
    user: Any, broken_receiver: list[str], sent: list[dict[str, Any]]
) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.set_percentage(key, 30)
    cache.save_download(key, [["a"]])
    assert Download.objects.get(pk=key).complete
    assert store.clear(user.pk, download_key=Download.objects.get(pk=key).pk)
    assert broken_receiver == ["created", "progressed", "started", "completed", "removed"]
    # The receivers after it get every signal.
    assert changes(sent) == broken_receiver


def test_a_receiver_that_raises_is_logged(
    user: Any, broken_receiver: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cache.init_download(user, "a.csv")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "a receiver of the site's own" in caplog.text
    assert len(errors) == 1


def test_a_receiver_that_raises_does_not_break_a_transaction(
    user: Any, broken_receiver: list[str]
) -> None:
    with transaction.atomic():
        _, key = cache.init_download(user, "a.csv")
        # Progress is published at once, even inside a transaction.
        cache.set_percentage(key, 30)
    assert Download.objects.filter(pk=key).exists()
    assert sorted(broken_receiver) == ["created", "progressed"]


# The signal of each step


@pytest.fixture
def steps() -> Iterator[list[tuple[str, Any]]]:
    """Yield the name of each signal so far, with the state of its download."""
    steps: list[tuple[str, Any]] = []
    receivers = []
    for name in signals.__all__:
        if name == "download_changed":
            continue

        def listen(name: str = name, **kwargs: Any) -> None:
            assert kwargs["sender"] is Download
            assert kwargs["download_key"] == kwargs["download"].download_key
            steps.append((name.removeprefix("download_"), kwargs["download"].state))

        getattr(signals, name).connect(listen, weak=False)
        receivers.append((name, listen))
    yield steps
    for name, listen in receivers:
        getattr(signals, name).disconnect(listen)


def test_each_step_of_a_life_has_a_signal(
    user: Any, signed_in: Client, steps: list[tuple[str, Any]]
) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"]])
    signed_in.get(Download.objects.get().url).close()
    _, other = cache.init_download(user, "b.csv")
    cache.set_error(other, "It broke.")
    assert steps == [
        ("created", "pending"),
        ("started", "running"),
        ("completed", "complete"),
        ("fetched", "complete"),
        ("created", "pending"),
        ("failed", "failed"),
    ]


@pytest.mark.parametrize("state", ["running", "failed", "complete"])
def test_only_an_unfinished_download_is_cancelled(
    user: Any, steps: list[tuple[str, Any]], state: str
) -> None:
    download = DownloadFactory(collection__user=user, **{state: True})
    store.clear(user.pk, download_key=download.pk)
    assert steps == ([("cancelled", "running")] if state == "running" else [])


def test_purging_an_unfinished_download_cancels_it(
    steps: list[tuple[str, Any]],
) -> None:
    DownloadFactory.create_batch(2)
    assert store.purge(Download.objects.all()) == 2
    assert steps == [("cancelled", "pending")] * 2


@pytest.mark.parametrize("state", ["failed", "complete"])
def test_the_clean_up_sends_expired(steps: list[tuple[str, Any]], state: str) -> None:
    download = DownloadFactory(expired=True, **{state: True})
    store.clean_up()
    assert not Download.objects.exists()
    assert steps == [("expired", download.state)]


def test_an_overdue_attempt_sends_stalled_and_failed(steps: list[tuple[str, Any]]) -> None:
    DownloadFactory(running=True, expired=True, heard_at=long_ago())
    store.clean_up()
    assert steps == [("stalled", "failed"), ("failed", "failed")]


def test_an_attempt_that_is_taken_over_sends_stalled_before_started(
    steps: list[tuple[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    download = DownloadFactory(running=True, heard_at=long_ago())
    with claimed(download):
        assert steps == [("stalled", "running"), ("started", "running")]
    assert f"Download {download.pk} has stalled and is taken over" in caplog.text


def test_a_rescued_attempt_sends_stalled_before_requeued(steps: list[tuple[str, Any]]) -> None:
    DownloadFactory(running=True, recorded=True, heard_at=long_ago())
    store.rescue_alone()
    assert steps == [("stalled", "pending"), ("requeued", "pending")]


def test_a_last_attempt_that_has_stalled_sends_stalled_before_failed(
    steps: list[tuple[str, Any]], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    download = DownloadFactory(running=True, recorded=True, heard_at=long_ago())
    store.rescue_alone()
    assert f"Download {download.pk} has stalled in its last attempt" in caplog.text
    other = DownloadFactory(running=True, heard_at=long_ago())
    assert store.claim(other.download_key) is None
    assert steps == [("stalled", "failed"), ("failed", "failed")] * 2


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_retry_sends_stalled_only_for_an_attempt_that_has_stalled(
    steps: list[tuple[str, Any]], state: str
) -> None:
    download = DownloadFactory(**{state: True}, recorded=True, heard_at=long_ago())
    assert store.retry(download)
    staff = DownloadFactory(**{state: True}, recorded=True, heard_at=long_ago())
    rows = Download.objects.filter(pk=staff.pk)
    assert store.run_again(rows, may_start=lambda download: True) == 1
    stalled = [("stalled", "pending")] if state == "running" else []
    assert steps == [*stalled, ("requeued", "pending")] * 2


def test_an_overdue_download_that_no_worker_has_begun_has_not_stalled(
    steps: list[tuple[str, Any]],
) -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    store.clean_up()
    assert steps == [("failed", "failed")]


def test_a_deletion_is_sent_after_the_commit_only(
    steps: list[tuple[str, Any]],
) -> None:
    DownloadFactory()
    with transaction.atomic():
        Download.objects.all().delete()
        assert steps == []
        transaction.set_rollback(True)
    assert steps == []
    with transaction.atomic():
        Download.objects.all().delete()
    assert steps == [("cancelled", "pending")]


def test_a_deleted_download_has_all_columns() -> None:
    download = DownloadFactory(running=True, name="Orders", error_detail="trace")
    seen: list[Any] = []

    def listen(download: Download, **_: Any) -> None:
        seen.append((download.pk, download.name, download.error_detail))

    signals.download_cancelled.connect(listen)
    try:
        Download.objects.only("id").get().delete()
    finally:
        signals.download_cancelled.disconnect(listen)
    assert seen == [(download.pk, "Orders", "trace")]


def test_a_fetch_names_the_user(user: Any, signed_in: Client) -> None:
    seen: list[Any] = []

    def listen(user: Any, **_: Any) -> None:
        seen.append(user)

    signals.download_fetched.connect(listen)
    try:
        signed_in.get(DownloadFactory(collection__user=user, complete=True).url).close()
    finally:
        signals.download_fetched.disconnect(listen)
    assert seen == [user]


def test_each_step_is_logged_with_its_numbers(user: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, signals.__name__)
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"], ["b"]])
    records: list[Any] = [each for each in caplog.records if each.name == signals.__name__]
    assert [record.change for record in records] == ["created", "started", "completed"]
    assert {record.download_key for record in records} == {key}
    last = records[-1]
    assert (last.state, last.attempts, last.size, last.rows_written) == ("complete", 1, 4, 2)
    assert last.getMessage() == f"Download {key}: completed"


def test_each_step_names_the_task_the_owner_and_the_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, signals.__name__)
    download = DownloadFactory(recorded=True, heard_at=timezone.now() - timedelta(seconds=30))
    with claimed(download):
        Download.objects.update(started_at=timezone.now() - timedelta(seconds=20))
        cache.save_download(download.download_key, [["a"]])
    started, completed = [each for each in caplog.records if each.name == signals.__name__]
    for record in map(vars, (started, completed)):
        assert record["task"] == "tests.jobs.export"
        assert record["collection_key"] == download.collection.key
    assert vars(started)["seconds_queued"] >= 30
    assert vars(started)["seconds_building"] is None
    assert vars(completed)["seconds_queued"] is None
    assert vars(completed)["seconds_building"] >= 20


def test_a_line_about_a_deletion_reads_no_collection(
    caplog: pytest.LogCaptureFixture, django_assert_num_queries: Any
) -> None:
    caplog.set_level(logging.INFO, signals.__name__)
    DownloadFactory()
    download = Download.objects.get()
    with django_assert_num_queries(0):
        write_through.send_signal(download, "cancelled")
    assert vars(caplog.records[-1])["collection_key"] is None
