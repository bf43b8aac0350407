"""The page on the life of a download draws the states that there are."""

import re

import pytest

from async_downloads.models import Download, DownloadState
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/explanation/life-of-a-download.md"

COVERED = {"pending ──> running": "a drawing"}


def test_the_drawing_has_each_state() -> None:
    (drawing,) = PAGES[PAGE].snippets("text")
    states = re.sub(r" {5,}[a-z].*$", "", drawing, flags=re.MULTILINE)
    assert set(re.findall(r"[a-z]+", states)) == set(DownloadState.values)


def test_a_truncated_file_is_listed_as_quoted() -> None:
    download = Download(
        state="complete", rows_written=80, rows_expected=100, size=1, percentage=100
    )
    assert f'"{download.status_text}"' in PAGES[PAGE].text
