"""``manage.py adopt_downloads``."""

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from async_downloads.files import storage
from async_downloads.models import Download
from tests.legacy import old_downloads

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("shared_cache", "user"),
]


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("adopt_downloads", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_it_adopts_and_says_how_many_and_in_which_state() -> None:
    old_downloads.store("ada")
    old_downloads.begin("ada", complete=True, errors="No.")
    old_downloads.begin("ada")
    assert run() == "Adopted 3 downloads of 1 owner: 1 complete, 1 failed, 1 in progress.\n"
    assert Download.objects.count() == 3
    assert run() == "Adopted 0 downloads of 0 owners.\n3 downloads adopted before.\n"


def test_a_dry_run_names_them_and_adopts_none() -> None:
    old_downloads.store("ada", name="All orders")
    told = "  ada: All orders (complete)\nWould adopt 1 download of 1 owner: 1 complete.\n"
    assert run("--dry-run") == told
    assert not Download.objects.exists()
    assert run("--verbosity", "2").startswith("  ada: All orders (complete)\nAdopted 1 ")


def test_what_it_leaves_alone_is_named_with_the_reason() -> None:
    old_downloads.begin("ada", complete=True, url="/media/x")
    told = run()
    assert "  left alone: downloads/" in told
    assert "of 'ada': The storage is not there, and with it the file.\n" in told
    assert told.endswith("1 download left alone, see above.\n")


def test_files_without_an_owner_need_one_to_be_named() -> None:
    path = f"downloads/{uuid.UUID(int=7)}/orders.csv"
    storage.storage().save(path, ContentFile(b"1"))
    told = run()
    assert f"  without an owner: {path}\n" in told
    assert "1 file without an owner. With --owner USER" in told
    assert run("--owner", "ada") == "Adopted 1 download of 1 owner: 1 complete.\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [("nobody", "There is no user called 'nobody'"), ("", "--owner: user must not be empty")],
)
def test_an_owner_who_is_none_is_refused_before_anything_is_adopted(name: str, error: str) -> None:
    old_downloads.store("ada")
    with pytest.raises(CommandError, match=error):
        run("--owner", name)
    assert not Download.objects.exists()


def test_a_list_of_no_user_is_looked_at_by_its_key() -> None:
    old_downloads.begin("team")
    assert run().startswith("Adopted 0 ")
    assert run("--collection", "async_downloads/team").startswith("Adopted 1 ")


def test_a_cache_of_each_process_is_told_of(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "default"
    assert "The cache is one that each process has for itself" in run()


def test_a_cache_that_does_not_answer_ends_it_with_an_error(settings: Any) -> None:
    settings.CACHES = settings.CACHES | {
        "dead": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "dead"
    with pytest.raises(CommandError, match=r"does not answer: .* Bring it back"):
        run()
