"""How an exception is told."""

import pytest

from async_downloads.exceptions import DownloadError
from async_downloads.utils import error_text


def test_a_failure_that_is_meant_for_people_is_told_to_them() -> None:
    assert error_text.for_owner(DownloadError("Choose a shorter period.")) == (
        "Choose a shorter period."
    )


@pytest.mark.parametrize("error", [LookupError("secret"), DownloadError()], ids=type)
def test_of_any_other_the_owner_learns_only_that_it_happened(error: Exception) -> None:
    assert (
        error_text.for_owner(error)
        == "Something went wrong while creating the file. Please request it again."
    )


@pytest.mark.parametrize("error", [SystemExit("secret"), KeyboardInterrupt("secret")], ids=type)
def test_of_what_ends_the_process_the_owner_learns_that_the_worker_was_stopped(
    error: BaseException,
) -> None:
    assert (
        error_text.for_owner(error)
        == "It took too long, or the worker was stopped. Please request it again."
    )


def test_staff_are_told_everything() -> None:
    try:
        raise LookupError("no such table") from ZeroDivisionError("why")
    except LookupError as error:
        told = error_text.for_staff(error)
    assert "Traceback" in told
    assert "LookupError: no such table" in told
    assert "ZeroDivisionError: why" in told
