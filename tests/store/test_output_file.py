"""The path and the name of the file that an attempt makes."""

import uuid
from typing import Any

import pytest

from async_downloads.models import Download
from async_downloads.store.output_file import OutputFile

TOKEN = uuid.UUID("0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e")


def output_file(token: uuid.UUID | None = TOKEN, **columns: Any) -> OutputFile:
    requested = {"filename": "a.csv", "name": "a.csv", "filepath": "downloads/key/a.csv"}
    return OutputFile(Download(**{**requested, **columns}), token)


def test_the_file_has_the_requested_path_and_name() -> None:
    output = output_file()
    assert (output.filename, output.path) == ("a.csv", "downloads/key/a.csv")
    assert output.changed_names == {}


def test_a_renamed_file_stays_in_its_folder() -> None:
    output = output_file()
    output.rename("a/b:c.xlsx")
    assert output.path == "downloads/key/abc.xlsx"
    assert output.changed_names == {"filename": "a/b:c.xlsx", "name": "a/b:c.xlsx"}


def test_a_name_in_the_list_that_differs_from_the_file_name_stays() -> None:
    output = output_file(name="Open orders")
    output.rename("a.xlsx")
    assert output.changed_names == {"filename": "a.xlsx", "name": "Open orders"}


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_an_attempt_that_takes_nothing_over_uses_the_name_itself(state: str) -> None:
    output = output_file(state=state)
    output.rename("a.xlsx")
    assert output.path == "downloads/key/a.xlsx"


def test_an_attempt_that_takes_over_writes_beside_the_other_under_any_name() -> None:
    output = output_file(state="running")
    assert output.path == "downloads/key/a_0b6a1f2e.csv"
    output.rename("a.xlsx")
    assert output.path == "downloads/key/a_0b6a1f2e.xlsx"
    output.rename("a.csv")
    assert (output.path, output.changed_names) == ("downloads/key/a_0b6a1f2e.csv", {})


def test_an_attempt_after_a_rescue_or_a_retry_writes_beside_the_one_before() -> None:
    output = output_file(state="pending", claim=uuid.uuid4())
    assert output.path == "downloads/key/a_0b6a1f2e.csv"


def test_the_path_does_not_grow_with_the_attempts() -> None:
    output = output_file(claim=uuid.uuid4(), filepath="downloads/key/a_12345678.csv")
    assert output.path == "downloads/key/a_0b6a1f2e.csv"


def test_an_attempt_without_a_claim_uses_the_name_itself() -> None:
    """Inside a caller's transaction no claim is written."""
    assert output_file(None, state="running").path == "downloads/key/a.csv"
