"""A page that stays open: it asks for changes as htmx does, in a thread of its own."""

import re
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.faults.client import Client

__all__ = ["Asked", "Page", "version_of"]

#: Seconds between two questions.
POLL_SECONDS: Final = 0.3

_VERSION: Final = re.compile(r'"version": "([^"]+)"')


def version_of(html: str) -> str:
    """Return the version that a list carries; an empty text once there is nothing to ask for."""
    return next(iter(_VERSION.findall(html)), "")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: the status of the answer, 0 if there was none, and how long it took."""

    status: int
    seconds: float


class Page:
    """What a person sees who leaves a page open, and what it took to keep it right.

    Attributes:
        html: The list as it was last sent.
        asked: Every question so far.
    """

    def __init__(self, client: Client):
        self.html = ""
        self.asked: list[Asked] = []
        self._client = client
        self._version = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()

    @property
    def statuses(self) -> set[int]:
        """The statuses that it was answered with."""
        return {asked.status for asked in self.asked}

    @property
    def unchanged(self) -> int:
        """How often it was told that what it shows is still right."""
        return sum(asked.status == 204 for asked in self.asked)

    @property
    def slowest(self) -> float:
        """The seconds of the answer that took longest."""
        return max(asked.seconds for asked in self.asked)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._ask()
            self._closed.wait(POLL_SECONDS)

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            answer = self._client.poll(self._version)
        except OSError:
            self.asked.append(Asked(0, time.monotonic() - began))
            return
        self.asked.append(Asked(answer.status, time.monotonic() - began))
        if answer.status == 200:
            self.html = answer.text
            self._version = version_of(answer.text)
