"""Several deliveries of one download in one process, each in its own thread."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage

from async_downloads import cache, signals, store
from async_downloads.exceptions import DownloadBusy
from async_downloads.executors.runner import supervise
from async_downloads.models import Download
from async_downloads.store import claiming
from tests.attempts import claimed, elsewhere, stall_all
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


class WaitingStorage(FileSystemStorage):
    """A storage that waits for the test before it stores a file."""

    entered = threading.Event()
    go = threading.Event()

    def _save(self, name: str, content: Any) -> str:
        self.entered.set()
        self.go.wait(timeout=LONGEST_WAIT)
        return super()._save(name, content)


@pytest.fixture
def key() -> str:
    return DownloadFactory().download_key


def test_a_task_without_a_decorator_does_not_save_in_the_attempt_of_another_delivery(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins while the first one has written its rows, and is storing the file."""
    monkeypatch.setattr(claiming, "TURN_WAIT_STEP", 0.05)
    backend = f"{WaitingStorage.__module__}.{WaitingStorage.__qualname__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    WaitingStorage.entered.clear()
    WaitingStorage.go.clear()
    first = threading.Thread(
        target=elsewhere, args=(lambda: cache.save_download(key, [["first"]]),)
    )
    first.start()
    assert WaitingStorage.entered.wait(timeout=LONGEST_WAIT)

    def rows() -> Iterator[list[str]]:
        WaitingStorage.go.set()
        pytest.fail("The second delivery writes rows as well.")
        yield []

    threading.Timer(0.3, WaitingStorage.go.set).start()
    cache.save_download(key, rows())
    first.join(timeout=LONGEST_WAIT)
    download = Download.objects.get()
    assert (download.state, download.attempts) == ("complete", 1)


def test_a_thread_keeps_its_own_attempt_when_another_has_taken_over(key: str) -> None:
    with claimed(Download.objects.get()) as lost:
        stall_all()
        current: list[store.Attempt | None] = []

        def take_over() -> store.Attempt:
            with claimed(Download.objects.get()) as winner:
                current.append(store.current_attempt(key))
                # A thread without an attempt helps a task: the one with the claim.
                current.append(elsewhere(lambda: store.current_attempt(key)))
                winner.fail("enough", detail="")
            return winner

        winner = elsewhere(take_over)
        assert current == [winner, winner]
        assert store.current_attempt(key) is lost
        assert elsewhere(lambda: store.current_attempt(key)) is lost
    assert store.current_attempt(key) is None


def test_a_report_from_a_helper_thread_belongs_to_the_attempt(key: str) -> None:
    with claimed(Download.objects.get()):
        elsewhere(lambda: cache.set_percentage(key, 40))
        assert Download.objects.get().percentage == 40


def test_two_deliveries_without_heartbeats_take_turns_and_never_show_as_failed(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes over from the other until no attempt is left; the last one finishes."""
    monkeypatch.setattr(claiming, "TURN_WAIT_STEP", 0.05)
    failures: list[str] = []

    def note(download: Download, **_: Any) -> None:
        failures.append(download.errors)

    signals.download_failed.connect(note)
    go = [threading.Event() for _ in range(3)]
    begun: list[int] = []

    def body() -> None:
        begun.append(len(begun))
        assert go[begun[-1]].wait(timeout=LONGEST_WAIT)
        cache.save_download(key, [[f"attempt {threading.get_ident()}"]])

    def deliver() -> None:
        with suppress(DownloadBusy):
            supervise(key, body, makes_file=True)

    def until_begun(number: int) -> None:
        deadline = time.monotonic() + LONGEST_WAIT
        while len(begun) < number and time.monotonic() < deadline:
            stall_all()
            time.sleep(0.05)
        assert len(begun) == number

    first, second = (threading.Thread(target=elsewhere, args=(deliver,)) for _ in range(2))
    first.start()
    until_begun(1)
    second.start()
    until_begun(2)
    go[0].set()
    until_begun(3)
    go[1].set()
    while second.is_alive():
        stall_all()
        second.join(timeout=0.05)
    assert Download.objects.get().state == "running"
    go[2].set()
    first.join(timeout=LONGEST_WAIT)
    download = Download.objects.get()
    assert (download.state, download.attempts, failures) == ("complete", 3, [])
