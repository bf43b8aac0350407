"""The command that rescues stalled downloads."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from async_downloads import store
from async_downloads.store import rescue
from async_downloads.store.jobs import alone
from tests import queues
from tests.attempts import stalled
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("rescue_downloads", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_it_queues_stalled_downloads_again_and_fails_the_last_attempts() -> None:
    keys = {stalled().download_key for _ in range(2)}
    used_up = stalled(attempts=3)
    DownloadFactory(running=True, recorded=True)
    assert run() == (
        "Queued 2 stalled downloads again.\nFailed 1 download whose last attempt has stalled.\n"
    )
    assert {task["args"][1] for task in queues.waiting()} == keys
    used_up.refresh_from_db()
    assert used_up.failed
    assert run() == "Queued 0 stalled downloads again.\n"


def test_json_is_one_object() -> None:
    stalled()
    numbers = {"requeued": 1, "failed": 0, "errors": 0}
    assert json.loads(run("--json")) == {"ran": True} | numbers


def test_it_says_that_another_process_does_it(shared_cache: str) -> None:
    stalled()
    with alone("rescue"):
        assert run() == "Another process is rescuing downloads.\n"
        assert json.loads(run("--json"))["ran"] is False
    assert "Queued 1 stalled download again." in run()


def test_without_rescues_it_does_nothing_and_says_so(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = False
    download = stalled()
    assert run() == "ASYNC_DOWNLOADS_RESCUE is off, so nothing is rescued.\n"
    assert json.loads(run("--json"))["ran"] is False
    download.refresh_from_db()
    assert download.state == "running"


def test_a_download_that_could_not_be_rescued_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rescue, "_rescue", lambda download: store.Rescue(errors=1))
    stalled()
    with pytest.raises(CommandError, match="1 download could not be rescued") as failed:
        run()
    assert failed.value.returncode == 1


def test_a_database_that_is_away_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> None:
        raise OperationalError("connection refused\nhint")

    monkeypatch.setattr(store, "rescue_alone", away)
    with pytest.raises(CommandError, match=r"cannot be used: connection refused$") as failed:
        run()
    assert failed.value.returncode == 3
