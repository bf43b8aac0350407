"""``manage.py adopt_downloads``."""

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from async_downloads.files import storage
from async_downloads.models import Download
from tests.legacy import legacy_downloads

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("shared_cache", "user"),
]


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("adopt_downloads", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_it_prints_how_many_it_adopts_in_which_state() -> None:
    legacy_downloads.store("ada")
    legacy_downloads.begin("ada", complete=True, errors="No.")
    legacy_downloads.begin("ada")
    assert run() == "Adopted 3 downloads of 1 owner: 1 complete, 1 failed, 1 in progress.\n"
    assert Download.objects.count() == 3
    assert run() == "Adopted 0 downloads of 0 owners.\n3 downloads adopted before.\n"


def test_a_dry_run_lists_them_and_adopts_none() -> None:
    legacy_downloads.store("ada", name="All orders")
    printed = "  ada: All orders (complete)\nWould adopt 1 download of 1 owner: 1 complete.\n"
    assert run("--dry-run") == printed
    assert not Download.objects.exists()
    assert run("--verbosity", "2").startswith("  ada: All orders (complete)\nAdopted 1 ")


def test_a_refusal_is_listed_with_its_reason() -> None:
    legacy_downloads.begin("ada", complete=True, url="/media/x")
    printed = run()
    assert "  left alone: downloads/" in printed
    assert "of 'ada': The storage is not there, and with it the file.\n" in printed
    assert printed.endswith("1 download left alone, see above.\n")


def test_files_without_an_owner_are_adopted_for_a_given_user() -> None:
    path = f"downloads/{uuid.UUID(int=7)}/orders.csv"
    storage.storage().save(path, ContentFile(b"1"))
    printed = run()
    assert f"  without an owner: {path}\n" in printed
    assert "1 file without an owner. With --owner USER" in printed
    assert run("--owner", "ada") == "Adopted 1 download of 1 owner: 1 complete.\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [("zoe", "No user is called 'zoe'"), ("", "--owner: user must not be empty")],
)
def test_an_unknown_owner_is_refused_before_the_adoption(name: str, error: str) -> None:
    legacy_downloads.store("ada")
    with pytest.raises(CommandError, match=error):
        run("--owner", name)
    assert not Download.objects.exists()


def test_the_list_of_a_text_is_read_by_its_key() -> None:
    legacy_downloads.begin("team")
    assert run().startswith("Adopted 0 ")
    assert run("--collection", "async_downloads/team").startswith("Adopted 1 ")


def test_a_cache_that_is_not_shared_is_reported(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "default"
    assert "The processes do not share this cache" in run()


def test_a_cache_that_does_not_answer_is_an_error(dead_cache: str) -> None:
    with pytest.raises(CommandError, match=r"does not answer: .* Bring it back"):
        run()
