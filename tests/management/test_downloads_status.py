"""``manage.py downloads_status``."""

import json
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from async_downloads import store
from tests.attempts import long_ago
from tests.demo.commands import run as run_demo
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def run(*arguments: str) -> tuple[str, int, str]:
    """Return the output, the exit code and the error."""
    output = StringIO()
    try:
        call_command("downloads_status", *arguments, stdout=output)
    except CommandError as error:
        return output.getvalue(), error.returncode, str(error)
    return output.getvalue(), 0, ""


def test_a_healthy_site_exits_with_zero() -> None:
    DownloadFactory(complete=True, size=5 * 1024**2)
    DownloadFactory(complete=True, expired=True, size=1024)
    store.clean_up(dry_run=True)
    printed, code, error = run()
    assert (code, error) == (0, "")
    assert printed.splitlines() == [
        "pending            0  0 bytes",
        "running            0  0 bytes",
        "complete           2  5.0 MB",
        "failed             0  0 bytes",
        "expired            1  1.0 KB, 1 minute",
        "stalled            0",
        "stuck              0",
        "Longest wait for a worker: nothing waits.",
        "Last clean-up: not known.",
    ]


def test_the_longest_wait_and_the_last_clean_up_are_printed() -> None:
    DownloadFactory(timestamp=timezone.now() - timedelta(minutes=12))
    store.clean_up()
    printed, code, _ = run()
    assert code == 0
    assert "Longest wait for a worker: 12 minutes.\nLast clean-up: 0 minutes ago.\n" in printed


def one_of_each_problem() -> None:
    DownloadFactory(running=True, heard_at=long_ago())
    DownloadFactory(timestamp=timezone.now() - timedelta(minutes=20))
    DownloadFactory(complete=True, expires_at=timezone.now() - timedelta(hours=30))
    DownloadFactory(failed=True)


def test_problems_are_printed_with_the_exit_code() -> None:
    one_of_each_problem()
    printed, code, error = run()
    assert code == 1
    assert "1 stalled" in error
    assert "does a worker run?" in error
    assert "does the clean-up run?" in error
    assert "failed" not in error
    # The numbers are printed all the same.
    assert "stalled            1" in printed


def test_a_download_that_does_not_move_is_counted_without_an_error(settings: Any) -> None:
    DownloadFactory(running=True, moved_at=long_ago())
    assert json.loads(run("--json")[0])["stuck"] == 0
    settings.ASYNC_DOWNLOADS_STUCK_AFTER = 600
    DownloadFactory(running=True)
    DownloadFactory(running=True, heard_at=long_ago(), moved_at=long_ago())
    printed, code, _ = run("--max-stalled=1")
    assert code == 0
    assert "stuck              1" in printed
    assert json.loads(run("--json", "--max-stalled=1")[0])["stuck"] == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["stalled", "pending", "cleanup"]),
        (("--max-failed", "0"), ["stalled", "pending", "cleanup", "failed"]),
        (("--max-stalled=1",), ["pending", "cleanup"]),
        (("--max-stalled=1", "--max-pending=30"), ["cleanup"]),
        (("--max-stalled=1", "--max-pending=30", "--max-expired=31.5"), []),
    ],
    ids=str,
)
def test_thresholds_are_options(arguments: tuple[str, ...], expected: list[str]) -> None:
    one_of_each_problem()
    printed, code, _ = run("--json", *arguments)
    printed = json.loads(printed)
    assert list(printed["problems"]) == expected
    assert (printed["ok"], code) == (not expected, 1 if expected else 0)


def test_json_is_one_object() -> None:
    store.clean_up()
    DownloadFactory(complete=True, size=10)
    expired = DownloadFactory(failed=True, expired=True)
    waits = DownloadFactory(timestamp=timezone.now() - timedelta(minutes=5))
    printed = json.loads(run("--json")[0])
    assert 295 < printed["oldest_pending"].pop("seconds") < 360
    assert 55 < printed["expired"]["oldest"].pop("seconds") < 120
    assert printed["last_cleanup"]["seconds"] < 60
    del printed["last_cleanup"]
    assert printed == {
        "ok": True,
        "problems": {},
        "states": {
            "pending": {"downloads": 1, "bytes": 0},
            "running": {"downloads": 0, "bytes": 0},
            "complete": {"downloads": 1, "bytes": 10},
            "failed": {"downloads": 1, "bytes": 0},
        },
        "stalled": 0,
        "stuck": 0,
        "oldest_pending": {"at": waits.timestamp.isoformat()},
        "expired": {"downloads": 1, "bytes": 0, "oldest": {"at": expired.expires_at.isoformat()}},
    }


def test_without_downloads_json_has_the_same_keys() -> None:
    printed = json.loads(run("--json")[0])
    assert (
        printed["oldest_pending"] is printed["last_cleanup"] is printed["expired"]["oldest"] is None
    )


@pytest.mark.parametrize("arguments", [("--max-stalled", "few"), ("--max-pending", "-1")], ids=str)
def test_invalid_thresholds_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="argument --max"):
        call_command("downloads_status", *arguments)


@pytest.mark.long
@pytest.mark.parametrize("command", ["downloads_status", "cleanup_downloads"])
def test_a_database_that_does_not_answer_is_one_line_and_an_exit_code(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "gone.py").write_text(
        "from demo.settings import *\n"
        "DATABASES['default'] = {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'shop', "
        "'HOST': '127.0.0.1', 'PORT': 1}\n"
    )
    ended = run_demo(
        *("-m", "django", command, "--json"),
        DJANGO_SETTINGS_MODULE="gone",
        PYTHONPATH=f"{Path(__file__).parents[2]}:{tmp_path}",
        DEMO_VAR=str(tmp_path),
    )
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert ended.stderr.startswith("CommandError: The database cannot be used: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_database_without_our_tables_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    ended = run_demo(
        *("-m", "django", "downloads_status"),
        DJANGO_SETTINGS_MODULE="demo.settings",
        DEMO_VAR=str(tmp_path),
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)
    assert "no such table" in ended.stderr


def test_invalid_options_have_their_own_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.management import execute_from_command_line

    for argv in (
        ["manage.py", "downloads_status", "--max-stalled", "few"],
        ["manage.py", "cleanup_downloads", "--state", "gone"],
        ["manage.py", "cleanup_downloads", "--owner", "no such user"],
        ["manage.py", "cleanup_downloads", "--before", "2026-01-01", "--after", "2026-01-02"],
    ):
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as left:
            execute_from_command_line(argv)
        assert left.value.code == 2, argv
        assert capsys.readouterr().err


def test_the_program_exits_with_one_if_there_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.management import execute_from_command_line

    argv: Any = ["manage.py", "downloads_status", "--json"]
    monkeypatch.setattr(sys, "argv", argv)
    execute_from_command_line(argv)
    assert json.loads(capsys.readouterr().out)["ok"]
    DownloadFactory(running=True, heard_at=long_ago())
    with pytest.raises(SystemExit) as left:
        execute_from_command_line(argv)
    assert left.value.code == 1
    printed = capsys.readouterr()
    assert not json.loads(printed.out)["ok"]
    assert "1 stalled" in printed.err
