"""Tasks that are coroutine functions."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections
from django.test import TestCase
from django_q.exceptions import TimeoutException

from async_downloads import cache, store, tasks
from async_downloads.exceptions import DownloadBusy, DownloadCancelled, DownloadError
from async_downloads.executors.runner import supervise
from async_downloads.executors.threads import thread_task
from async_downloads.models import Download
from async_downloads.shortcuts import (
    aenqueue_download,
    astart_download,
    download_task,
    start_download,
)
from tests import jobs, queues
from tests.alarms import alarm_that_raises
from tests.attempts import content, now
from tests.event_loops import run_unblocked
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.test_cache import stored_names

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("hasty"),
]


@pytest.fixture
def key() -> str:
    return DownloadFactory().download_key


def run(key: str, body: Callable[[], object]) -> None:
    supervise(key, body, makes_file=True)


@download_task
async def export(download_key: str, *rows: Any) -> None:
    """Save rows, one of which may be an exception to raise."""

    async def generated() -> AsyncIterator[Any]:
        for row in rows:
            yield row

    for row in rows:
        if isinstance(row, BaseException):
            raise row
    await cache.asave_download(download_key, generated())


class TestInAWorker:
    def test_it_runs_to_its_end(self, key: str) -> None:
        export(key, [1], [2])
        assert content() == b"1\n2\n"
        assert now().attempts == 1

    def test_its_orm_calls_use_the_connection_of_the_worker(self, key: str) -> None:
        seen: list[Any] = []

        async def body() -> None:
            seen.append(await sync_to_async(lambda: connection.connection)())
            await cache.asave_download(key, [["row"]])

        run(key, body)
        assert seen == [connection.connection]

    @pytest.mark.parametrize("error", [LookupError("secret"), TimeoutException("7 s")], ids=type)
    def test_an_exception_is_recorded_and_raised_again(
        self, key: str, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as raised:
            export(key, error)
        assert raised.value is error
        assert now().failed
        assert type(error).__name__ in now().error_detail
        assert "secret" not in now().errors

    def test_a_download_error_is_for_the_owner(self, key: str) -> None:
        export(key, DownloadError("Choose a shorter period."))
        assert (now().state, now().errors) == ("failed", "Choose a shorter period.")

    def test_an_exit_fails_the_task_and_not_the_worker(self, key: str) -> None:
        with pytest.raises(RuntimeError, match=r"sys.exit\(3\)"):
            export(key, SystemExit(3))
        assert now().failed

    def test_a_coroutine_that_is_cancelled_fails_the_task_and_not_the_worker(
        self, key: str
    ) -> None:
        """An exception that is not an ``Exception`` would end a worker."""
        with pytest.raises(RuntimeError, match="cancelled"):
            export(key, asyncio.CancelledError())
        assert now().failed

    def test_an_end_without_a_file_is_a_failure(self, key: str) -> None:
        async def nothing() -> None:
            await asyncio.sleep(0)

        run(key, nothing)
        assert "without a file" in now().errors

    @pytest.mark.parametrize(
        "write",
        [
            lambda key: cache.aset_percentage(key, 50),
            lambda key: cache.aupdate_percentage(key, 10, 5),
            lambda key: cache.asave_download(key, [["row"]]),
        ],
        ids=["aset_percentage", "aupdate_percentage", "asave_download"],
    )
    def test_a_cleared_download_raises_in_the_coroutine(
        self, key: str, write: Callable[[str], Any]
    ) -> None:
        raised: list[type[BaseException]] = []

        async def body() -> None:
            await Download.objects.all().adelete()
            try:
                await write(key)
            except DownloadCancelled as error:
                raised.append(type(error))
                raise

        run(key, body)
        assert raised == [DownloadCancelled]
        assert stored_names() == []

    def test_a_function_that_returns_a_coroutine_runs_it(self, key: str) -> None:
        run(key, lambda: jobs.coroutine(key, ["row"]))
        assert content() == b"row\n"

    @pytest.mark.parametrize("function", [jobs.generator, jobs.async_generator])
    def test_a_generator_is_refused(self, key: str, function: Callable[[str], object]) -> None:
        with pytest.raises(TypeError, match="only made a generator"):
            run(key, lambda: function(key))
        assert now().failed

    def test_nothing_blocks_its_event_loop(self, shared_cache: str) -> None:
        @download_task
        async def task(download_key: str) -> None:
            async for number in _numbers():
                await cache.aupdate_percentage(download_key, 100, number)
            await cache.asave_download(download_key, _rows())

        async def use() -> None:
            _, key = await cache.ainit_download("ada", "orders.csv")
            await task(key)

        run_unblocked(use)
        assert set(Download.objects.values_list("state", flat=True)) == {"complete"}


class TestTimeouts:
    """The queue interrupts the worker's thread, which waits for the coroutine."""

    @pytest.fixture
    def alarm(self) -> Iterator[Callable[[], None]]:
        text = "Task exceeded maximum timeout value"
        with alarm_that_raises(TimeoutException, text) as alarm:
            yield alarm

    def end_by(self, key: str, body: Callable[[], object]) -> None:
        with pytest.raises(TimeoutException):
            run(key, body)
        assert (now().state, now().attempts) == ("failed", 1)
        assert "It took too long" in now().errors
        assert "TimeoutException" in now().error_detail
        assert stored_names() == []

    def test_while_it_waits(self, key: str, alarm: Callable[[], None]) -> None:
        ended: list[str] = []

        async def body() -> None:
            asyncio.get_running_loop().call_soon(alarm)
            try:
                await asyncio.Event().wait()
            finally:
                await cache.aset_percentage(key, 50)
                ended.append(key)

        self.end_by(key, body)
        assert ended == [key]

    def test_while_a_row_is_awaited(self, key: str, alarm: Callable[[], None]) -> None:
        ended: list[str] = []

        async def rows() -> AsyncIterator[list[int]]:
            try:
                yield [1]
                asyncio.get_running_loop().call_soon(alarm)
                await asyncio.Event().wait()
            finally:
                ended.append(key)

        async def body() -> None:
            await cache.asave_download(key, rows())

        self.end_by(key, body)
        assert ended == [key]

    def test_while_the_orm_works(self, key: str, alarm: Callable[[], None]) -> None:
        async def body() -> None:
            await sync_to_async(alarm)()

        self.end_by(key, body)


class TestOnAnEventLoop:
    """A queue whose workers are event loops awaits the task."""

    def test_it_runs_on_the_event_loop_of_the_caller(self, key: str) -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        @download_task
        async def task(download_key: str) -> None:
            loops.append(asyncio.get_running_loop())
            await cache.asave_download(download_key, _rows())

        async def call() -> None:
            loops.append(asyncio.get_running_loop())
            await task(key)

        asyncio.run(call())
        assert loops[0] is loops[1]
        assert now().complete

    def test_a_second_delivery_at_the_same_time_does_no_work(self, key: str) -> None:
        starts: list[str] = []

        @download_task
        async def task(download_key: str) -> None:
            starts.append(download_key)
            for _ in range(3):
                await cache.aset_percentage(download_key, 50)
            await (await delivered)
            await cache.asave_download(download_key, [["row"]])

        delivered: asyncio.Future[asyncio.Task[Any]]

        async def deliver_twice() -> None:
            nonlocal delivered
            delivered = asyncio.get_running_loop().create_future()
            first = asyncio.create_task(task(key))
            while not starts:
                await asyncio.sleep(0.01)
            delivered.set_result(asyncio.create_task(_expect_busy(task, key)))
            beats = asyncio.create_task(_beat(key))
            await first
            beats.cancel()

        async def _beat(key: str) -> None:
            while True:
                await sync_to_async(cache.set_percentage)(key, 50)
                await asyncio.sleep(0.05)

        asyncio.run(_closing(deliver_twice))
        assert len(starts) == 1
        assert (now().state, now().attempts) == ("complete", 1)

    def test_exports_at_the_same_time_do_not_wait_for_each_other(self) -> None:
        keys = [DownloadFactory().download_key for _ in range(3)]
        arrived: list[str] = []
        all_there = asyncio.Event()

        async def rows(key: str) -> AsyncIterator[list[str]]:
            arrived.append(key)
            if len(arrived) == len(keys):
                all_there.set()
            await all_there.wait()
            yield [key]

        @download_task
        async def task(download_key: str) -> None:
            await cache.asave_download(download_key, rows(download_key))

        async def call() -> None:
            await asyncio.wait_for(asyncio.gather(*map(task, keys)), LONGEST_WAIT)

        asyncio.run(call())
        assert set(Download.objects.values_list("state", flat=True)) == {"complete"}

    def test_a_cancelled_task_is_recorded_before_the_caller_goes_on(self, key: str) -> None:
        @download_task
        async def task(download_key: str) -> None:
            began.set()
            await asyncio.Event().wait()

        began: asyncio.Event

        async def call() -> None:
            nonlocal began
            began = asyncio.Event()
            running = asyncio.create_task(task(key))
            await began.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            states.append(await Download.objects.values_list("state", flat=True).aget())

        states: list[str] = []
        asyncio.run(_closing(call))
        assert states == ["failed"]

    def test_a_task_that_is_cancelled_before_it_has_its_claim_does_not_run(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim = store.claim
        claiming, go = threading.Event(), threading.Event()

        def claim_later(download_key: str) -> store.Attempt | None:
            claiming.set()
            go.wait(LONGEST_WAIT)
            return claim(download_key)

        monkeypatch.setattr(store, "claim", claim_later)

        @download_task
        async def task(download_key: str) -> None:
            pytest.fail("It ran.")

        async def call() -> None:
            running = asyncio.create_task(task(key))
            await asyncio.to_thread(claiming.wait, LONGEST_WAIT)
            running.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(call())
        assert now().failed

    def test_no_connection_stays_open(self, key: str) -> None:
        seen: list[Any] = []

        @download_task
        async def task(download_key: str) -> None:
            seen.append(await sync_to_async(lambda: connection.connection)())
            await cache.asave_download(download_key, [["row"]])

        async def call() -> None:
            await task(key)

        asyncio.run(call())
        with pytest.raises(Exception, match=r"(?i)closed|2006"):
            seen[0].cursor().execute("SELECT 1")


class TestQueues:
    @pytest.mark.parametrize("task", [jobs.coroutine, "tests.jobs.coroutine"])
    def test_django_q_runs_a_coroutine_function(self, user: Any, task: Any) -> None:
        start_download(task, user, "orders.csv", args=[["row"]])
        queues.run_waiting()
        assert content() == b"row\n"

    def test_a_thread_runs_a_coroutine_function(self, key: str) -> None:
        thread_task(jobs.coroutine).enqueue(key, ["row"]).result(timeout=LONGEST_WAIT)
        assert content() == b"row\n"

    def test_an_async_view_starts_a_download(self, user: Any) -> None:
        async def view() -> tuple[str, str]:
            return await astart_download(jobs.coroutine, user, "orders.csv", args=[["row"]])

        first, second = async_to_sync(view)(), run_unblocked(view)
        assert Download.objects.filter(pk__in=[first[1], second[1]]).count() == 2
        queues.run_waiting()
        assert set(Download.objects.values_list("state", flat=True)) == {"complete"}

    def test_an_async_view_enqueues_a_download(self, user: Any) -> None:
        async def view() -> None:
            _, key = await cache.ainit_download(user, "orders.csv")
            await aenqueue_download(jobs.coroutine, key, ["row"])

        async_to_sync(view)()
        queues.run_waiting()
        assert content() == b"row\n"

    def test_a_path_to_a_coroutine_function_is_run_by_the_runner(self, key: str) -> None:
        tasks.run_task("tests.jobs.coroutine", key, (["row"],))
        assert content() == b"row\n"


@pytest.mark.django_db(transaction=False)
class TestWithinATransaction(TestCase):
    """Tests of a site are often inside a transaction, which no other connection can see."""

    def test_a_task_sees_the_rows_of_the_test(self) -> None:
        export(DownloadFactory().download_key, ["row"])
        assert Download.objects.get().complete

    async def test_async_code_sees_the_rows_of_the_test(self) -> None:
        _, key = await cache.ainit_download("ada", "orders.csv")
        await cache.asave_download(key, _rows())
        assert (await Download.objects.aget()).complete


async def _rows() -> AsyncIterator[list[int]]:
    async for number in _numbers():
        yield [number]


async def _numbers() -> AsyncIterator[int]:
    for number in range(100):
        await asyncio.sleep(0)
        yield number


async def _closing(function: Callable[[], Any]) -> None:
    try:
        await function()
    finally:
        await sync_to_async(connections.close_all)()


async def _expect_busy(task: Callable[[str], Any], key: str) -> None:
    with pytest.raises(DownloadBusy):
        await task(key)
