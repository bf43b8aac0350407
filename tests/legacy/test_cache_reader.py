"""Reading the downloads of 0.6 in the cache, beside other values."""

import uuid
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from async_downloads import cache
from async_downloads.legacy import cache_reader
from async_downloads.legacy.cache_reader import UnreadableCacheError, read_downloads, read_lists
from tests.legacy import legacy_downloads

pytestmark = [pytest.mark.any_database, pytest.mark.usefixtures("shared_cache")]

KEY = uuid.UUID("0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e")


def cached(**fields: Any) -> cache_reader.LegacyDownload | None:
    key = uuid.UUID(legacy_downloads.begin("ada", **fields))
    return read_downloads([key])[key]


def test_a_cache_entry_is_read_as_it_was_written() -> None:
    key = uuid.UUID(legacy_downloads.begin("ada", name="Orders", percentage=40))
    download = read_downloads([key])[key]
    assert download is not None
    assert (download.user, download.name, download.percentage, download.complete) == (
        "ada",
        "Orders",
        40,
        False,
    )
    assert download.filepath == f"downloads/{key}/orders.csv"
    assert isinstance(download.timestamp, datetime)


@pytest.mark.parametrize(
    ("percentage", "read"), [(140, 100), (-1, 0), ("x", 0), (None, 0), ("7", 7)]
)
def test_an_invalid_percentage_becomes_a_valid_one(percentage: Any, read: int) -> None:
    download = cached(percentage=percentage)
    assert download is not None
    assert download.percentage == read


@pytest.mark.parametrize(
    "value",
    ["text", 7, [], {}, {"user": "ada"}, dict.fromkeys(cache_reader.FIELDS)],
)
def test_a_value_of_another_kind_is_none_and_a_missing_one_is_left_out(value: Any) -> None:
    caches["file"].set(str(KEY), value)
    assert read_downloads([KEY]) == {KEY: None}
    assert read_downloads([uuid.uuid4()]) == {}


@pytest.mark.django_db
def test_every_kind_of_cache_is_read(any_cache: str) -> None:
    key = uuid.UUID(legacy_downloads.begin("ada"))
    assert read_lists([]) == {}
    assert read_downloads([]) == {}
    lists = {} if any_cache == "dummy" else {"async_downloads/ada": [key]}
    assert read_lists(["async_downloads/ada", "async_downloads/bob"]) == lists
    assert list(read_downloads([key, uuid.uuid4()])) == [
        key for keys in lists.values() for key in keys
    ]


@pytest.mark.parametrize("fields", [{"timestamp": "2020-01-01"}, {"filepath": None}])
def test_a_cache_entry_without_a_time_or_a_path_is_none(fields: dict[str, Any]) -> None:
    assert cached(**fields) is None


@pytest.mark.django_db(transaction=True)
def test_a_cache_entry_of_today_is_none(user: Any) -> None:
    key = uuid.UUID(cache.init_download(user, "orders.csv")[1])
    assert read_downloads([key]) == {key: None}


def test_lists_are_read_without_invalid_keys() -> None:
    caches["file"].set("a", [str(KEY), "not a key", None, str(KEY).upper()])
    caches["file"].set("b", "a token")
    assert read_lists(["a", "b", "c"]) == {"a": [KEY]}


def test_a_user_name_with_spaces_causes_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        caches["file"].set("with spaces", [])
        warnings.simplefilter("error")
        assert read_lists(["with spaces"]) == {"with spaces": []}


def test_a_broken_value_does_not_hide_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, broken = (uuid.UUID(legacy_downloads.begin("ada")) for _ in range(2))
    Path(caches["file"]._key_to_file(str(broken))).write_bytes(  # type: ignore[attr-defined]
        b"not compressed"
    )
    assert read_downloads([broken, good]).keys() == {good}
    assert str(broken) in caplog.text


def test_a_cache_that_does_not_answer_is_an_error(dead_cache: str) -> None:
    with pytest.raises(UnreadableCacheError, match=r"The cache 'dead' does not answer: .*127"):
        read_lists(["a"])
