"""``update_percentage``: one write for each step."""

import itertools
import uuid

import pytest

from async_downloads import cache, store
from async_downloads.building import progress
from async_downloads.models import Download
from async_downloads.shortcuts import download_task
from tests.factories import DownloadFactory


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    written: list[int] = []
    monkeypatch.setattr(store, "set_percentage", lambda key, value: written.append(value))
    return written


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


@pytest.mark.parametrize("total", [1, 3, 7, 10, 11, 99, 100, 101, 12_345])
@pytest.mark.parametrize("stride", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("resolution", [1, 3, 10, 100])
def test_each_step_is_written_once_with_its_percentage(
    writes: list[int], key: str, total: int, stride: int, resolution: int
) -> None:
    expected = []
    for cur in [*range(0, total, stride), total - 1]:
        cache.update_percentage(key, total, cur, resolution)
        step = (cur + 1) * resolution // total
        expected.append(step * 100 // resolution)
    assert writes == [value for value, _ in itertools.groupby(expected) if value]
    assert writes[-1] == 100


def test_a_million_calls_write_each_step_once(writes: list[int], key: str) -> None:
    for cur in range(1_000_000):
        cache.update_percentage(key, 1_000_000, cur)
    assert writes == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


@pytest.mark.parametrize("total", [0, -1])
def test_without_a_total_nothing_is_written(writes: list[int], key: str, total: int) -> None:
    cache.update_percentage(key, total, 5)
    assert writes == []


def test_a_position_after_the_total_is_all(writes: list[int], key: str) -> None:
    for cur in range(10, 1000):
        cache.update_percentage(key, 10, cur)
    assert writes == [100]


def test_backward_steps_and_a_second_phase_are_recorded(writes: list[int], key: str) -> None:
    for cur in (4, 9, 0, -3, -4):
        cache.update_percentage(key, 10, cur)
    cache.update_percentage(key, 1000, 499)
    assert writes == [50, 100, 10, 0, 50]


@pytest.mark.parametrize(("resolution", "first"), [(0, 100), (-5, 100), (1000, 1)])
def test_resolution_is_clamped(writes: list[int], key: str, resolution: int, first: int) -> None:
    for cur in range(100):
        cache.update_percentage(key, 100, cur, resolution)
    assert writes[0] == first


def test_the_number_of_remembered_steps_is_bounded(writes: list[int]) -> None:
    for _ in range(progress.MAX_REMEMBERED * 2):
        cache.update_percentage(str(uuid.uuid4()), 10, 0)
    assert len(progress._steps) <= progress.MAX_REMEMBERED


def test_the_end_is_written_with_any_number_of_downloads(
    writes: list[int], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MAX_REMEMBERED", 1)
    cache.update_percentage(str(uuid.uuid4()), 10, 0)
    writes.clear()
    cache.update_percentage(key, 10, 12)
    assert writes == [100]


@pytest.mark.parametrize(("number", "remembered"), [(500, 1000), (1000, 1000), (2000, 1000)])
def test_any_number_of_downloads_in_turn_write_each_step_once(
    writes: list[int], number: int, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MAX_REMEMBERED", remembered)
    keys = [str(uuid.uuid4()) for _ in range(number)]
    for cur in range(30):
        for key in keys:
            cache.update_percentage(key, 30, cur)
    assert len(writes) == 10 * number
    assert writes.count(100) == number


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("hasty")
def test_a_repeated_task_in_the_same_process_is_another_attempt() -> None:
    attempts = itertools.count(1)

    @download_task
    def task(download_key: str) -> None:
        rows = []
        for index in range(3):
            rows.append([index])
            cache.update_percentage(download_key, 100, index)
        if next(attempts) == 1:
            raise OSError("out of reach")
        cache.save_download(download_key, rows)

    download = DownloadFactory()
    with pytest.raises(OSError, match="out of reach"):
        task(download.download_key)
    task(download.download_key)
    download.refresh_from_db()
    assert download.complete


class TestAsync:
    """``aupdate_percentage``."""

    async def test_each_step_is_written_once(self, writes: list[int], key: str) -> None:
        for cur in range(1000):
            await cache.aupdate_percentage(key, 1000, cur)
        assert writes == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]

    async def test_between_two_steps_it_does_not_even_leave_the_event_loop(
        self, writes: list[int], key: str
    ) -> None:
        await cache.aupdate_percentage(key, 1000, 0)
        for cur in range(1, 99):
            with pytest.raises(StopIteration):
                cache.aupdate_percentage(key, 1000, cur).send(None)

    async def test_without_a_total_nothing_is_written(self, writes: list[int], key: str) -> None:
        with pytest.raises(StopIteration):
            cache.aupdate_percentage(key, 0, 5).send(None)
        assert writes == []

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("hasty")
    def test_the_calls_of_a_coroutine_without_rows_are_its_heartbeats(self) -> None:
        key = DownloadFactory().download_key

        @download_task
        async def task(download_key: str) -> None:
            await cache.aupdate_percentage(download_key, 1_000_000, 0)
            for index in range(1, 4):
                before = (await Download.objects.aget(pk=key)).heard_at
                await cache.aupdate_percentage(download_key, 1_000_000, index)
                after = (await Download.objects.aget(pk=key)).heard_at
                moved.append(after > before)
            await cache.asave_download(download_key, [["row"]])

        moved: list[bool] = []
        task(key)
        assert moved == [True] * 3
