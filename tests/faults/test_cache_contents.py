"""What lies in the cache and is no use: poisoned, garbled, from another time. Case 33."""

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
    """A class that is no longer there when it is loaded."""


def entry_with(**values: Any) -> dict[str, Any]:
    """Return an entry of a download, newer than any row, with some values that are wrong."""
    now = timezone.now().isoformat()
    entry: dict[str, Any] = dict.fromkeys(cache_entries.DownloadEntry.__required_keys__, "")
    return entry | {"percentage": 77, "complete": True, "state": "complete", "stamp": now} | values


def poisons() -> dict[str, bytes]:
    """Return what a Redis may hold instead of what was put there."""
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
        "percentage-that-is-no-number": entry_with(percentage="77"),
        "percentage-that-is-nan": entry_with(percentage=float("nan")),
        "percentage-that-is-true": entry_with(percentage=True),
        "stamp-that-is-no-time": entry_with(stamp="yesterday"),
        "stamp-that-is-no-text": entry_with(stamp=12),
        "stamp-without-a-zone": entry_with(stamp=datetime(2999, 1, 1).isoformat()),  # noqa: DTZ001
    }
    pickled = {name: pickle.dumps(value) for name, value in values.items()}
    gone = pickle.dumps(Gone()).replace(b"Gone", b"Goon")
    return pickled | {
        "nothing": b"",
        "no-pickle": b"\x00\xffpoison",
        "number": b"12",
        "half-a-pickle": pickle.dumps(entry_with())[:-9],
        "pickle-of-a-lost-class": gone,
    }


POISONS: Final = (*poisons(), "wrong-type")


class Poisoner:
    """Puts bytes under the keys of the package, past Django."""

    def __init__(self, client: "redis.Redis"):
        self._client = client

    def spoil(self, key: str, poison: str) -> None:
        """Put one of the poisons under a key, for ever."""
        self._spoil(caches["redis"].make_key(key), poison)

    def spoil_like(self, word: str, poison: str) -> int:
        """Put one of the poisons under each key with this word in it, and return how many."""
        keys = self._keys(word)
        for key in keys:
            self._spoil(key, poison)
        return len(keys)

    def clear(self) -> None:
        """Remove all that lies there, poisoned or not."""
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
    """Let the package use Redis, and poison it."""
    if not services.available("redis"):
        pytest.skip(f"no Redis at {services.redis_url()}")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "redis"
    with redis.Redis.from_url(services.redis_url()) as client:
        poisoner = Poisoner(client)
        yield poisoner
        poisoner.clear()


def listed(client: BrowserClient) -> dict[str, tuple[str, Any]]:
    """Return the state and percentage of each download, as both kinds of page get them."""
    fragment = client.get("/async_downloads/ajax_update/", headers={"HX-Request": "true"})
    answer = client.get("/async_downloads/ajax_update/")
    assert (fragment.status_code, answer.status_code) == (200, 200)
    downloads = answer.json()["downloads"]
    for item in downloads:
        assert f'id="download-{item["download_key"]}"' in fragment.content.decode()
    return {item["download_key"]: (item["state"], item["percentage"]) for item in downloads}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["entry", "version", "mark"])
def test_case_33_what_is_poisoned_is_a_miss(
    where: str, poisoner: Poisoner, signed_in: BrowserClient, user: Any
) -> None:
    """Case 33: whatever lies under a key of ours, people see the rows, and the export ends well."""
    # True is what marks a download as cleared.
    names = [name for name in POISONS if (where, name) != ("mark", "true")]
    harmful = {}
    for poison in names:
        try:
            live_with(poison, where, poisoner, signed_in, user)
        except AssertionError as error:
            harmful[poison] = str(error).splitlines()[0]
        Download.objects.all().delete()
    assert harmful == {}


def live_with(
    poison: str, where: str, poisoner: Poisoner, person: BrowserClient, user: Any
) -> None:
    """Let a download live from start to end, poisoned again before each step."""

    def spoil() -> None:
        # What is left alone for a moment would not be read.
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
def test_case_33_a_poisoned_key_does_not_keep_the_clean_up_away(
    poisoner: Poisoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 33: the key that says that another one is at it says so for a minute at the most."""
    harmful = []
    for poison in POISONS:
        cache_entries._breakers.clear()
        poisoner.clear()
        with monkeypatch.context() as patch:
            patch.setattr(cache_entries, "end_cleanup", lambda *arguments: None)
            tasks.cleanup_expired_downloads()
        # That one is at it, and when the last one was.
        assert poisoner.spoil_like("cleanup", poison) == 2
        DownloadFactory(complete=True, expired=True)
        tasks.cleanup_expired_downloads()
        if Download.objects.exists():
            harmful.append(poison)
            Download.objects.all().delete()
    assert harmful == []


@pytest.mark.django_db(transaction=True)
def test_case_33_a_stamp_from_the_future_does_not_keep_a_dead_download_alive(
    poisoner: Poisoner, signed_in: BrowserClient, user: Any
) -> None:
    """Case 33: of a worker whose clock is ahead, or of none."""
    _, key = cache.init_download(user, "orders.csv")
    long_ago = timezone.now() - timedelta(hours=1)
    Download.objects.filter(pk=key).update(state="running", heard_at=long_ago)
    stamp = (timezone.now() + timedelta(days=365)).isoformat()
    caches["redis"].set(key, entry_with(stamp=stamp))
    answer = signed_in.get("/async_downloads/ajax_update/")
    assert 'data-state="stalled"' in answer.json()["html"]


@pytest.mark.django_db(transaction=True)
def test_case_33_a_cache_of_garbled_files_is_a_miss(
    shared_cache: str, signed_in: BrowserClient, user: Any
) -> None:
    """Case 33: the same for files."""

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
