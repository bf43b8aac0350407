"""The exit codes, the options and the output that the commands share."""

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

__all__ = ["ExitCode", "Progress", "counted", "moment", "number", "plain_errors", "readable_size"]

#: Characters of a progress bar.
BAR_WIDTH: Final = 30


class ExitCode(IntEnum):
    """The exit codes of the commands; argparse itself uses 2 for wrong options."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    DATABASE = 3
    INTERRUPTED = 130


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn a database error or a Ctrl-C into one line and an exit code.

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
    """A progress bar on a terminal; without a terminal it writes nothing."""

    def __init__(self, stream: OutputWrapper, total: int) -> None:
        self._stream = stream
        self._total = total if stream.isatty() else 0

    def __enter__(self) -> "Progress":
        return self

    def show(self, done: int) -> None:
        """Show how much of the total is done."""
        if not self._total:
            return
        # There may be more by now than there was when it was counted.
        share = min(done / self._total, 1.0)
        bar = "#" * int(share * BAR_WIDTH)
        self._write(f"\r[{bar:.<{BAR_WIDTH}}] {done} of {self._total}")

    def __exit__(self, *_: object) -> None:
        if self._total:
            # Erase the line.
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def readable_size(size: int) -> str:
    """Return a number of bytes in a readable unit."""
    return filesizeformat(size).replace("\xa0", " ")


def moment(text: str) -> datetime:
    """Parse the option of a time: an ISO date or time, by default in the current time zone.

    Raises:
        ArgumentTypeError: The text is not one.
    """
    try:
        parsed = datetime.fromisoformat(text)
        aware = timezone.make_aware(parsed) if timezone.is_naive(parsed) else parsed
        # A database could not compare with a time that has no UTC equivalent.
        aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f'{text!r} is not a date or time such as "2026-01-31" or "2026-01-31T18:30"'
        ) from None
    return aware if project_settings.USE_TZ else timezone.make_naive(aware)


def number(text: str) -> float:
    """Parse the option of a number of hours or minutes.

    Raises:
        ArgumentTypeError: The text is not a number, or the number is out of range.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1,000,000")
    return value
