"""The texts of an exception."""

import pytest

from async_downloads.exceptions import DownloadError
from async_downloads.utils import error_text


def test_the_owner_reads_the_message_of_a_download_error() -> None:
    assert error_text.for_owner(DownloadError("Choose a shorter period.")) == (
        "Choose a shorter period."
    )


@pytest.mark.parametrize("error", [LookupError("secret"), DownloadError()], ids=type)
def test_the_owner_does_not_read_the_message_of_another_exception(error: Exception) -> None:
    assert (
        error_text.for_owner(error)
        == "Something went wrong while creating the file. Please request it again."
    )


@pytest.mark.parametrize("error", [SystemExit("secret"), KeyboardInterrupt("secret")], ids=type)
def test_the_owner_reads_that_the_worker_was_stopped(
    error: BaseException,
) -> None:
    assert (
        error_text.for_owner(error) == "It took too long, or was stopped. Please request it again."
    )


def test_staff_read_the_whole_traceback() -> None:
    try:
        raise LookupError("no such table") from ZeroDivisionError("why")
    except LookupError as error:
        text = error_text.for_staff(error)
    assert "Traceback" in text
    assert "LookupError: no such table" in text
    assert "ZeroDivisionError: why" in text
