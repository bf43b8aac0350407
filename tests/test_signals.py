"""News of downloads."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from async_downloads import cache, store
from async_downloads.models import Download
from async_downloads.signals import download_changed

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
