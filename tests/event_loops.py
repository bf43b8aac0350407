"""An event loop that complains about calls that block it."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from asgiref.sync import async_to_sync

__all__ = ["run_unblocked"]

T = TypeVar("T")

#: What Python reports before it calls the system for a file, a connection or a pause.
BLOCKING: Final = {
    *("open", "os.chmod", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename"),
    *("os.rmdir", "os.scandir", "os.truncate", "os.utime", "shutil.copyfile", "shutil.move"),
    *("shutil.rmtree", "socket.connect", "socket.getaddrinfo", "sqlite3.connect"),
    *("subprocess.Popen", "tempfile.mkdtemp", "tempfile.mkstemp", "time.sleep"),
}

#: The calls that were made in the thread of an event loop; None while no test looks at them.
_complaints: list[str] | None = None

_installed = False


def run_unblocked(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function, and fail if a call blocks its event loop.

    Django complains about the ORM by itself. The function runs twice: what it imports for the
    first time, Python reads from files.

    Args:
        function: Called without arguments.

    Raises:
        AssertionError: A file, a connection or a pause has blocked the event loop.
        SynchronousOnlyOperation: The ORM has.
    """
    async_to_sync(function)()
    with _complaining() as complaints:
        result = async_to_sync(function)()
    assert not complaints, complaints
    return result


@contextmanager
def _complaining() -> Iterator[list[str]]:
    global _complaints, _installed
    if not _installed:
        # It stays for the rest of the process.
        sys.addaudithook(_look)
        _installed = True
    unsafe = os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    _complaints = []
    try:
        yield _complaints
    finally:
        _complaints = None
        if unsafe is not None:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = unsafe


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _complaints is None or event not in BLOCKING:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    _complaints.append(f"{event}{arguments!r} in {threading.current_thread().name}")
