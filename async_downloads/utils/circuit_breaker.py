"""A circuit breaker, so that a server that is down costs no more than a moment."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit

__all__ = ["CircuitBreaker"]

logger = get_logger(__name__)

T = TypeVar("T")

#: Seconds without calls after a failure.
RECOVERY_SECONDS: Final = 5.0

#: The further wait after a failure, as a multiple of the duration of the call: a server that
#: hangs takes at most a tenth of the time.
BACKOFF: Final = 10

#: The most seconds without calls.
LONGEST_SECONDS: Final = 60.0


class CircuitBreaker:
    """Guard the calls to one server that may fail without harm.

    A failing call returns a default. No other call is made for ``RECOVERY_SECONDS``,
    and for longer if the call took long. The first of a series of failures is logged.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._resume_at = 0.0
        self._failing = False

    def call(self, operation: Callable[[], T], default: T) -> T:
        """Return what the operation returns, or ``default`` if the server fails or is down.

        The exception of a time limit is not a failure of the server, and is raised.
        """
        began = time.monotonic()
        if self._failing and began < self._resume_at:
            return default
        try:
            result = operation()
        except Exception as error:  # noqa: BLE001 (each client has errors of its own)
            raise_time_limit(error)
            now = time.monotonic()
            self._resume_at = now + min(RECOVERY_SECONDS + BACKOFF * (now - began), LONGEST_SECONDS)
            if not self._failing:
                logger.warning("%s failed and is left alone for a moment: %r", self._server, error)
            self._failing = True
            return default
        self._failing = False
        return result
