"""The reason of a failure beside "Try again"."""

import re
from pathlib import Path

import pytest

import async_downloads
from async_downloads.models import reasons
from async_downloads.models.reasons import without_advice
from tests.factories import DownloadFactory
from tests.recorded_calls import recorded

PACKAGE = Path(async_downloads.__file__).parent

#: The reasons of the package that advise to request the file again.
ADVISING = {
    text
    for path in PACKAGE.rglob("*.py")
    for text in re.findall(r'"([^"]+ Please request it again\b[^"]*)"', path.read_text())
}


def test_each_reason_that_advises_to_request_the_file_again_has_a_short_form() -> None:
    short = {without_advice(text) for text in ADVISING}
    assert short == reasons.REASONS
    assert not [text for text in short if "request" in text]


@pytest.mark.parametrize(
    "text",
    ["", "Choose a shorter period.", "It rains. Please request it again.", "Please request it."],
)
def test_a_text_of_the_site_stays_as_it_is(text: str) -> None:
    assert without_advice(text) == text


@pytest.mark.django_db
def test_only_a_download_that_may_be_tried_again_has_the_short_form() -> None:
    whole = "It stopped responding. Please request it again."
    assert DownloadFactory(failed=True, errors=whole).error_text == whole
    download = DownloadFactory(failed=True, errors=whole, **recorded())
    assert download.error_text == "It stopped responding."
