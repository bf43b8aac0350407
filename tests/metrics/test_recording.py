"""What happens to a download, as the numbers that a meter gets."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from async_downloads import cache, signals, store
from async_downloads.metrics import recording
from async_downloads.metrics.instruments import COUNTERS, HISTOGRAMS
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import queues
from tests.attempts import claimed, stall_all
from tests.factories import DownloadFactory
from tests.jobs import export

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

TASK = "tests.jobs.export"


class Notes:
    """A meter that keeps what it gets."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, str]] = []
        self.values: list[tuple[str, str, float]] = []

    def count(self, change: str, task: str) -> None:
        self.counts.append((change, task))

    def observe(self, attribute: str, task: str, value: float) -> None:
        self.values.append((attribute, task, value))

    @property
    def changes(self) -> list[str]:
        return [change for change, _ in self.counts]

    def observed(self, attribute: str) -> list[float]:
        return [value for name, _, value in self.values if name == attribute]


@pytest.fixture
def notes() -> Iterator[Notes]:
    """The meter that records what happens."""
    notes = Notes()
    recording.connect(notes)
    yield notes
    recording.disconnect()


def requested_ago(seconds: float) -> None:
    moment = timezone.now() - timedelta(seconds=seconds)
    Download.objects.update(timestamp=moment, heard_at=moment)


def test_an_export_is_counted_at_each_step_by_its_task(user: Any, notes: Notes) -> None:
    start_download(export, user, "a.csv", args=[["a"]])
    queues.run_waiting()
    assert notes.counts == [(each, TASK) for each in ("created", "started", "completed")]
    assert {(name, task) for name, task, _ in notes.values} == {(name, TASK) for name in HISTOGRAMS}
    assert notes.observed("size") == [len("id,name\na\n")]
    assert notes.observed("rows_written") == [2]


def test_a_download_without_a_recorded_call_is_unknown(user: Any, notes: Notes) -> None:
    _, key = cache.init_download(user, "a.csv")
    cache.set_error(key, "It failed.")
    assert notes.counts == [("created", "unknown"), ("failed", "unknown")]


def test_the_seconds_in_the_queue_are_those_of_the_first_attempt(notes: Notes) -> None:
    download = DownloadFactory()
    requested_ago(30)
    with claimed(download):
        stall_all()
    with claimed(download):
        pass
    assert notes.changes == ["started", "stalled", "started"]
    (seconds,) = notes.observed("seconds_queued")
    assert seconds >= 30


def test_after_try_again_the_seconds_in_the_queue_count_anew(notes: Notes) -> None:
    download = DownloadFactory(failed=True, recorded=True)
    requested_ago(60 * 60)
    assert store.retry(download)
    notes.values.clear()
    with claimed(download):
        pass
    (seconds,) = notes.observed("seconds_queued")
    assert 0 <= seconds < 60 * 60


def test_progress_before_the_claim_ends_the_wait(notes: Notes) -> None:
    download = DownloadFactory()
    requested_ago(60)
    cache.set_percentage(download.download_key, 10)
    with claimed(download):
        pass
    assert notes.observed("seconds_queued") == []


def test_the_seconds_of_building_are_those_of_the_last_attempt(notes: Notes) -> None:
    download = DownloadFactory()
    with claimed(download):
        Download.objects.update(started_at=timezone.now() - timedelta(seconds=20))
        cache.save_download(download.download_key, [["a"]])
    (seconds,) = notes.observed("seconds_building")
    assert seconds >= 20


def test_a_stall_is_counted_before_what_follows(notes: Notes, settings: Any) -> None:
    DownloadFactory(running=True, recorded=True)
    stall_all()
    store.rescue_alone()
    assert notes.changes == ["stalled", "requeued"]
    notes.counts.clear()
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    Download.objects.update(state="running", attempts=1)
    stall_all()
    store.rescue_alone()
    assert notes.changes == ["stalled", "failed"]


def test_files_that_are_fetched_and_downloads_that_are_cancelled_are_counted(
    user: Any, signed_in: Client, notes: Notes
) -> None:
    signed_in.get(DownloadFactory(collection__user=user, complete=True).url).close()
    store.purge(Download.objects.filter(pk=DownloadFactory(running=True).pk))
    assert notes.changes == ["fetched", "cancelled"]


def test_a_meter_that_raises_does_not_fail_the_export(
    user: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(notes, "count", broken)
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"]])
    assert Download.objects.get(pk=key).complete
    assert "no space left on device" in caplog.text


def test_each_counted_change_has_a_signal_and_each_value_an_attribute() -> None:
    for change in COUNTERS:
        assert f"download_{change}" in signals.__all__
    observed = [name for names in recording.OBSERVED.values() for name in names]
    assert sorted(observed) == sorted(HISTOGRAMS)
    for name in observed:
        assert hasattr(Download(), name)


def test_it_is_recorded_once_however_often_it_is_connected(user: Any, notes: Notes) -> None:
    recording.connect(Notes())
    cache.init_download(user, "a.csv")
    assert notes.changes == ["created"]
