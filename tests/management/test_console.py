"""The exit codes, the options and the output of the commands."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management.base import CommandError, OutputWrapper
from django.db import InterfaceError, OperationalError, ProgrammingError

from async_downloads.management.console import (
    ExitCode,
    Progress,
    counted,
    moment,
    number,
    plain_errors,
    readable_size,
)


class Terminal(StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


# Exit codes


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError, ProgrammingError])
def test_a_database_error_is_one_line_with_an_exit_code(kind: type[Exception]) -> None:
    with pytest.raises(CommandError) as failed, plain_errors():
        raise kind("could not connect\n\tIs the server running?")
    assert str(failed.value) == "The database cannot be used: could not connect"
    assert failed.value.returncode == ExitCode.DATABASE == 3


def test_a_database_error_without_a_text_shows_its_name() -> None:
    with pytest.raises(CommandError, match="OperationalError"), plain_errors():
        raise OperationalError


def test_an_interruption_has_an_exit_code() -> None:
    with pytest.raises(CommandError) as failed, plain_errors():
        raise KeyboardInterrupt
    assert failed.value.returncode == ExitCode.INTERRUPTED == 130


def test_any_other_error_is_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), plain_errors():
        _ = 1 / 0


# The terminal


def test_a_terminal_shows_a_progress_bar() -> None:
    terminal = Terminal()
    with Progress(OutputWrapper(terminal), 4) as progress:
        for done in (1, 4, 9):
            progress.show(done)
    assert terminal.getvalue().split("\r") == [
        "",
        "[#######.......................] 1 of 4",
        "[##############################] 4 of 4",
        "[##############################] 9 of 4",
        # The line is erased at the end.
        "\x1b[K",
    ]


@pytest.mark.parametrize("stream", [StringIO(), Terminal()], ids=["no terminal", "nothing to do"])
def test_a_progress_bar_needs_a_terminal_and_work(stream: StringIO) -> None:
    with Progress(OutputWrapper(stream), 0 if stream.isatty() else 4) as progress:
        progress.show(1)
    assert stream.getvalue() == ""


def test_numbers_and_sizes_are_readable() -> None:
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert readable_size(5 * 1024**3) == "5.0 GB"


# Options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 30, 23, tzinfo=UTC)),
        ("2026-01-31T18:30", datetime(2026, 1, 31, 17, 30, tzinfo=UTC)),
        ("2026-07-31 18:30:05", datetime(2026, 7, 31, 16, 30, 5, tzinfo=UTC)),
        ("2026-01-31T18:30+00:00", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31T18:30Z", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_of_the_site(
    settings: Any, text: str, expected: datetime
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    assert moment(text) == expected


def test_without_time_zones_times_are_naive(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    assert moment("2026-01-31T18:30") == datetime.fromisoformat("2026-01-31T18:30")
    assert moment("2026-01-31T18:30Z") == datetime.fromisoformat("2026-01-31T19:30")


@pytest.mark.parametrize("text", ["", "yesterday", "31.1.2026", "2026-02-30", "0001-01-01"])
def test_an_invalid_time_is_refused(settings: Any, text: str) -> None:
    # In UTC, the first day of the calendar began in the year before.
    settings.TIME_ZONE = "Europe/Berlin"
    with pytest.raises(ArgumentTypeError, match="is not a date or time"):
        moment(text)


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9", "inf", ""])
def test_an_invalid_number_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a number"):
        number(text)


def test_numbers_may_have_a_fraction() -> None:
    assert (number("0"), number("0.5"), number("25")) == (0, 0.5, 25)
