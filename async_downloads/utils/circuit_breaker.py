"""What keeps a server that is down from costing more than a moment."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from async_downloads.utils.log import get_logger

__all__ = ["Breaker"]

logger = get_logger(__name__)

T = TypeVar("T")

#: Seconds that a server is left alone after it failed.
RECOVERY_SECONDS: Final = 5.0

#: How many times as long as a failing call took it is left alone besides, so that a
#: server that hangs costs a tenth of the time at the most.
COST: Final = 10

#: Seconds that a server is left alone at the most.
LONGEST_SECONDS: Final = 60.0


class Breaker:
    """Calls to one server, for what may fail without harm.

    A call that fails answers a default, and for ``RECOVERY_SECONDS`` no other
    call is made; for longer, the longer the call took. Of a series of failures
    one line is logged.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._resume_at = 0.0
        self._failing = False

    def call(self, operation: Callable[[], T], default: T) -> T:
        """Return what the operation returns, or ``default`` if the server is not to be had."""
        began = time.monotonic()
        if self._failing and began < self._resume_at:
            return default
        try:
            result = operation()
        except Exception as error:  # noqa: BLE001 (each client has errors of its own)
            now = time.monotonic()
            self._resume_at = now + min(RECOVERY_SECONDS + COST * (now - began), LONGEST_SECONDS)
            if not self._failing:
                logger.warning("%s failed and is left alone for a moment: %r", self._server, error)
            self._failing = True
            return default
        self._failing = False
        return result
