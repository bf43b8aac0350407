"""Values in the cache that the package did not write: garbled, malicious, or of another version."""

import pickle
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
import redis
from django.conf import settings as project_settings
from django.core.cache import caches
from django.test import Client as BrowserClient
from django.utils import timezone

from async_downloads import cache, store, tasks
from async_downloads.models import Download
from async_downloads.store import cache_entries
from tests import services
from tests.factories import DownloadFactory


class Gone:
    """A class that is missing when its pickle is loaded."""


def entry_with(**values: Any) -> dict[str, Any]:
    """Return a cache entry of a download, newer than any row, with some wrong values."""
    now = timezone.now().isoformat()
    entry: dict[str, Any] = dict.fromkeys(cache_entries.DownloadEntry.__required_keys__, "")
    return entry | {"percentage": 77, "complete": True, "state": "complete", "stamp": now} | values


def poisons() -> dict[str, bytes]:
    """Return the bytes that a Redis may hold instead of a value of the package."""
    values: dict[str, Any] = {
        "none": None,
        "true": True,
        "text": "poison",
        "text-of-a-version": "0123456789abcdef.0123456789abcdef",
        "list": [1, 2],
        "bytes": b"\xff",
        "shape-of-0.6": {"percentage": 50, "name": "orders.csv", "complete": False, "errors": ""},
        "huge-percentage": entry_with(percentage=5000),
        "negative-percentage": entry_with(percentage=-1),
        "percentage-that-is-text": entry_with(percentage="77"),
        "percentage-that-is-nan": entry_with(percentage=float("nan")),
        "percentage-that-is-true": entry_with(percentage=True),
        "stamp-that-is-not-a-time": entry_with(stamp="yesterday"),
        "stamp-that-is-a-number": entry_with(stamp=12),
        "stamp-without-a-zone": entry_with(stamp=datetime(2999, 1, 1).isoformat()),  # noqa: DTZ001
    }
    pickled = {name: pickle.dumps(value) for name, value in values.items()}
    gone = pickle.dumps(Gone()).replace(b"Gone", b"Goon")
    return pickled | {
        "nothing": b"",
        "not-a-pickle": b"\x00\xffpoison",
        "number": b"12",
        "half-a-pickle": pickle.dumps(entry_with())[:-9],
        "pickle-of-a-missing-class": gone,
    }


POISONS: Final = (*poisons(), "wrong-type")


class Poisoner:
    """Writes bytes under the keys of the package, without Django."""

    def __init__(self, client: "redis.Redis"):
        self._client = client

    def spoil(self, key: str, poison: str) -> None:
        """Write a poison under a key, without expiry."""
        self._spoil(caches["redis"].make_key(key), poison)

    def spoil_like(self, word: str, poison: str) -> int:
        """Write a poison under each key that contains a word, and return how many there are."""
        keys = self._keys(word)
        for key in keys:
            self._spoil(key, poison)
        return len(keys)

    def clear(self) -> None:
        """Delete all keys of the package."""
        for key in self._keys():
            self._client.delete(key)

    def _keys(self, word: str = "") -> list[str]:
        prefix = project_settings.CACHES["redis"]["KEY_PREFIX"]
        return [key.decode() for key in self._client.scan_iter(match=f"{prefix}:*{word}*")]

    def _spoil(self, key: str, poison: str) -> None:
        if poison == "wrong-type":
            self._client.delete(key)
            self._client.rpush(key, b"poison")
        else:
            self._client.set(key, poisons()[poison])


@pytest.fixture
def poisoner(settings: Any) -> Iterator[Poisoner]:
    """Use Redis as the cache, and return its poisoner."""
    if not services.available("redis"):
        pytest.skip(f"no Redis at {services.redis_url()}")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "redis"
    with redis.Redis.from_url(services.redis_url()) as client:
        poisoner = Poisoner(client)
        yield poisoner
        poisoner.clear()


def listed(client: BrowserClient) -> dict[str, tuple[str, Any]]:
    """Return the state and percentage of each download; check that HTML and JSON agree."""
    fragment = client.get("/async_downloads/ajax_update/", headers={"HX-Request": "true"})
    answer = client.get("/async_downloads/ajax_update/")
    assert (fragment.status_code, answer.status_code) == (200, 200)
    downloads = answer.json()["downloads"]
    for item in downloads:
        assert f'id="download-{item["download_key"]}"' in fragment.content.decode()
    return {item["download_key"]: (item["state"], item["percentage"]) for item in downloads}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["entry", "version", "mark"])
def test_a_poisoned_value_is_a_cache_miss(
    where: str, poisoner: Poisoner, signed_in: BrowserClient, user: Any
) -> None:
    """Whatever the value, users see the rows, and the export completes."""
    # True marks a download as cleared.
    names = [name for name in POISONS if (where, name) != ("mark", "true")]
    harmful = {}
    for poison in names:
        try:
            poison_each_step(poison, where, poisoner, signed_in, user)
        except AssertionError as error:
            harmful[poison] = str(error).splitlines()[0]
        Download.objects.all().delete()
    assert harmful == {}


def poison_each_step(
    poison: str, where: str, poisoner: Poisoner, person: BrowserClient, user: Any
) -> None:
    """Take a download from start to end, and poison the cache before each step."""

    def spoil() -> None:
        # An open circuit breaker would skip the read.
        cache_entries._breakers.clear()
        poisoner.spoil(keys[where], poison)

    collection_key, download_key = cache.init_download(user, "orders.csv")
    keys = {
        "entry": download_key,
        "version": f"{collection_key}:version",
        "mark": f"{download_key}:cleared",
    }
    spoil()
    assert listed(person) == {download_key: ("pending", 0)}
    spoil()
    cache.set_percentage(download_key, 40)
    spoil()
    assert listed(person) == {download_key: ("pending", 40)}

    def rows() -> Iterator[list[int]]:
        yield [1]
        spoil()
        cache.set_percentage(download_key, 60)
        spoil()
        assert listed(person) == {download_key: ("running", 60)}
        yield [2]

    spoil()
    cache.save_download(download_key, rows())
    spoil()
    assert listed(person) == {download_key: ("complete", 100)}
    assert read_from(person, Download.objects.get().url) == b"1\n2\n"
    spoil()
    answer = person.post("/async_downloads/ajax_clear_download/", {"download_key": download_key})
    assert answer.status_code == 200
    assert listed(person) == {}


def read_from(person: BrowserClient, url: str) -> bytes:
    response: Any = person.get(url)
    with closing(response):
        return b"".join(response.streaming_content)


@pytest.mark.django_db(transaction=True)
def test_a_poisoned_lock_does_not_stop_the_clean_up(
    poisoner: Poisoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package ignores a value that it did not write."""
    harmful = []
    for poison in POISONS:
        cache_entries._breakers.clear()
        poisoner.clear()
        with monkeypatch.context() as patch:
            patch.setattr(cache_entries, "end_job", lambda *arguments: None)
            tasks.cleanup_expired_downloads()
        # The lock, and the time of the last clean-up.
        assert poisoner.spoil_like("async_downloads:job:", poison) == 2
        DownloadFactory(complete=True, expired=True)
        tasks.cleanup_expired_downloads()
        if Download.objects.exists():
            harmful.append(poison)
            Download.objects.all().delete()
    assert harmful == []


@pytest.mark.django_db(transaction=True)
def test_a_stamp_in_the_future_does_not_hide_a_stalled_download(
    poisoner: Poisoner, signed_in: BrowserClient, user: Any
) -> None:
    """The clock of a worker may be ahead, or a stranger wrote the stamp."""
    _, key = cache.init_download(user, "orders.csv")
    long_ago = timezone.now() - timedelta(hours=1)
    Download.objects.filter(pk=key).update(state="running", heard_at=long_ago)
    stamp = (timezone.now() + timedelta(days=365)).isoformat()
    caches["redis"].set(key, entry_with(stamp=stamp))
    answer = signed_in.get("/async_downloads/ajax_update/")
    assert 'data-state="stalled"' in answer.json()["html"]


@pytest.mark.django_db(transaction=True)
def test_a_garbled_file_is_a_cache_miss(
    shared_cache: str, signed_in: BrowserClient, user: Any
) -> None:
    """The same for a cache in files."""

    def spoil() -> None:
        cache_entries._breakers.clear()
        for path in project_settings.CACHES[shared_cache]["LOCATION"].glob("*"):
            path.write_bytes(b"poison")

    _, key = cache.init_download(user, "orders.csv")
    spoil()
    assert listed(signed_in) == {key: ("pending", 0)}
    spoil()
    cache.save_download(key, [[1]])
    spoil()
    assert listed(signed_in) == {key: ("complete", 100)}
    assert store.clean_up().downloads == 0
