"""What is promised of a download and of a run, on plain values."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.lifecycle.world import MAX_ATTEMPTS, STALLED_AFTER, TIMEOUT

GIVEN_UP: Final = "Given up: the worker stopped responding each time."
NOT_STARTED: Final = "No worker started it in time. Please request it again."
NO_FILE: Final = "The task ended without a file. Please request it again."
NOT_FINISHED: Final = "The worker stopped responding. Please request it again."

#: Seconds of silence after which a run gives a sign of life between two rows.
HEARTBEAT: Final = 2

Shown = tuple[str, str, int, bool, str]


@dataclass
class Expected:
    """A download as it must be.

    Attributes:
        born_at: When it was asked for.
        started: Whether a run ever had it.
        holder: The run that may write to it.
        live: A percentage that lies in the cache alone, and when it was reported.
        content: The bytes of its file, once it is complete.
    """

    key: str
    owner: Any
    born_at: float
    state: str = "pending"
    percentage: int = 0
    errors: str = ""
    attempts: int = 0
    started: bool = False
    holder: object = None
    live: tuple[int, float] | None = None
    content: bytes | None = None
    heard_at: float = field(init=False)
    expires_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.write(self.born_at)

    @property
    def unfinished(self) -> bool:
        """Whether it waits for a worker or is with one."""
        return self.state in ("pending", "running")

    @property
    def heard_last(self) -> float:
        """When anything was heard of it, by its row or by the cache."""
        return max(self.heard_at, self.live[1] if self.live else 0)

    def held_by(self, run: object) -> bool:
        """Whether a run may write to it."""
        return self.holder is run and self.state != "complete"

    def expired(self, now: float) -> bool:
        """Whether it is finished and has outlived its time."""
        return not self.unfinished and self.expires_at <= now

    def overdue(self, now: float) -> bool:
        """Whether it is unfinished, and has been silent for so long that it is to fail."""
        return self.stalled(now) and self.expires_at <= now

    def alive(self, now: float) -> bool:
        """Whether a run is at it, as far as anybody can tell."""
        return self.state == "running" and not self.stalled(now)

    def stalled(self, now: float) -> bool:
        """Whether it is unfinished, and nothing has been heard of it for long."""
        return self.unfinished and now - self.heard_last > STALLED_AFTER

    def shown(self, now: float) -> Shown:
        """Return what its owner sees: key, state, percentage, whether it stalled, error."""
        percentage = self.percentage
        if self.unfinished and self.live and self.live[1] > self.heard_at:
            percentage = self.live[0]
        return self.key, self.state, percentage, self.stalled(now), self.errors

    def write(self, now: float, **columns: Any) -> None:
        """Change columns. Each write is a sign of life, and puts off the end."""
        self.heard_at, self.expires_at = now, now + TIMEOUT
        for name, value in columns.items():
            setattr(self, name, value)

    def refuse(self, now: float) -> bool:
        """Return whether there is nothing to do for a run that is one too many, or too late."""
        if self.state == "complete":
            return True
        if self.attempts < MAX_ATTEMPTS:
            return False
        if self.unfinished:
            self.fail(GIVEN_UP, now)
        return True

    def claim(self, run: object, now: float) -> bool:
        """Give it to a run, whoever had it before, if there is something to do."""
        if self.refuse(now):
            return False
        percentage = self.percentage if self.state == "pending" else 0
        self.attempts += 1
        self.started = True
        self.write(now, state="running", percentage=percentage, errors="", holder=run)
        return True

    def release(self, now: float) -> None:
        """Let it wait for another run, as if the one that has it had not been."""
        self.attempts -= 1
        self.write(now, state="pending", holder=None)

    def fail(self, errors: str, now: float) -> None:
        """Record a failure, unless it is complete."""
        if self.state != "complete":
            self.write(now, state="failed", errors=errors)

    def fail_if_overdue(self, now: float) -> None:
        """Fail with a reason, if it is overdue: somebody has looked."""
        if self.overdue(now):
            waited = NO_FILE if self.started else NOT_STARTED
            self.fail(waited if self.state == "pending" else NOT_FINISHED, now)

    def complete(self, content: bytes, now: float) -> None:
        """Finish it for good."""
        self.write(now, state="complete", percentage=100, errors="", content=content)
