"""The exceptions of time limits, which queues raise by signal handlers."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from async_downloads import cache, permissions
from async_downloads.building import content
from async_downloads.exceptions import DownloadError
from async_downloads.executors import starting
from async_downloads.executors.runner import supervise
from async_downloads.files import storage
from async_downloads.models import Download, DownloadCollection
from async_downloads.signals import download_changed
from async_downloads.store.write_through import publish_change, run_all
from async_downloads.utils.circuit_breaker import CircuitBreaker
from async_downloads.utils.time_limits import time_limit_in

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the system has no signals")


class SoftTimeLimitError(Exception):
    """The exception of a queue, which is not a server's."""


@pytest.fixture
def time_limit() -> Iterator[Callable[[], None]]:
    """Return a function during which the time limit is reached."""

    def handler(*_: object) -> None:
        raise SoftTimeLimitError

    before = signal.signal(signal.SIGUSR1, handler)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def reached_when(awaited: str, time_limit: Callable[[], None]) -> Iterator[None]:
    """Reach the time limit while a change is published."""

    def reach(change: str, **_: object) -> None:
        if change == awaited:
            time_limit()

    download_changed.connect(reach)
    try:
        yield
    finally:
        download_changed.disconnect(reach)


def test_a_time_limit_during_a_call_of_a_server_is_not_a_failure_of_the_server(
    time_limit: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    breaker = CircuitBreaker("It")
    with pytest.raises(SoftTimeLimitError):
        breaker.call(time_limit, None)
    assert caplog.records == []
    assert breaker.call(lambda: "an answer", "default") == "an answer"


def test_a_time_limit_is_found_behind_the_error_of_a_client(
    time_limit: Callable[[], None],
) -> None:
    def call() -> None:
        try:
            time_limit()
        except SoftTimeLimitError:
            raise ConnectionError("interrupted") from None

    with pytest.raises(SoftTimeLimitError):
        CircuitBreaker("It").call(call, None)


def test_a_time_limit_is_raised_after_the_last_step_of_a_change(
    time_limit: Callable[[], None],
) -> None:
    steps: list[str] = []
    with pytest.raises(SoftTimeLimitError):
        run_all(time_limit, lambda: steps.append("the next"))
    assert steps == ["the next"]


def test_a_time_limit_in_a_receiver_is_raised_after_the_last_receiver(
    time_limit: Callable[[], None],
) -> None:
    received: list[str] = []

    def reach(**_: object) -> None:
        time_limit()

    def note(change: str, **_: object) -> None:
        received.append(change)

    download_changed.connect(reach)
    download_changed.connect(note)
    try:
        with pytest.raises(SoftTimeLimitError):
            publish_change(DownloadCollection(key="ada"), "progressed")
    finally:
        download_changed.disconnect(reach)
        download_changed.disconnect(note)
    assert received == ["progressed"]


def test_an_error_of_a_server_is_not_a_time_limit(time_limit: Callable[[], None]) -> None:
    with pytest.raises(ConnectionError) as raised:
        raise ConnectionError("no route")
    assert time_limit_in(raised.value) is None


@pytest.mark.django_db(transaction=True)
def test_a_time_limit_while_progress_is_published_ends_the_task(
    user: Any, time_limit: Callable[[], None]
) -> None:
    """Django logs what a robust callback after a commit raises, and goes on."""

    def body() -> None:
        with reached_when("progressed", time_limit):
            cache.set_percentage(key, 10)
        cache.save_download(key, [["row"]])

    _, key = cache.init_download(user, "orders.csv")
    with pytest.raises(SoftTimeLimitError):
        supervise(key, body, makes_file=True)
    assert Download.objects.get().failed


@pytest.mark.django_db(transaction=True)
def test_a_time_limit_after_the_commit_of_the_task_ends_it(
    user: Any, time_limit: Callable[[], None]
) -> None:
    went_on: list[str] = []

    def body() -> None:
        with reached_when("completed", time_limit), transaction.atomic():
            cache.save_download(key, [["row"]])
        went_on.append("beyond its limit")

    _, key = cache.init_download(user, "orders.csv")
    with pytest.raises(SoftTimeLimitError):
        supervise(key, body, makes_file=True)
    assert went_on == []
    assert Download.objects.get().complete


@pytest.mark.django_db(transaction=True)
def test_a_time_limit_while_rows_are_read_ends_the_task(
    user: Any, time_limit: Callable[[], None]
) -> None:
    def rows() -> Iterator[list[str]]:
        yield ["row"]
        time_limit()

    _, key = cache.init_download(user, "orders.csv")
    with pytest.raises(SoftTimeLimitError):
        cache.save_download(key, rows())
    assert "SoftTimeLimitError" in Download.objects.get().error_detail


@pytest.mark.django_db(transaction=True)
def test_rows_may_have_a_message_in_place_of_a_time_limit(
    user: Any, time_limit: Callable[[], None]
) -> None:
    def rows() -> Iterator[list[str]]:
        yield ["row"]
        try:
            time_limit()
        except SoftTimeLimitError:
            raise DownloadError("Choose fewer orders.") from None

    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, rows())
    assert Download.objects.get().errors == "Choose fewer orders."


def test_a_time_limit_while_the_name_of_the_owner_is_read_is_raised(
    time_limit: Callable[[], None],
) -> None:
    class Collection:
        @property
        def owner(self) -> None:
            time_limit()

    attempt: Any = SimpleNamespace(download=SimpleNamespace(collection=Collection()))
    with pytest.raises(SoftTimeLimitError):
        content._owner_name(attempt)


def test_a_time_limit_during_a_call_of_the_storage_is_raised(
    time_limit: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(path: str) -> None:
        time_limit()

    slow = SimpleNamespace(delete=call, listdir=call, path=lambda name: name)
    monkeypatch.setattr(storage, "storage", lambda: slow)
    with pytest.raises(SoftTimeLimitError):
        storage.remove("orders.csv")
    with pytest.raises(SoftTimeLimitError):
        list(storage.names_in("downloads"))
    with pytest.raises(SoftTimeLimitError):
        storage.old_files("a", before=timezone.now())


def test_a_time_limit_while_a_task_is_queued_is_raised(time_limit: Callable[[], None]) -> None:
    def enqueue(download_key: str) -> None:
        time_limit()

    with pytest.raises(SoftTimeLimitError):
        starting.queue_at_once(SimpleNamespace(enqueue=enqueue), "key", (), {})


@pytest.mark.django_db(transaction=True)
def test_a_time_limit_in_a_task_of_an_eager_queue_is_raised(
    user: Any, time_limit: Callable[[], None]
) -> None:
    def body(download_key: str) -> None:
        time_limit()

    _, key = cache.init_download(user, "orders.csv")
    eager = SimpleNamespace(func=body, enqueue=lambda key: body(key))
    with pytest.raises(SoftTimeLimitError):
        starting.queue_at_once(eager, key, (), {})
    assert Download.objects.get().failed


def test_a_time_limit_in_a_function_of_the_site_is_not_a_refusal(
    time_limit: Callable[[], None], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def may_start(user: Any, download: Download) -> bool:
        time_limit()
        return True

    settings.ASYNC_DOWNLOADS_MAY_START = "orders.rights.may_start"
    monkeypatch.setattr(permissions, "site_function", lambda setting: may_start)
    with pytest.raises(SoftTimeLimitError):
        permissions.may_start(None, Download())
