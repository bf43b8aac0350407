"""The promises about a download and its attempts, on plain values."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.lifecycle.world import MAX_ATTEMPTS, STALLED_AFTER, TIMEOUT

GIVEN_UP: Final = "Given up: it stopped responding each time. Please contact an administrator."
NOT_STARTED: Final = "It was not started in time. Please request it again."
NO_FILE: Final = "The task ended without a file. Please request it again."
NOT_FINISHED: Final = "It stopped responding. Please request it again."

#: Seconds after which an attempt gives a heartbeat between two rows.
HEARTBEAT: Final = 2

Shown = tuple[str, str, int, bool, str]


@dataclass
class Expected:
    """A download as it must be.

    Attributes:
        requested_at: When it was requested.
        started: Whether a delivery has ever claimed it.
        claimed_by: The delivery whose attempt may write to it.
        live: A percentage that is in the cache alone, and when it was reported.
        content: The bytes of its file, once it is complete.
    """

    key: str
    owner: Any
    requested_at: float
    state: str = "pending"
    percentage: int = 0
    errors: str = ""
    attempts: int = 0
    started: bool = False
    claimed_by: object = None
    live: tuple[int, float] | None = None
    content: bytes | None = None
    heard_at: float = field(init=False)
    expires_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.write(self.requested_at)

    @property
    def unfinished(self) -> bool:
        """Whether it waits for a worker, or one is building it."""
        return self.state in ("pending", "running")

    @property
    def last_heartbeat(self) -> float:
        """The time of the last heartbeat, in its row or in the cache."""
        return max(self.heard_at, self.live[1] if self.live else 0)

    def writable_by(self, delivery: object) -> bool:
        """Whether the attempt of a delivery may write to it."""
        return self.claimed_by is delivery and self.state != "complete"

    def expired(self, now: float) -> bool:
        """Whether it is finished and has expired."""
        return not self.unfinished and self.expires_at <= now

    def overdue(self, now: float) -> bool:
        """Whether it is unfinished, and so long without a heartbeat that it must fail."""
        return self.stalled(now) and self.expires_at <= now

    def alive(self, now: float) -> bool:
        """Whether an attempt counts as alive."""
        return self.state == "running" and not self.stalled(now)

    def stalled(self, now: float) -> bool:
        """Whether it is unfinished, without a heartbeat for ``STALLED_AFTER``."""
        return self.unfinished and now - self.last_heartbeat > STALLED_AFTER

    def shown(self, now: float) -> Shown:
        """Return what its owner sees: key, state, percentage, whether it has stalled, error."""
        percentage = self.percentage
        if self.unfinished and self.live and self.live[1] > self.heard_at:
            percentage = self.live[0]
        return self.key, self.state, percentage, self.stalled(now), self.errors

    def write(self, now: float, **columns: Any) -> None:
        """Change columns. Each write is a heartbeat, and renews the expiry."""
        self.heard_at, self.expires_at = now, now + TIMEOUT
        for name, value in columns.items():
            setattr(self, name, value)

    def refuse(self, now: float) -> bool:
        """Return whether a delivery is too late, or no attempt is left; then it may fail."""
        if self.state == "complete":
            return True
        if self.attempts < MAX_ATTEMPTS:
            return False
        if self.unfinished:
            self.fail(GIVEN_UP, now)
        return True

    def claim(self, delivery: object, now: float) -> bool:
        """Claim it for a delivery, or take it over, if there is something to do."""
        if self.refuse(now):
            return False
        percentage = self.percentage if self.state == "pending" else 0
        self.attempts += 1
        self.started = True
        self.write(now, state="running", percentage=percentage, errors="", claimed_by=delivery)
        return True

    def release(self, now: float) -> None:
        """Let it wait for another attempt; this one does not count."""
        self.attempts -= 1
        self.write(now, state="pending", claimed_by=None)

    def fail(self, errors: str, now: float) -> None:
        """Record a failure, unless it is complete, or has failed and expired."""
        if self.state != "complete" and not self.expired(now):
            self.write(now, state="failed", errors=errors)

    def fail_if_overdue(self, now: float) -> None:
        """Fail with a reason, if it is overdue: every read does that."""
        if self.overdue(now):
            pending = NO_FILE if self.started else NOT_STARTED
            self.fail(pending if self.state == "pending" else NOT_FINISHED, now)

    def complete(self, content: bytes, now: float) -> None:
        """Finish it."""
        self.write(now, state="complete", percentage=100, errors="", content=content)
