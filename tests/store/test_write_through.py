"""A change becomes visible after the commit: row, cache entry, version token, signal."""

import asyncio
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import transaction
from django.urls import clear_url_caches

from async_downloads import cache, signals, store
from async_downloads.centre import push
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries
from async_downloads.utils.circuit_breaker import CircuitBreaker
from tests.factories import DownloadFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("shared_cache"),
]


@pytest.fixture
def news() -> Iterator[list[dict[str, Any]]]:
    """The signals that receivers get, with row, entry and token at that moment."""
    received: list[dict[str, Any]] = []

    def listen(signal: Any, sender: Any, **kwargs: Any) -> None:
        row = Download.objects.filter(pk=kwargs["download_key"] or None).first()
        entry = cache_entries.get_entry(kwargs["download_key"])
        received.append(
            {
                **kwargs,
                "row": row and (row.state, row.percentage),
                "entry": entry and (entry["state"], entry["percentage"]),
                "version": cache_entries.get_version(kwargs["collection_key"]),
            }
        )

    download_changed.connect(listen)
    yield received
    download_changed.disconnect(listen)


def test_each_change_is_whole_before_its_signal(user: Any, news: list[dict[str, Any]]) -> None:
    collection_key, key = cache.init_download(user, "orders.csv")
    cache.set_percentage(key, 20)
    cache.save_download(key, [["row"]])
    assert [item["change"] for item in news] == ["created", "progressed", "started", "completed"]
    assert all(item["row"] == item["entry"] for item in news)
    assert len({item["version"] for item in news}) == len(news)
    assert {item["collection_key"] for item in news} == {collection_key}
    assert {item["user_id"] for item in news} == {user.pk}


def test_a_failure_sends_a_signal_too(user: Any, news: list[dict[str, Any]]) -> None:
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, (1 / 0 for _ in range(1)))  # type: ignore[arg-type, misc]
    assert news[-1]["change"] == "failed"
    assert news[-1]["row"] == news[-1]["entry"] == ("failed", 0)


def test_signals_are_sent_after_a_commit_and_never_after_a_rollback(
    user: Any, news: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        cache.init_download(user, "kept.csv")
        assert news == []
    assert [item["change"] for item in news] == ["created"]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        cache.init_download(user, "lost.csv")
        raise ZeroDivisionError
    assert len(news) == 1


def test_a_file_whose_transaction_is_rolled_back_sends_no_completed_signal(
    news: list[dict[str, Any]],
) -> None:
    download = DownloadFactory()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        cache.save_download(download.download_key, [["row"]])
        assert Download.objects.get(pk=download.pk).complete
        raise ZeroDivisionError
    assert "completed" not in [item["change"] for item in news]


def test_progress_inside_a_transaction_is_published_at_once_from_the_entry(
    news: list[dict[str, Any]],
) -> None:
    download = DownloadFactory()
    with transaction.atomic():
        cache.set_percentage(download.download_key, 60)
        assert [item["change"] for item in news] == ["progressed"]
        assert news[0]["row"] == ("pending", 0)
        assert news[0]["entry"] == ("pending", 60)


def test_the_entry_shows_the_row_as_it_is_after_the_commit(user: Any) -> None:
    download = DownloadFactory(collection__user=user)
    attempt = store.claim(download.download_key)
    assert attempt is not None
    with transaction.atomic():
        store.set_error(download.download_key, "first")
        stored = storage.save(download.filepath, ContentFile(b"x"))
        attempt.complete(stored)
    entry = cache_entries.get_entry(download.download_key)
    assert entry is not None
    assert (entry["state"], entry["errors"], entry["complete"]) == ("complete", "", True)
    assert entry["url"] == f"/async_downloads/download/{download.pk}/"


def test_a_receiver_that_raises_does_no_harm(user: Any) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("broken receiver")

    download_changed.connect(broken)
    try:
        _, key = cache.init_download(user, "orders.csv")
        cache.save_download(key, [["row"]])
    finally:
        download_changed.disconnect(broken)
    assert Download.objects.get().complete


class Refusing:
    """A channel layer that raises ``error``."""

    error: ClassVar[BaseException]

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Raise."""
        raise self.error


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("It is meant to fail.")


@contextmanager
def broken(what: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Break one of the steps after the row."""
    with ExitStack() as stack:
        if what == "no URLs":
            settings.ROOT_URLCONF = "tests.store.test_write_through"
            clear_url_caches()
            stack.callback(clear_url_caches)
        elif what in SIGNALS:
            SIGNALS[what].connect(refuse)
            stack.callback(SIGNALS[what].disconnect, refuse)
        elif what == "the user's name":
            monkeypatch.setattr(get_user_model(), "get_username", refuse)
        elif what == "a filter of the log":
            logging.getLogger(signals.__name__).addFilter(refuse)
            stack.callback(logging.getLogger(signals.__name__).removeFilter, refuse)
        else:
            settings.ASYNC_DOWNLOADS_WS_MODE = True
            settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.Refusing"}}
            kinds: dict[str, type[BaseException]] = {
                "a layer": OSError,
                "a layer that cancels": asyncio.CancelledError,
            }
            Refusing.error = kinds[what]("It is meant to fail.")
            monkeypatch.setattr(push, "_breaker", CircuitBreaker("The channel layer"))
        yield


#: A URLconf without the package's URLs.
urlpatterns: list[Any] = []

SIGNALS = {
    "a receiver of changes": download_changed,
    "a receiver of the end": signals.download_completed,
}

BROKEN = (
    *("no URLs", "the user's name", "a filter of the log"),
    *("a layer", "a layer that cancels", *SIGNALS),
)


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("inside", [False, True], ids=["", "in a transaction"])
def test_all_other_steps_run_when_one_after_the_row_fails(
    user: Any,
    news: list[dict[str, Any]],
    what: str,
    inside: bool,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    collection_key, key = cache.init_download(user, "orders.csv")
    before, ended = cache_entries.get_version(collection_key), []

    def listen(download: Download, **kwargs: Any) -> None:
        ended.append(download.state)

    caplog.set_level(logging.INFO)
    signals.download_completed.connect(listen)
    try:
        with broken(what, settings, monkeypatch), transaction.atomic() if inside else nullcontext():
            news.clear()
            caplog.clear()
            cache.save_download(key, [["row"]])
    finally:
        signals.download_completed.disconnect(listen)
    assert Download.objects.get().complete
    assert [each["change"] for each in news][-1] == "completed"
    assert ended == ["complete"]
    entry = cache_entries.get_entry(key)
    assert (entry is not None and entry["complete"]) is (what != "the user's name")
    assert cache_entries.get_version(collection_key) != before
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    # Each failure is logged: one at the start and one at the end, or one of a server.
    assert bool(loud) is (what != "no URLs")
    assert all(record.exc_info or "left alone" in record.getMessage() for record in loud)
    assert len(loud) <= 2


def test_a_file_that_cannot_be_deleted_does_not_keep_its_entry(
    user: Any, monkeypatch: pytest.MonkeyPatch, news: list[dict[str, Any]]
) -> None:
    _, key = cache.init_download(user, "orders.csv")
    monkeypatch.setattr(storage, "sweep", refuse)
    assert store.clear(user.pk, download_key=uuid.UUID(key))
    assert cache_entries.get_entry(key) is None
    assert news[-1]["change"] == "removed"


def test_the_entry_has_the_documented_shape(user: Any) -> None:
    _, key = cache.init_download(user, "orders.csv", "Orders")
    entry = caches["file"].get(key)
    assert json.loads(json.dumps(entry)) == entry
    assert {name: entry[name] for name in ("user", "name", "complete", "errors", "url")} == {
        "user": "ada",
        "name": "Orders",
        "complete": False,
        "errors": "",
        "url": "",
    }
    assert entry["filepath"] == f"downloads/{key}/orders.csv"
    assert entry["percentage"] == 0
    assert {"timestamp", "css_class", "download_key"} <= entry.keys()
