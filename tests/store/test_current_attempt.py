"""The attempts of this process."""

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


def test_an_attempt_is_current_from_its_beginning_to_its_end() -> None:
    download = DownloadFactory()
    attempt = claimed(download)
    assert current_attempt(download.download_key) is None
    with attempt:
        assert current_attempt(download.download_key) is attempt
    assert current_attempt(download.download_key) is None


def test_an_attempt_that_has_made_its_file_is_not_current() -> None:
    download = DownloadFactory()
    cache.save_download(download.download_key, [["row"]])
    assert current_attempt(download.download_key) is None


#: Other notations of a key, such as the primary key of a row.
NOTATIONS: list[Callable[[str], Any]] = [uuid.UUID, str.upper, lambda key: key.replace("-", "")]


@pytest.mark.parametrize("notation", NOTATIONS, ids=["uuid", "upper case", "digits"])
def test_a_key_is_the_same_in_any_notation(notation: Callable[[str], Any]) -> None:
    download = DownloadFactory()
    key = notation(download.download_key)

    def body() -> None:
        cache.update_percentage(key, 2, 0)
        cache.set_percentage(key, 60)
        cache.save_download(key, [["row"]])

    supervise(key, body, makes_file=True)
    download = Download.objects.get(pk=download.pk)
    assert download.complete
    assert download.attempts == 1
    failed = DownloadFactory()
    cache.set_error(notation(failed.download_key), "Out of paper.")
    assert Download.objects.get(pk=failed.pk).errors == "Out of paper."
