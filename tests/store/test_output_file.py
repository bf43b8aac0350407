"""Where the file of a run goes, and what it is called."""

import uuid
from typing import Any

import pytest

from async_downloads.models import Download
from async_downloads.store.output_file import OutputFile

TOKEN = uuid.UUID("0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e")


def target(token: uuid.UUID | None = TOKEN, **columns: Any) -> OutputFile:
    asked = {"filename": "a.csv", "name": "a.csv", "filepath": "downloads/key/a.csv"}
    return OutputFile(Download(**asked, **columns), token)


def test_the_file_goes_where_it_was_asked_for() -> None:
    found = target()
    assert (found.filename, found.path, found.names) == ("a.csv", "downloads/key/a.csv", {})


def test_under_another_name_it_stays_in_the_folder() -> None:
    found = target()
    found.rename("a/b:c.xlsx")
    assert found.path == "downloads/key/abc.xlsx"
    assert found.names == {"filename": "a/b:c.xlsx", "name": "a/b:c.xlsx"}


def test_a_name_in_the_list_that_was_chosen_stays() -> None:
    found = OutputFile(
        Download(filename="a.csv", name="Open orders", filepath="d/key/a.csv"), TOKEN
    )
    found.rename("a.xlsx")
    assert found.names == {"filename": "a.xlsx", "name": "Open orders"}


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_whoever_takes_nothing_over_writes_to_the_name_itself(state: str) -> None:
    found = target(state=state)
    found.rename("a.xlsx")
    assert found.path == "downloads/key/a.xlsx"


def test_whoever_takes_over_writes_beside_the_other_under_any_name() -> None:
    found = target(state="running")
    assert found.path == "downloads/key/a_0b6a1f2e.csv"
    found.rename("a.xlsx")
    assert found.path == "downloads/key/a_0b6a1f2e.xlsx"
    found.rename("a.csv")
    assert (found.path, found.names) == ("downloads/key/a_0b6a1f2e.csv", {})
    # A run inside a caller's transaction has written no claim.
    assert target(None, state="running").path == "downloads/key/a.csv"
