"""The rows and files that a download is made of, which may be async."""

import asyncio
import inspect
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    ValuesView,
)
from functools import partial
from itertools import chain
from typing import IO, Any, Final, Generic, Protocol, TypeVar, cast

from asgiref.sync import sync_to_async

from async_downloads.formats.rows import detached
from async_downloads.utils import coroutines

__all__ = ["AsyncFile", "check_file", "pieces_of", "read"]

T = TypeVar("T")

R = TypeVar("R")

#: Items in a batch.
MAX_ITEMS: Final = 2000

#: Characters or bytes in a batch, if its rows are as long as the last row before it.
MAX_TEXT: Final = 1 << 20

#: A batch is complete sooner if the one before it took more seconds than this.
MAX_SECONDS: Final = 0.1


class AsyncFile(Protocol):
    """A binary file whose method ``read`` is awaited."""

    async def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


def read(
    source: Iterable[T] | AsyncIterable[T],
    work: Callable[[Iterable[T]], R],
    *,
    max_items: int = MAX_ITEMS,
) -> R:
    """Call blocking work with the items of a source, and return its result.

    Args:
        source: Read once. A queryset, which can be read either way, is not read as an async
            iterable.
        work: Reads the items.
        max_items: The largest number of items of an async iterable that are read ahead.
    """
    if isinstance(source, Iterable) or not isinstance(source, AsyncIterable):
        return work(source)
    return _AsyncReader(source, max_items=max_items).use(work)


def check_file(file: IO[bytes] | AsyncFile) -> None:
    """Check that a file can be read, and is binary if that is known.

    Raises:
        TypeError: It is not opened for reading, or reads text.
    """
    if _is_async_file(file):
        # The first piece shows whether it is text.
        return
    method = getattr(file, "read", None)
    if not callable(method) or isinstance(method(0), str):
        raise _not_binary()


def pieces_of(file: IO[bytes] | AsyncFile, size: int) -> Iterable[bytes] | AsyncIterable[bytes]:
    """Return the pieces of a file, from its beginning if it is seekable.

    Args:
        file: A file, which may be async.
        size: The bytes of a piece.
    """
    return _async_pieces(file, size) if _is_async_file(file) else _pieces(cast("Any", file), size)


def _is_async_file(file: object) -> bool:
    return inspect.iscoroutinefunction(getattr(file, "read", None))


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    if getattr(file, "seekable", lambda: False)():
        file.seek(0)
    return iter(lambda: file.read(size), b"")


async def _async_pieces(file: Any, size: int) -> AsyncIterator[bytes]:
    """Yield the pieces of an async file.

    Raises:
        TypeError: It reads text.
    """
    if await _awaited(getattr(file, "seekable", lambda: False)()):
        await _awaited(file.seek(0))
    while piece := await file.read(size):
        if isinstance(piece, str):
            raise _not_binary()
        yield piece


def _not_binary() -> TypeError:
    return TypeError("file must be a binary file object, opened for reading.")


class _AsyncReader(Generic[T]):
    """Reads an async iterable in batches for blocking code in a thread.

    The event loop awaits a batch while the thread waits, and is free while the thread works.
    The ORM calls that the iterable awaits run in that thread: no other could run them, as it
    is the one that they would wait for.
    """

    def __init__(self, source: AsyncIterable[T], *, max_items: int):
        """Prepare the batches, without reading an item.

        Args:
            source: Read once.
            max_items: The largest number of items that are read ahead of the work.
        """
        self._source = source
        self._max_items = max_items
        self._cancelled = False

    def use(self, work: Callable[[Iterable[T]], R]) -> R:
        """Call blocking work with the items, and return its result.

        All of them are read on one event loop: on that of the caller, or else on a new one.
        """
        return coroutines.run(partial(self._use, work))

    async def _use(self, work: Callable[[Iterable[T]], R]) -> R:
        iterator = aiter(self._source)
        try:
            return await sync_to_async(self._call)(work, iterator)
        except asyncio.CancelledError:
            # The work goes on in its thread until it needs the next batch.
            self._cancelled = True
            raise
        finally:
            if close := getattr(iterator, "aclose", None):
                await close()

    def _call(self, work: Callable[[Iterable[T]], R], iterator: AsyncIterator[T]) -> R:
        return work(chain.from_iterable(self._batches(iterator)))

    def _batches(self, iterator: AsyncIterator[T]) -> Iterator[list[T]]:
        size, ended = 1, False
        while not ended:
            began = time.monotonic()
            batch = coroutines.run(partial(self._take, iterator, size))
            if time.monotonic() - began > MAX_SECONDS:
                size_of_next = 1
            else:
                size_of_next = min(2 * size, self._max_items, _rows_like(batch))
            ended, size = len(batch) < size, size_of_next
            yield batch

    async def _take(self, iterator: AsyncIterator[T], size: int) -> list[T]:
        if self._cancelled:
            raise asyncio.CancelledError
        batch: list[Any] = []
        async for item in iterator:
            kind: type = type(item)
            if kind is tuple:
                batch.append(item)
            else:
                batch.append(tuple(cast("Any", item)) if kind is list else detached(item))
            if len(batch) == size:
                break
        return batch


def _rows_like(batch: list[Any]) -> int:
    """Return how many rows like the last one of a batch may be in memory; at least 1."""
    row = batch[-1] if batch else ()
    cells = row.values() if isinstance(row, dict) else row
    if not isinstance(cells, (list, tuple, ValuesView)):
        return MAX_TEXT
    length = sum(len(cell) for cell in cells if isinstance(cell, (str, bytes)))
    return MAX_TEXT // (1 + length) or 1


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
