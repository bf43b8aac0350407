"""Each log record names the download that it is about."""

import logging
import uuid

import pytest

from async_downloads import cache
from async_downloads.utils.log import get_logger
from tests.factories import DownloadFactory

KEY = "8f14e45f-ceea-467f-a8b2-000000000001"


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((KEY,), KEY),
        ((uuid.UUID(KEY),), KEY),
        (("orders.csv", KEY), KEY),
        (("orders.csv", 3), None),
        ((f"downloads/{KEY}/orders.csv",), None),
        (({"a": 1},), None),
        ((), None),
    ],
    ids=str,
)
def test_the_download_key_is_the_first_argument_that_is_a_key(
    arguments: tuple[object, ...], key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    text = " ".join(["%s"] * len(arguments)) if arguments != ({"a": 1},) else "%(a)s"
    get_logger("tests.logs").warning(text, *arguments)
    (record,) = caplog.records
    assert vars(record)["download_key"] == key


def test_a_logger_gets_the_filter_once() -> None:
    assert get_logger("tests.logs") is get_logger("tests.logs")
    assert len(logging.getLogger("tests.logs").filters) == 1


@pytest.mark.django_db(transaction=True)
def test_the_record_of_a_failure_has_the_download_key(caplog: pytest.LogCaptureFixture) -> None:
    _, key = cache.init_download("team", "orders.csv")
    cache.set_error(key, "It broke.")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert vars(record)["download_key"] == key


@pytest.mark.django_db(transaction=True)
def test_the_record_of_a_traceback_names_the_task_and_the_owner(
    caplog: pytest.LogCaptureFixture,
) -> None:
    download = DownloadFactory(recorded=True)
    cache.save_download(download.download_key, ([1 / 0] for _ in range(1)))
    (record,) = [each for each in caplog.records if each.name == "async_downloads.store.attempt"]
    assert vars(record)["download_key"] == download.download_key
    assert vars(record)["task"] == "tests.jobs.export"
    assert vars(record)["collection_key"] == download.collection.key
