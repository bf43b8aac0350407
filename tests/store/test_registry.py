"""The runs of this process."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from async_downloads import cache
from async_downloads.executors.runner import supervise
from async_downloads.models import Download
from async_downloads.store.attempt import current_attempt
from tests.attempts import claimed
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_is_known_by_its_key_from_its_beginning_to_its_end() -> None:
    download = DownloadFactory()
    run = claimed(download)
    assert current_attempt(download.download_key) is None
    with run:
        assert current_attempt(download.download_key) is run
    assert current_attempt(download.download_key) is None


def test_the_registry_forgets_a_run_that_has_made_its_file() -> None:
    download = DownloadFactory()
    cache.save_download(download.download_key, [["row"]])
    assert current_attempt(download.download_key) is None


#: Other ways to write a key, such as the primary key of a row.
WAYS: list[Callable[[str], Any]] = [uuid.UUID, str.upper, lambda key: key.replace("-", "")]


@pytest.mark.parametrize("way", WAYS, ids=["uuid", "upper case", "digits"])
def test_a_key_is_the_same_in_any_writing(way: Callable[[str], Any]) -> None:
    download = DownloadFactory()
    key = way(download.download_key)

    def body() -> None:
        cache.update_percentage(key, 2, 0)
        cache.set_percentage(key, 60)
        cache.save_download(key, [["row"]])

    supervise(key, body, makes_file=True)
    download = Download.objects.get(pk=download.pk)
    assert download.complete
    assert download.attempts == 1
    failed = DownloadFactory()
    cache.set_error(way(failed.download_key), "Out of paper.")
    assert Download.objects.get(pk=failed.pk).errors == "Out of paper."
