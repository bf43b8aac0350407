"""``manage.py cleanup_downloads``."""

import json
import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from async_downloads import cache
from async_downloads.files import storage
from async_downloads.models import Download, FetchRecord
from async_downloads.store import cache_entries, write_through
from tests.attempts import long_ago
from tests.factories import DownloadFactory, UserFactory
from tests.management.test_console import Terminal

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("cleanup_downloads", *arguments, stdout=output, stderr=output, **options)
    return output.getvalue()


def stored_files() -> set[str]:
    root = Path(project_settings.MEDIA_ROOT)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_it_removes_expired_downloads_with_their_files() -> None:
    DownloadFactory(complete=True, expired=True)
    DownloadFactory(failed=True, expired=True)
    kept = DownloadFactory(complete=True)
    assert run() == "Removed 2 expired downloads (4 bytes).\nRemoved 2 empty collections.\n"
    assert list(Download.objects.all()) == [kept]
    assert stored_files() == {kept.filepath}


def test_a_dry_run_removes_nothing_and_prints_the_numbers() -> None:
    expired = DownloadFactory(complete=True, expired=True)
    DownloadFactory(complete=True, collection=expired.collection)
    before = stored_files()
    assert run("--dry-run") == "Would remove 1 expired download (4 bytes).\n"
    assert run(dry_run=True) == "Would remove 1 expired download (4 bytes).\n"
    assert Download.objects.count() == 2
    assert stored_files() == before
    # The clean-up does the same.
    assert run() == "Removed 1 expired download (4 bytes).\n"
    assert not Download.objects.filter(pk=expired.pk).exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_with_nothing_to_do_it_prints_zeros(dry_run: bool) -> None:
    DownloadFactory(complete=True)
    verb = "Would remove" if dry_run else "Removed"
    assert run(dry_run=dry_run) == f"{verb} 0 expired downloads (0 bytes).\n"
    assert len(stored_files()) == 1


def test_a_large_size_is_printed_in_a_readable_unit() -> None:
    DownloadFactory(complete=True, expired=True, size=5 * 1024**3)
    assert "(5.0 GB)" in run("--dry-run")


def test_an_export_with_heartbeats_in_the_cache_alone_stays() -> None:
    # One inside a transaction of the caller's, which does not touch its row.
    download = DownloadFactory(running=True, expired=True, heard_at=long_ago())
    entry = write_through.cache_entry_of(download)
    cache_entries.set_entry(entry | {"stamp": timezone.now().isoformat()})
    assert run("--dry-run") == "Would remove 0 expired downloads (0 bytes).\n"
    assert run() == "Removed 0 expired downloads (0 bytes).\n"
    assert Download.objects.get().state == "running"


def test_an_overdue_download_fails() -> None:
    DownloadFactory(expired=True, heard_at=long_ago())
    would = "Would fail 1 download that no worker has finished in time."
    assert run("--dry-run").splitlines()[1] == would
    assert run().splitlines()[1] == "Failed 1 download that no worker has finished in time."
    assert Download.objects.get().state == "failed"


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(CommandError):
        run("--everything")
    with pytest.raises(TypeError):
        run(everything=True)


def test_the_help_describes_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("--help")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "Removes the downloads that have expired" in shown
    assert "--dry-run" in shown


def test_orphans_are_removed_only_on_request_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    path = "downloads/0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e/orders.csv"
    storage.storage().save(path, ContentFile(b"left over"))
    assert run() == "Removed 0 expired downloads (0 bytes).\n"
    assert "Removed 0 orphan files." in run("--orphans")
    printed = f"  {path}\nWould remove 1 orphan file.\n"
    assert run("--orphans", "--min-age", "0", "--dry-run").endswith(printed)
    assert stored_files() == {path}
    assert run("--orphans", "--min-age=0").endswith(f"  {path}\nRemoved 1 orphan file.\n")
    assert stored_files() == set()


@pytest.mark.parametrize("hours", ["soon", "-1", "nan", "1e9"])
def test_an_invalid_age_is_refused(hours: str) -> None:
    with pytest.raises(CommandError, match="is not a number from 0"):
        run("--orphans", "--min-age", hours)


# Selected downloads


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that types an answer; without one, standard input is empty."""
    monkeypatch.setattr(sys, "stdin", StringIO())
    return lambda text: monkeypatch.setattr(sys, "stdin", StringIO(text))


def test_all_downloads_in_a_state_go_expired_or_not() -> None:
    for _ in range(2):
        DownloadFactory(failed=True)
    DownloadFactory(failed=True, expired=True)
    kept = DownloadFactory(complete=True, expired=True)
    printed = run("--state", "failed", "--no-input")
    assert printed == "Removed 3 downloads (0 bytes).\nRemoved 3 empty collections.\n"
    assert list(Download.objects.all()) == [kept]
    assert stored_files() == {kept.filepath}


def test_a_download_matches_one_of_several_states() -> None:
    DownloadFactory(failed=True)
    DownloadFactory(running=True, heard_at=long_ago())
    kept = DownloadFactory(running=True)
    assert "Removed 2 downloads" in run("--state=failed", "--state=stalled", "--no-input")
    assert list(Download.objects.all()) == [kept]


def test_downloads_are_selected_by_owner_and_time(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    user = UserFactory(username="ada")
    # In Berlin, that is the last second of January, the first of February, and so on.
    times = [
        "2026-01-31T22:59:59Z",
        "2026-01-31T23:00Z",
        "2026-02-28T22:59:59Z",
        "2026-02-28T23:00Z",
    ]
    rows = [
        DownloadFactory(collection__user=user, timestamp=datetime.fromisoformat(time))
        for time in times
    ]
    other = DownloadFactory(timestamp=datetime.fromisoformat(times[1]))
    arguments = ["--owner=ada", "--after=2026-02-01", "--before=2026-03-01", "--no-input"]
    assert "Removed 2 downloads" in run(*arguments)
    assert set(Download.objects.all()) == {rows[0], rows[3], other}
    assert "Removed 2 downloads" in run("--owner=ada", "--no-input")
    assert list(Download.objects.all()) == [other]


def test_a_dry_run_of_a_selection_removes_nothing_without_a_question(answers: Any) -> None:
    DownloadFactory(complete=True)
    printed = run("--state", "complete", "--dry-run")
    assert printed == "Would remove 1 download (4 bytes).\n"
    assert Download.objects.exists()


@pytest.mark.parametrize("answer", ["yes\n", "yes", " yes \n"])
def test_it_asks_before_removing_active_downloads(answers: Any, answer: str) -> None:
    DownloadFactory(complete=True)
    DownloadFactory(running=True)
    DownloadFactory(complete=True, expired=True)
    answers(answer)
    printed = run("--before", "2100-01-01")
    assert printed.startswith(
        "This removes 3 downloads (8 bytes), of which 2 not expired and 1 in progress, to be "
        'cancelled. Type "yes" to go on: '
    )
    assert "Removed 3 downloads" in printed
    assert not Download.objects.exists()


@pytest.mark.parametrize("answer", ["", "no\n", "y\n", "\n"], ids=repr)
def test_without_a_yes_nothing_is_removed(answers: Any, answer: str) -> None:
    DownloadFactory(complete=True)
    answers(answer)
    with pytest.raises(CommandError, match="Not confirmed") as refused:
        run("--state", "complete")
    assert refused.value.returncode == 1
    assert Download.objects.exists()
    assert stored_files()


def test_it_does_not_ask_if_all_have_expired(answers: Any) -> None:
    DownloadFactory(complete=True, expired=True)
    DownloadFactory(complete=True)
    assert "Removed 1 download (4 bytes)" in run("--state", "expired")
    assert "Removed 0 downloads" in run("--state", "failed")


def test_a_download_that_starts_during_the_question_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    DownloadFactory()

    class Slow(StringIO):
        def readline(self, *_: Any) -> str:
            late.append(DownloadFactory())
            return "yes\n"

    late: list[Download] = []
    monkeypatch.setattr(sys, "stdin", Slow())
    assert "Removed 1 download" in run("--state", "pending")
    assert list(Download.objects.all()) == late


def test_an_unknown_owner_is_refused() -> None:
    with pytest.raises(CommandError, match="no user is called 'adaa'") as refused:
        run("--owner", "adaa")
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--before=2026-01-01", "--after=2026-01-01"),
        ("--after=2100-01-01",),
        ("--before=yesterday",),
        ("--state=gone",),
        ("--owner=",),
    ],
    ids=str,
)
def test_invalid_options_are_refused_before_anything_is_removed(arguments: tuple[str, ...]) -> None:
    DownloadFactory(complete=True, expired=True)
    with pytest.raises(CommandError):
        run(*arguments)
    assert Download.objects.exists()


# For programs and on terminals


def test_json_is_one_object_and_the_question_goes_to_stderr(answers: Any) -> None:
    DownloadFactory(complete=True)
    DownloadFactory(failed=True)
    answers("yes")
    output, errors = StringIO(), StringIO()
    options = {"stdout": output, "stderr": errors}
    call_command("cleanup_downloads", "--json", "--state=complete", **options)
    assert json.loads(output.getvalue()) == {
        "dry_run": False,
        "downloads": 1,
        "bytes": 4,
        "collections": 1,
        "left": 0,
        "held": 0,
    }
    assert "Type" in errors.getvalue()
    found = json.loads(run("--json", "--dry-run", "--state=failed"))
    assert (found["dry_run"], found["downloads"], found["collections"]) == (True, 1, None)


def test_json_lists_orphans_path_by_path() -> None:
    paths = [
        f'downloads/0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3{number}/orders "{number}".csv'
        for number in range(3)
    ]
    for path in paths:
        storage.storage().save(path, ContentFile(b"left over"))
    assert json.loads(run("--json", "--orphans"))["orphans"] == []
    assert sorted(json.loads(run("--json", "--orphans", "--min-age=0"))["orphans"]) == paths
    assert stored_files() == set()


@pytest.mark.parametrize("arguments", [(), ("--state=failed", "--no-input")], ids=str)
def test_a_terminal_shows_the_progress(arguments: tuple[str, ...]) -> None:
    for _ in range(3):
        DownloadFactory(failed=True, expired=True)
    terminal = Terminal()
    call_command("cleanup_downloads", *arguments, stdout=StringIO(), stderr=terminal)
    assert f"\r[{'#' * 30}] 3 of 3\r\x1b[K" in terminal.getvalue()


def test_a_download_that_is_being_written_is_left_and_counted() -> None:
    download = DownloadFactory(running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(download.download_key, 50)
    printed = run("--state=stalled", "--no-input")
    assert printed == (
        "Removed 0 downloads (0 bytes).\n"
        "Left 1 download that is being written, is locked or has changed meanwhile.\n"
    )


# The ledger


def record(age: timedelta) -> None:
    FetchRecord(fetched_at=timezone.now() - age, download_key=uuid.uuid4(), size=1).save()


def test_it_deletes_fetch_records_by_their_age_and_only_then() -> None:
    record(timedelta(days=2))
    record(timedelta(0))
    before = (timezone.now() - timedelta(days=1)).isoformat()
    assert "fetch record" not in run()
    assert "Would remove 1 fetch record.\n" in run("--dry-run", "--ledger-before", before)
    assert FetchRecord.objects.count() == 2
    assert json.loads(run("--json", "--ledger-before", before))["records"] == 1
    assert "Removed 0 fetch records.\n" in run("--ledger-before", before)
    assert FetchRecord.objects.count() == 1
    assert "records" not in json.loads(run("--json"))


def test_a_wrong_date_deletes_no_fetch_record() -> None:
    record(timedelta(days=2))
    with pytest.raises(CommandError):
        run("--ledger-before", "last year")
    assert FetchRecord.objects.count() == 1
