"""The runs of this process."""

import pytest

from async_downloads import cache
from async_downloads.store.run import current_run
from tests.factories import DownloadFactory
from tests.runs import claimed

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_is_known_by_its_key_from_its_beginning_to_its_end() -> None:
    download = DownloadFactory()
    run = claimed(download)
    assert current_run(download.download_key) is None
    with run:
        assert current_run(download.download_key) is run
    assert current_run(download.download_key) is None


def test_the_registry_forgets_a_run_that_has_made_its_file() -> None:
    download = DownloadFactory()
    cache.save_download(download.download_key, [["row"]])
    assert current_run(download.download_key) is None
