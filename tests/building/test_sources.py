"""Async rows, files and members, read by the code that writes a file."""

import asyncio
import io
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from async_downloads import cache, formats
from async_downloads.building import sources
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.files import storage
from async_downloads.models import Download
from tests.attempts import content, now
from tests.event_loops import run_unblocked
from tests.factories import CustomerFactory, DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.shop.models import Customer

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def key() -> str:
    return DownloadFactory().download_key


async def rows_of(*rows: Any) -> AsyncIterator[Any]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


def in_sync_code(key: str, *arguments: Any, **keywords: Any) -> None:
    cache.save_download(key, *arguments, **keywords)


def in_async_code(key: str, *arguments: Any, **keywords: Any) -> None:
    async_to_sync(cache.asave_download)(key, *arguments, **keywords)


@pytest.fixture(params=[in_sync_code, in_async_code], ids=["sync", "async"])
def save(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Call ``save_download``, or await ``asave_download``."""
    function: Callable[..., None] = request.param
    return function


class File:
    """An async file."""

    def __init__(self, content: Any):
        self.content = content
        self.threads: set[str] = set()
        self.position = 3

    async def read(self, size: int) -> Any:
        await asyncio.sleep(0)
        self.threads.add(threading.current_thread().name)
        piece = self.content[self.position : self.position + min(size, 4)]
        self.position += len(piece)
        return piece


class SeekableFile(File):
    """An async file whose other methods are coroutines too."""

    async def seekable(self) -> bool:
        return True

    async def seek(self, position: int) -> None:
        self.position = position


class TestRows:
    def test_an_async_generator_gives_the_rows(self, key: str, save: Callable[..., None]) -> None:
        save(key, rows_of([1, "a"], (2, "b"), iter([3, "c"])), header=["n", "t"])
        assert content() == b"n,t\n1,a\n2,b\n3,c\n"
        assert now().rows_written == 3

    def test_mappings_are_rows(self, key: str, save: Callable[..., None]) -> None:
        save(key, rows_of({"n": 1, "t": "a"}, {"n": 2, "t": "b"}), header=["t", "n"])
        assert content() == b"t,n\na,1\nb,2\n"

    def test_a_source_may_change_a_row_that_it_has_yielded(self, key: str) -> None:
        async def rows() -> AsyncIterator[list[int]]:
            row = [0]
            for row[0] in range(5000):
                yield row

        cache.save_download(key, rows())
        assert content().split() == [str(number).encode() for number in range(5000)]

    def test_the_rows_of_the_orm_are_read_in_the_thread_of_its_connection(
        self, key: str, save: Callable[..., None]
    ) -> None:
        CustomerFactory(name="Ada")
        threads: list[int] = []

        async def rows() -> AsyncIterator[Any]:
            async for customer in Customer.objects.aiterator():
                threads.append(await sync_to_async(threading.get_ident)())
                yield [customer.name]
            yield [await Customer.objects.acount()]

        save(key, rows())
        assert content() == b"Ada\n1\n"
        assert threads == [threading.get_ident()]

    def test_a_queryset_is_not_read_as_an_async_iterable(self, key: str) -> None:
        CustomerFactory(name="Ada")
        in_async_code(key, Customer.objects.values_list("name"))
        assert content() == b"Ada\n"
        assert now().rows_expected == 1

    def test_all_rows_are_read_on_one_event_loop(
        self, key: str, save: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "MAX_TEXT", 1)
        loops: set[asyncio.AbstractEventLoop] = set()

        async def rows() -> AsyncIterator[list[int]]:
            try:
                for number in range(10):
                    loops.add(asyncio.get_running_loop())
                    yield [number]
            finally:
                loops.add(asyncio.get_running_loop())

        save(key, rows())
        assert now().rows_written == 10
        assert len(loops) == 1

    def test_progress_is_recorded(self, key: str, save: Callable[..., None]) -> None:
        seen: list[int] = []

        async def rows() -> AsyncIterator[list[int]]:
            for index in range(4):
                yield [index]
                await cache.aupdate_percentage(key, 4, index, resolution=4)
                seen.append((await Download.objects.aget(pk=key)).percentage)

        save(key, rows())
        assert now().complete
        assert seen == [25, 50, 75, 100]

    @pytest.mark.parametrize(
        "error", [LookupError("secret"), DownloadError("No orders.")], ids=type
    )
    def test_an_error_of_the_rows_is_recorded_and_not_raised(
        self, key: str, save: Callable[..., None], error: Exception
    ) -> None:
        async def rows() -> AsyncIterator[list[int]]:
            yield [1]
            raise error

        save(key, rows())
        assert now().failed
        assert "secret" not in now().errors
        assert type(error).__name__ in now().error_detail

    def test_a_generator_is_closed_on_its_event_loop_if_the_file_fails(
        self, key: str, save: Callable[..., None]
    ) -> None:
        closed: list[int] = []

        async def rows() -> AsyncIterator[object]:
            try:
                while True:
                    yield [len]
                    yield 5
            finally:
                await asyncio.sleep(0)
                closed.append(await sync_to_async(threading.get_ident)())

        save(key, rows())
        assert now().failed
        assert closed == [threading.get_ident()]

    def test_a_cleared_download_closes_the_generator_and_raises(
        self, key: str, save: Callable[..., None], hasty: None
    ) -> None:
        closed: list[bool] = []

        async def rows() -> AsyncIterator[list[int]]:
            try:
                yield [1]
                await Download.objects.all().adelete()
                while True:
                    yield [2]
            finally:
                closed.append(True)

        with pytest.raises(DownloadCancelled):
            save(key, rows())
        assert closed == [True]

    def test_no_more_than_a_batch_of_rows_is_read_ahead(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The source waits until they are in the file."""
        ahead: list[int] = []
        read = 0

        async def rows() -> AsyncIterator[list[str]]:
            nonlocal read
            for _ in range(300):
                read += 1
                yield ["x" * (sources.MAX_TEXT // 10)]

        def work(items: Any) -> None:
            for number, _ in enumerate(items, 1):
                ahead.append(read - number)

        sources.read(rows(), work)
        assert len(ahead) == 300
        assert max(ahead) < 10

    @pytest.mark.parametrize("size", [sources.MAX_ITEMS, 3 * sources.MAX_ITEMS + 1, 0])
    def test_every_number_of_rows_is_read(self, size: int) -> None:
        async def numbers() -> AsyncIterator[int]:
            for number in range(size):
                yield number

        assert sources.read(numbers(), list) == list(range(size))

    def test_heartbeats_go_on_while_a_row_is_awaited(
        self, key: str, save: Callable[..., None], settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_STALLED_AFTER = 1

        async def rows() -> AsyncIterator[list[int]]:
            before = (await Download.objects.aget(pk=key)).heard_at
            deadline = time.monotonic() + LONGEST_WAIT
            while (await Download.objects.aget(pk=key)).heard_at == before:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            yield [1]

        save(key, rows())
        assert content() == b"1\n"


class TestCancelledCallers:
    """The coroutine that awaits the file is cancelled, as by a client that disconnects."""

    async def cancel_during(self, key: str, wait: Callable[[], Any]) -> None:
        began = asyncio.Event()

        async def rows() -> AsyncIterator[list[int]]:
            while True:
                yield [1]
                began.set()
                await wait()

        saving = asyncio.create_task(cache.asave_download(key, rows()))
        await began.wait()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving

    def test_while_it_waits_for_a_row(self, key: str) -> None:
        async_to_sync(self.cancel_during)(key, lambda: asyncio.Event().wait())
        assert now().failed
        assert "CancelledError" in now().error_detail

    def test_while_rows_are_written(self, key: str) -> None:
        async_to_sync(self.cancel_during)(key, lambda: asyncio.sleep(0))
        assert now().failed
        assert "CancelledError" in now().error_detail


class TestFiles:
    @pytest.mark.parametrize(
        ("kind", "stored"),
        [(File, b"3456789"), (SeekableFile, b"0123456789")],
        ids=["", "seekable"],
    )
    def test_an_async_file_is_copied(
        self, key: str, save: Callable[..., None], kind: type[File], stored: bytes
    ) -> None:
        file = kind(b"0123456789")
        save(key, file=file)
        assert content() == stored
        assert threading.current_thread().name not in file.threads

    def test_an_async_file_of_text_fails(self, key: str) -> None:
        cache.save_download(key, file=File("some text"))
        assert "file must be a binary file" in now().error_detail


class TestMembers:
    def test_members_may_be_async_in_each_way(self, key: str, save: Callable[..., None]) -> None:
        async def members() -> AsyncIterator[tuple[str, Any]]:
            yield "rows.csv", rows_of([1], [2])
            yield "header.csv", formats.Rows(rows_of([3]), header=["number"])
            yield "file.bin", SeekableFile(b"0123456789")
            yield "text.txt", "text"

        save(key, members=members())
        with zipfile.ZipFile(io.BytesIO(content())) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        assert files == {
            "rows.csv": b"1\n2\n",
            "header.csv": b"number\n3\n",
            "file.bin": b"0123456789",
            "text.txt": b"text",
        }
        assert now().rows_written == 3

    def test_a_member_is_read_before_the_next_is_made(self, key: str) -> None:
        events: list[str] = []

        async def rows(name: str) -> AsyncIterator[list[str]]:
            events.append(f"{name} read")
            yield [name]

        async def members() -> AsyncIterator[tuple[str, Any]]:
            for name in ("a.csv", "b.csv"):
                events.append(f"{name} made")
                yield name, rows(name)

        cache.save_download(key, members=members())
        assert events == ["a.csv made", "a.csv read", "b.csv made", "b.csv read"]


def test_nothing_blocks_the_event_loop(shared_cache: str) -> None:
    CustomerFactory()

    async def use() -> None:
        _, key = await cache.ainit_download("ada", "orders.csv")
        await cache.aset_percentage(key, 5)

        async def rows() -> AsyncIterator[Any]:
            for index in range(300):
                yield [index, "x" * 1000]
                await cache.aupdate_percentage(key, 300, index)
            async for customer in Customer.objects.aiterator():
                yield [customer.pk, customer.name]

        await cache.asave_download(key, rows())
        _, archive = await cache.ainit_download("ada", "orders.zip")
        await cache.asave_download(archive, members={"a.csv": rows_of([1]), "b": File(b"12345678")})
        _, failed = await cache.ainit_download("ada", "orders.csv")
        await cache.aset_error(failed, LookupError("no such table"))

    run_unblocked(use)
    assert [row.state for row in Download.objects.order_by("pk")].count("complete") == 4


def test_the_event_loop_is_free_while_the_file_is_stored(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that waits for the event loop would wait for ever."""
    stored = storage.save
    loops: list[asyncio.AbstractEventLoop] = []

    async def answer() -> int:
        return 5

    def save(*arguments: Any) -> Any:
        assert asyncio.run_coroutine_threadsafe(answer(), loops[0]).result(LONGEST_WAIT) == 5
        return stored(*arguments)

    monkeypatch.setattr(storage, "save", save)

    async def use() -> None:
        loops.append(asyncio.get_running_loop())
        await cache.asave_download(key, [["row"]])

    async_to_sync(use)()
    assert now().complete
