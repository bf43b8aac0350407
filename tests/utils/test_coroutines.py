"""Coroutines that a thread waits for, and blocking work that an event loop waits for."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection

from async_downloads.utils import coroutines
from tests.alarms import alarm_that_raises
from tests.pace import LONGEST_WAIT


class Timeout(SystemExit):
    """What a queue raises in the thread of a task that takes too long."""


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """Return a function that interrupts the main thread, from any thread."""
    with alarm_that_raises(Timeout, "too long") as alarm:
        yield alarm


def until_ended(threads: set[threading.Thread]) -> None:
    """Wait for the end of all threads that began since."""
    for thread in set(threading.enumerate()) - threads:
        # The thread of a loop ends once the traceback of an exception does not hold it.
        gc.collect()
        thread.join(timeout=LONGEST_WAIT)
        assert not thread.is_alive(), thread


class TestRun:
    def test_it_returns_the_result_or_raises_the_exception(self) -> None:
        async def fail() -> None:
            raise LookupError("no such table")

        async def five() -> int:
            await asyncio.sleep(0)
            return 5

        assert coroutines.run(five) == 5
        with pytest.raises(LookupError):
            coroutines.run(fail)

    def test_the_orm_calls_of_the_coroutine_run_in_the_waiting_thread(self) -> None:
        async def threads() -> tuple[int, int]:
            return threading.get_ident(), await sync_to_async(threading.get_ident)()

        in_loop, beside = coroutines.run(threads)
        assert beside == threading.get_ident() != in_loop

    def test_a_coroutine_within_runs_on_the_same_event_loop(self) -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        async def inner() -> None:
            loops.append(asyncio.get_running_loop())

        async def outer() -> None:
            await inner()
            await sync_to_async(coroutines.run)(inner)

        coroutines.run(outer)
        assert loops[0] is loops[1]

    def test_no_thread_and_no_loop_is_left(self) -> None:
        threads = set(threading.enumerate())

        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        left = coroutines.run(loop)
        until_ended(threads)
        assert left.is_closed()

    def test_a_task_that_the_coroutine_leaves_is_cancelled(self) -> None:
        cancelled = threading.Event()

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        tasks: list[Any] = []

        async def leave() -> None:
            tasks.append(asyncio.create_task(wait()))
            await asyncio.sleep(0)

        coroutines.run(leave)
        assert cancelled.wait(LONGEST_WAIT)


class TestInterruptions:
    """A queue interrupts the waiting thread by an exception."""

    def test_the_coroutine_is_cancelled_and_ends_before_the_exception_is_raised(
        self, alarm: Callable[[], None]
    ) -> None:
        seen: list[Any] = []
        threads = set(threading.enumerate())

        async def wait() -> None:
            try:
                asyncio.get_running_loop().call_soon(alarm)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                # Its end may need the waiting thread, as a call of the ORM does.
                seen.append(await sync_to_async(threading.get_ident)())
                raise

        with pytest.raises(Timeout):
            coroutines.run(wait)
        assert seen == [threading.get_ident()]
        until_ended(threads)

    def test_an_interrupted_call_of_the_orm_raises_the_exception_in_the_coroutine(
        self, alarm: Callable[[], None]
    ) -> None:
        seen: list[BaseException] = []

        async def query() -> None:
            try:
                await sync_to_async(alarm)()
            except Timeout as error:
                seen.append(error)
                raise

        with pytest.raises(Timeout) as raised:
            coroutines.run(query)
        assert seen == [raised.value]

    def test_an_interrupted_call_in_a_subtask_raises_the_exception(
        self, alarm: Callable[[], None]
    ) -> None:
        async def query() -> None:
            await asyncio.gather(sync_to_async(alarm)(), asyncio.Event().wait())

        with pytest.raises(Timeout):
            coroutines.run(query)

    async def test_a_coroutine_that_has_not_begun_is_never_called(self) -> None:
        async def fail() -> None:
            pytest.fail("It ran.")

        running = coroutines._Running(fail)
        running.stop()
        with pytest.raises(asyncio.CancelledError):
            await running.main()


class TestNewThreads:
    async def test_it_returns_the_result_or_raises_the_exception(self) -> None:
        assert await coroutines.in_new_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await coroutines.in_new_thread(lambda: 1 / 0)

    async def test_a_coroutine_within_runs_on_the_event_loop_of_the_caller(self) -> None:
        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        found = await coroutines.in_new_thread(lambda: coroutines.run(loop))
        assert found is asyncio.get_running_loop()

    async def test_other_work_does_not_wait_for_it(self) -> None:
        go = threading.Event()
        first = asyncio.create_task(coroutines.in_new_thread(lambda: go.wait(LONGEST_WAIT)))
        await coroutines.in_new_thread(go.set)
        assert await first

    async def test_a_cancelled_caller_awaits_the_end_of_the_work(self) -> None:
        began, go, ended = (threading.Event() for _ in range(3))

        def work() -> None:
            began.set()
            go.wait(LONGEST_WAIT)
            ended.set()

        caller = asyncio.create_task(coroutines.in_new_thread(work))
        await asyncio.to_thread(began.wait, LONGEST_WAIT)
        caller.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert ended.is_set()

    @pytest.mark.django_db(transaction=True)
    def test_no_connection_stays_open(self) -> None:
        opened: list[Any] = []

        def query() -> None:
            connection.ensure_connection()
            opened.append(connection.connection)

        async_to_sync(coroutines.in_new_thread)(query)
        assert opened[0] is not connection.connection
        with pytest.raises(Exception, match=r"(?i)closed|2006"):
            opened[0].cursor().execute("SELECT 1")


@pytest.mark.parametrize("on_loop", [False, True])
def test_whether_the_caller_is_in_an_event_loop(on_loop: bool) -> None:
    async def ask() -> bool:
        return coroutines.in_event_loop()

    assert (asyncio.run(ask()) if on_loop else coroutines.in_event_loop()) is on_loop
