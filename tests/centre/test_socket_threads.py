"""The threads that read for websockets: few, however many sockets wake at once."""

import asyncio
import threading

import pytest
from django.db import connection

from async_downloads.centre.socket_threads import SocketThreads
from tests.pace import LONGEST_WAIT
from tests.sockets import until


async def test_work_is_done_in_its_order_by_few_threads() -> None:
    threads = SocketThreads(3)
    at_once: list[int] = []
    gate, lock = threading.Barrier(3), threading.Lock()
    present = 0

    def work(number: int) -> int:
        nonlocal present
        with lock:
            present += 1
            at_once.append(present)
        if number < 3:
            gate.wait()
        with lock:
            present -= 1
        return number

    results = await asyncio.gather(*(threads.run(lambda n=n: work(n)) for n in range(100)))
    assert results == list(range(100))
    assert max(at_once) == 3
    threads.close()


async def test_an_error_is_raised_where_the_work_is_awaited() -> None:
    threads = SocketThreads(1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: 1) == 1
    threads.close()


async def test_cancelled_work_is_not_begun() -> None:
    threads = SocketThreads(1)
    gate, begun = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gate.wait()

    done: list[int] = []
    running = asyncio.create_task(threads.run(first))
    await until(begun.is_set)
    waiting = asyncio.create_task(threads.run(lambda: done.append(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await running
    await threads.run(lambda: done.append(2))
    assert done == [2]
    threads.close()


@pytest.mark.django_db(transaction=True)
async def test_a_connection_is_kept_while_there_is_work_and_closed_after_it() -> None:
    threads = SocketThreads(1)
    gate = threading.Event()

    def connected() -> object:
        gate.wait()
        connection.ensure_connection()
        return connection.connection

    works = [asyncio.create_task(threads.run(connected)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    used = await asyncio.gather(*works)
    assert len({id(each) for each in used}) == 1
    async with asyncio.timeout(LONGEST_WAIT):
        while await threads.run(lambda: connection.connection) is not None:
            await asyncio.sleep(0.01)
    threads.close()


async def test_the_threads_end_and_do_not_keep_the_process() -> None:
    threads = SocketThreads(2)
    await asyncio.gather(*(threads.run(lambda: 1) for _ in range(2)))
    assert [thread.daemon for thread in threads._threads] == [True, True]
    threads.close()
    await until(lambda: not any(thread.is_alive() for thread in threads._threads))
