"""How often a page or a socket looks for changes: every interval, in seconds."""

from datetime import timedelta
from typing import Final

__all__ = [
    "ADMIN_POLL",
    "LONGER_AFTER",
    "POLL",
    "SOCKET_BUSY",
    "SOCKET_IDLE",
    "SOCKET_MINIMUM",
    "STALLED_POLL",
]

#: The ages of a download from which its page polls at the next, longer interval of ``POLL``.
LONGER_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=10))

#: Between two polls of a page while a download is in progress, by ``Listing.polling_tier``.
POLL: Final = (1, 3, 10)

#: Between two polls of a page while every unfinished download is stalled.
STALLED_POLL: Final = 30

#: Between two polls of an admin page with downloads in progress.
ADMIN_POLL: Final = 3

#: The least time between two reads of a socket, however many hints arrive.
SOCKET_MINIMUM: Final = 0.25

#: Between two reads of a socket without a hint, while a download is in progress.
SOCKET_BUSY: Final = 2.0

#: The same while nothing is in progress. The end of a session is noticed after this time.
SOCKET_IDLE: Final = 15.0
