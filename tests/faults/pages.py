"""An open page, which polls as htmx does, in a thread of its own."""

import re
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from tests.faults.client import Client

__all__ = ["Page", "Poll", "version_of"]

#: Seconds between two polls.
POLL_SECONDS: Final = 0.3

_VERSION: Final = re.compile(r'fragment" data-version="([^"]+)"')


def version_of(html: str) -> str:
    """Return the version in the HTML of a list; an empty text if it has none."""
    return next(iter(_VERSION.findall(html)), "")


@dataclass(frozen=True, slots=True)
class Poll:
    """The status of one answer, 0 if there was none, and how long it took."""

    status: int
    seconds: float


class Page:
    """A page that a user leaves open.

    Attributes:
        html: The list that was last received.
        polls: All polls so far.
    """

    def __init__(self, client: Client):
        self.html = ""
        self.polls: list[Poll] = []
        self._client = client
        self._version = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll_until_closed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()

    @property
    def statuses(self) -> set[int]:
        """The statuses of all answers."""
        return {poll.status for poll in self.polls}

    @property
    def unchanged(self) -> int:
        """How many answers were 204: the page was up to date."""
        return sum(poll.status == 204 for poll in self.polls)

    @property
    def slowest(self) -> float:
        """The seconds of the slowest answer."""
        return max(poll.seconds for poll in self.polls)

    def _poll_until_closed(self) -> None:
        while not self._closed.is_set():
            self._poll()
            self._closed.wait(POLL_SECONDS)

    def _poll(self) -> None:
        began = time.monotonic()
        try:
            answer = self._client.poll(self._version)
        except OSError:
            self.polls.append(Poll(0, time.monotonic() - began))
            return
        self.polls.append(Poll(answer.status, time.monotonic() - began))
        if answer.status == 200:
            self.html = answer.text
            self._version = version_of(answer.text)
