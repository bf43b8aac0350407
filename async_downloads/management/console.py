"""What the commands share: how they end, and how they talk to a terminal."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from django.conf import settings as project_settings
from django.core.management.base import CommandError, OutputWrapper
from django.db import Error as DatabaseFault
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

__all__ = ["ExitCode", "Progress", "counted", "moment", "number", "readable_size", "told_plainly"]

#: Characters of a progress bar.
BAR_WIDTH: Final = 30


class ExitCode(IntEnum):
    """How a command ends; 2 is what Python itself says of wrong options."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    DATABASE = 3
    INTERRUPTED = 130


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a database that cannot be used, or a Ctrl-C, into a line and an exit code.

    Raises:
        CommandError: One of the two happened.
    """
    try:
        yield
    except DatabaseFault as error:
        first_line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CommandError(
            f"The database cannot be used: {first_line}", returncode=ExitCode.DATABASE
        ) from error
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted. What was done stays done.", returncode=ExitCode.INTERRUPTED
        ) from None


class Progress:
    """A line on a terminal that says how far it is; nothing where there is no terminal."""

    def __init__(self, stream: OutputWrapper, total: int) -> None:
        self._stream = stream
        self._total = total if stream.isatty() else 0

    def __enter__(self) -> "Progress":
        return self

    def show(self, done: int) -> None:
        """Say how much is done of the total."""
        if not self._total:
            return
        # More may have come meanwhile than there was when it was counted.
        share = min(done / self._total, 1.0)
        bar = "#" * int(share * BAR_WIDTH)
        self._write(f"\r[{bar:.<{BAR_WIDTH}}] {done} of {self._total}")

    def __exit__(self, *_: object) -> None:
        if self._total:
            # From here to the end of the line, everything is erased.
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def readable_size(size: int) -> str:
    """Return bytes as people read them."""
    return filesizeformat(size).replace("\xa0", " ")


def moment(text: str) -> datetime:
    """Return the time that an option says: an ISO date or time, in the current time zone.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
        aware = timezone.make_aware(found) if timezone.is_naive(found) else found
        # A database that cannot say it in UTC could not compare with it.
        aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f'{text!r} is no date or time such as "2026-01-31" or "2026-01-31T18:30"'
        ) from None
    return aware if project_settings.USE_TZ else timezone.make_naive(aware)


def number(text: str) -> float:
    """Return the number of hours or minutes that an option says.

    Raises:
        ArgumentTypeError: It is none, below 0 or beyond reason.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e6:
        raise ArgumentTypeError(f"{text!r} is no number from 0 to 1,000,000")
    return found
