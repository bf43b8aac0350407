"""News of downloads."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from async_downloads import cache, signals, store
from async_downloads.models import Download
from async_downloads.signals import download_changed
from tests.attempts import long_ago
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def news() -> Iterator[list[dict[str, Any]]]:
    """What was told so far."""
    told: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        kwargs.pop("signal")
        told.append(kwargs)

    download_changed.connect(listen)
    yield told
    download_changed.disconnect(listen)


@pytest.fixture
def broken_receiver() -> Iterator[list[str]]:
    """A receiver that listens first and always raises."""
    heard: list[str] = []

    def listen(change: str, **_: Any) -> None:
        heard.append(change)
        raise RuntimeError("a receiver of the site's own")

    download_changed.connect(listen)
    yield heard
    download_changed.disconnect(listen)


def changes(news: list[dict[str, Any]]) -> list[str]:
    return [told["change"] for told in news]


def test_the_life_of_a_download_is_told_in_the_documented_words(
    user: Any, news: list[dict[str, Any]]
) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"]])
    _, other = cache.init_download(user, "b.csv")
    cache.set_percentage(other, 50)
    cache.set_error(other, "It broke.")
    store.clear(user.pk, download_key=Download.objects.get(pk=other).pk)
    assert changes(news) == [
        "created",
        "started",
        "completed",
        "created",
        "progressed",
        "failed",
        "removed",
    ]


def test_it_is_told_whose_download_it_is(user: Any, news: list[dict[str, Any]]) -> None:
    collection_key, key = cache.init_download(user, "a.csv")
    label_key, other = cache.init_download("team", "b.csv")
    assert news == [
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


def test_nothing_is_told_before_the_commit(user: Any, news: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        _, key = cache.init_download(user, "a.csv")
        cache.set_error(key, "It broke.")
        assert news == []
    assert changes(news) == ["created", "failed"]


def test_nothing_is_told_of_what_was_rolled_back(user: Any, news: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        cache.init_download(user, "a.csv")
        transaction.set_rollback(True)
    assert news == []


def test_when_it_is_told_the_row_holds_the_new_value(user: Any) -> None:
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


def test_a_receiver_that_raises_harms_nothing(
    user: Any, broken_receiver: list[str], news: list[dict[str, Any]]
) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.set_percentage(key, 30)
    cache.save_download(key, [["a"]])
    assert Download.objects.get(pk=key).complete
    assert store.clear(user.pk, download_key=Download.objects.get(pk=key).pk)
    assert broken_receiver == ["created", "progressed", "started", "completed", "removed"]
    # Nor do the receivers after it miss anything.
    assert changes(news) == broken_receiver


def test_a_receiver_that_raises_is_logged(
    user: Any, broken_receiver: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cache.init_download(user, "a.csv")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "a receiver of the site's own" in caplog.text
    assert len(errors) == 1


def test_a_receiver_that_raises_inside_a_transaction_harms_nothing(
    user: Any, broken_receiver: list[str]
) -> None:
    with transaction.atomic():
        _, key = cache.init_download(user, "a.csv")
        # Progress is told at once, even in here.
        cache.set_percentage(key, 30)
    assert Download.objects.filter(pk=key).exists()
    assert sorted(broken_receiver) == ["created", "progressed"]


# The signal of each step


@pytest.fixture
def steps() -> Iterator[list[tuple[str, Any]]]:
    """Each step that was told, by its name, with the state of the row that came along."""
    told: list[tuple[str, Any]] = []
    receivers = []
    for name in signals.__all__:
        if name == "download_changed":
            continue

        def listen(name: str = name, **kwargs: Any) -> None:
            assert kwargs["sender"] is Download
            assert kwargs["download_key"] == kwargs["download"].download_key
            told.append((name.removeprefix("download_"), kwargs["download"].state))

        getattr(signals, name).connect(listen, weak=False)
        receivers.append((name, listen))
    yield told
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
def test_only_what_was_not_finished_is_cancelled(
    user: Any, steps: list[tuple[str, Any]], state: str
) -> None:
    download = DownloadFactory(collection__user=user, **{state: True})
    store.clear(user.pk, download_key=download.pk)
    assert steps == ([("cancelled", "running")] if state == "running" else [])


def test_what_staff_purge_before_it_is_finished_is_cancelled_too(
    steps: list[tuple[str, Any]],
) -> None:
    DownloadFactory.create_batch(2)
    assert store.purge(Download.objects.all()) == 2
    assert steps == [("cancelled", "pending")] * 2


@pytest.mark.parametrize("state", ["failed", "complete"])
def test_what_the_clean_up_removes_has_expired(steps: list[tuple[str, Any]], state: str) -> None:
    download = DownloadFactory(expired=True, **{state: True})
    store.clean_up()
    assert not Download.objects.exists()
    assert steps == [("expired", download.state)]


def test_what_is_overdue_fails(steps: list[tuple[str, Any]]) -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    store.clean_up()
    assert steps == [("failed", "failed")]


def test_what_is_gone_is_told_after_the_commit_and_not_after_a_rollback(
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


def test_what_is_gone_comes_whole_also_if_it_was_read_in_part() -> None:
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


def test_who_fetched_a_file_is_told(user: Any, signed_in: Client) -> None:
    seen: list[Any] = []

    def listen(user: Any, **_: Any) -> None:
        seen.append(user)

    signals.download_fetched.connect(listen)
    try:
        signed_in.get(DownloadFactory(collection__user=user, complete=True).url).close()
    finally:
        signals.download_fetched.disconnect(listen)
    assert seen == [user]


def test_each_step_is_a_line_of_the_log_with_its_numbers(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, signals.__name__)
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"], ["b"]])
    records: list[Any] = [each for each in caplog.records if each.name == signals.__name__]
    assert [record.change for record in records] == ["created", "started", "completed"]
    assert {record.download_key for record in records} == {key}
    last = records[-1]
    assert (last.state, last.attempts, last.size, last.rows_written) == ("complete", 1, 4, 2)
    assert last.getMessage() == f"Download {key}: completed"
