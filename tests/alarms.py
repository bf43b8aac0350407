"""An alarm that interrupts the main thread, as a queue does with a task that takes too long."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["alarm_that_raises"]


@contextmanager
def alarm_that_raises(kind: type[BaseException], text: str) -> Iterator[Callable[[], None]]:
    """Provide a function that raises an exception in the main thread, from any thread.

    Args:
        kind: The type of the exception. Each one is new: its traceback holds what was running.
        text: Its text.
    """

    def ring(number: int, frame: Any) -> None:
        raise kind(text)

    before = signal.signal(signal.SIGALRM, ring)
    main = threading.main_thread().ident
    assert main is not None
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
