"""For threads: a task that remembers the threads that it has started."""

from concurrent.futures import Future
from typing import Any, Final

from async_downloads.executors.threads import ThreadTask
from async_downloads.testing.performing import aperform, perform

#: The download key of each thread, with a future of its end.
futures: Final[list[tuple[str, "Future[None]"]]] = []


class Remembered(ThreadTask):
    """A task in a thread, whose end the suite can ask for."""

    def enqueue(self, download_key: str, *args: Any, **kwargs: Any) -> "Future[None]":
        """Run the function in a new thread."""
        future = super().enqueue(download_key, *args, **kwargs)
        futures.append((download_key, future))
        return future


@Remembered
def conform(download_key: str, *args: Any, **kwargs: Any) -> None:
    """Perform a behaviour of the suite."""
    perform(download_key, *args, **kwargs)


@Remembered
async def coroutine(download_key: str, *args: Any, **kwargs: Any) -> None:
    """Perform a behaviour of the suite in a coroutine."""
    await aperform(download_key, *args, **kwargs)
