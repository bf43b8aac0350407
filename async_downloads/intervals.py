"""How often a page or a socket looks for changes: every interval, in seconds."""

from datetime import timedelta
from typing import Final

__all__ = [
    "ADMIN_POLL",
    "LONGER_AFTER",
    "POLL",
    "RECHECK",
    "RECHECK_WAITING",
    "SESSION_AFTER_HINT",
    "SESSION_IDLE",
    "SESSION_MAXIMUM",
    "SOCKET_BUSY",
    "SOCKET_HINTED",
    "SOCKET_IDLE",
    "SOCKET_LOOK",
    "SOCKET_MINIMUM",
    "SOCKET_RECHECK",
    "SOCKET_REJOIN",
    "STALLED_POLL",
    "SUMMARY",
]

#: The ages of a download from which its page polls at the next, longer interval of ``POLL``.
LONGER_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=10))

#: Between two polls of a page while a download is in progress, by ``Listing.polling_tier``.
POLL: Final = (1, 3, 10)

#: Between two comparisons of a page with the rows, if the cache says that nothing was written.
#: So a page is out of date for this long if a write of its version token is lost.
RECHECK: Final = 15

#: The same while a download waits: those of others that are ahead of it are not in the token.
RECHECK_WAITING: Final = 5

#: Between two polls of a page while every unfinished download is stalled.
STALLED_POLL: Final = 30

#: Between two polls of an admin page with downloads in progress.
ADMIN_POLL: Final = 3

#: Between two looks of a process at the version tokens of all owners with a socket.
SOCKET_LOOK: Final = 1.0

#: The same while hints arrive: only the tokens of their owners are read.
SOCKET_HINTED: Final = 0.1

#: The least time between two reads for the sockets of one owner, however many hints arrive.
SOCKET_MINIMUM: Final = 0.25

#: Between two reads for the sockets of an owner without a version token and without a hint,
#: while a download is in progress.
SOCKET_BUSY: Final = 2.0

#: The same while nothing is in progress.
SOCKET_IDLE: Final = 15.0

#: Between two comparisons with the rows for an owner with a version token, while nothing is in
#: progress: about once in the life of a token.
SOCKET_RECHECK: Final = 60 * 60

#: Between two joins of a group, as a channel layer may have lost the membership.
SOCKET_REJOIN: Final = 5 * 60

#: The greatest age of a check of the session before something is sent.
SESSION_MAXIMUM: Final = 60

#: Between two checks of the session of a socket to which nothing is sent.
SESSION_IDLE: Final = 20 * 60

#: Between the hint that a person has signed out and the check: Django sends its signal before
#: it ends the session.
SESSION_AFTER_HINT: Final = 2.0

#: The life of a summary in the cache while nothing is in progress: a page is out of date for this
#: long if a write of the version token is lost.
SUMMARY: Final = 60
