"""``manage.py cleanup_downloads``."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from async_downloads import entries, files
from async_downloads.models import Download
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("cleanup_downloads", *arguments, stdout=output, stderr=output, **options)
    return output.getvalue()


def stored_files() -> set[str]:
    root = Path(project_settings.MEDIA_ROOT)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_it_removes_what_has_expired_with_its_files_and_says_so() -> None:
    DownloadFactory(complete=True, expired=True)
    DownloadFactory(failed=True, expired=True)
    kept = DownloadFactory(complete=True)
    assert run() == "Removed 2 expired downloads (4 bytes).\nRemoved 2 empty collections.\n"
    assert list(Download.objects.all()) == [kept]
    assert stored_files() == {kept.filepath}


def test_a_dry_run_removes_nothing_and_says_what_would_go() -> None:
    expired = DownloadFactory(complete=True, expired=True)
    DownloadFactory(complete=True, collection=expired.collection)
    before = stored_files()
    assert run("--dry-run") == "Would remove 1 expired download (4 bytes).\n"
    assert run(dry_run=True) == "Would remove 1 expired download (4 bytes).\n"
    assert Download.objects.count() == 2
    assert stored_files() == before
    # What was said is what happens.
    assert run() == "Removed 1 expired download (4 bytes).\n"
    assert not Download.objects.filter(pk=expired.pk).exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_with_nothing_to_do_it_says_that(dry_run: bool) -> None:
    DownloadFactory(complete=True)
    verb = "Would remove" if dry_run else "Removed"
    assert run(dry_run=dry_run) == f"{verb} 0 expired downloads (0 bytes).\n"
    assert len(stored_files()) == 1


def test_a_large_amount_is_told_in_readable_units() -> None:
    DownloadFactory(complete=True, expired=True, size=5 * 1024**3)
    assert "(5.0 GB)" in run("--dry-run")


def test_it_leaves_an_export_alone_that_is_heard_through_the_cache_only() -> None:
    # One inside a transaction of the caller's, which does not touch its row.
    download = DownloadFactory(running=True, expired=True)
    entries.set_entry(
        {
            "download_key": download.download_key,
            "user": "ada",
            "name": download.name,
            "timestamp": download.timestamp.isoformat(),
            "filepath": download.filepath,
            "url": "",
            "state": "running",
            "percentage": 40,
            "complete": False,
            "errors": "",
            "css_class": None,
            "stamp": download.heard_at.isoformat(),
        }
    )
    assert run("--dry-run").startswith("Would remove 0 ")
    assert run().startswith("Removed 0 ")
    assert Download.objects.exists()


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(CommandError):
        run("--everything")
    with pytest.raises(TypeError):
        run(everything=True)


def test_the_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("--help")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "Removes the downloads that have expired" in shown
    assert "--dry-run" in shown


def test_orphans_go_only_on_request_and_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    path = "downloads/0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e/orders.csv"
    files.storage().save(path, ContentFile(b"left over"))
    assert run() == "Removed 0 expired downloads (0 bytes).\n"
    assert "Removed 0 orphan files." in run("--orphans")
    told = f"  {path}\nWould remove 1 orphan file.\n"
    assert run("--orphans", "--min-age", "0", "--dry-run").endswith(told)
    assert stored_files() == {path}
    assert run("--orphans", "--min-age=0").endswith(f"  {path}\nRemoved 1 orphan file.\n")
    assert stored_files() == set()


@pytest.mark.parametrize("hours", ["soon", "-1", "nan", "1e9"])
def test_an_age_that_is_none_is_refused(hours: str) -> None:
    with pytest.raises(CommandError, match="is no number from 0"):
        run("--orphans", "--min-age", hours)
