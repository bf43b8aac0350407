"""The cache is disposable: each of its failures is a miss."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction
from django.utils import timezone

from async_downloads.models.lifetime import MAX_SECONDS
from async_downloads.store import cache_entries
from async_downloads.store.cache_entries import DownloadEntry
from async_downloads.utils import circuit_breaker

ENTRY: DownloadEntry = {
    "download_key": "0b0e3d5e-3f0e-4a53-9c39-5a3b7f1c2f11",
    "user": "ada",
    "name": "Orders",
    "timestamp": "2026-01-31T09:05:00+00:00",
    "filepath": "downloads/0b0e3d5e-3f0e-4a53-9c39-5a3b7f1c2f11/orders.csv",
    "url": "",
    "state": "running",
    "percentage": 40,
    "complete": False,
    "errors": "",
    "css_class": None,
    "stamp": "2026-01-31T09:05:01+00:00",
}
KEY = ENTRY["download_key"]


class BrokenCache(LocMemCache):
    """A cache whose server refuses every call, and counts them."""

    calls = 0

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        raise ConnectionRefusedError("no cache here")

    get = set = add = delete = get_many = _refuse


@pytest.fixture
def broken(settings: Any) -> type[BrokenCache]:
    settings.CACHES = {
        **settings.CACHES,
        "broken": {"BACKEND": f"{__name__}.BrokenCache", "LOCATION": "broken"},
    }
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "broken"
    BrokenCache.calls = 0
    return BrokenCache


@pytest.mark.django_db(transaction=True)
def test_an_entry_is_read_back_from_every_cache(any_cache: str) -> None:
    cache_entries.set_entry(ENTRY)
    assert cache_entries.get_entry(KEY) == (None if any_cache == "dummy" else ENTRY)
    cache_entries.delete_entry(KEY)
    assert cache_entries.get_entry(KEY) is None


def test_an_entry_has_the_download_key_and_the_timeout(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = 77
    calls: list[Any] = []
    monkeypatch.setattr(caches["default"], "set", lambda *args: calls.append(args))
    cache_entries.set_entry(ENTRY)
    assert calls == [(KEY, ENTRY, 77)]


def test_every_error_is_a_miss(broken: type[BrokenCache]) -> None:
    cache_entries.set_entry(ENTRY)
    cache_entries.delete_entry(KEY)
    assert cache_entries.get_entry(KEY) is None
    assert cache_entries.get_version("collection") is None
    cache_entries.renew_version("collection")
    cache_entries.add_version("collection", "abc")


def test_a_cache_that_fails_is_left_alone_and_logged_once(
    broken: type[BrokenCache], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        cache_entries.get_entry(KEY)
    assert broken.calls == 1
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


def test_an_outage_is_logged_once_however_long_it_lasts(
    broken: type[BrokenCache],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit_breaker, "RECOVERY_SECONDS", 0.0)
    monkeypatch.setattr(circuit_breaker, "BACKOFF", 0)
    for _ in range(5):
        assert cache_entries.is_shared() is False
        cache_entries.get_version("collection")
        cache_entries.get_entry(KEY)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_cache_in_the_database_stays_out_of_a_callers_transaction(settings: Any) -> None:
    # Its rows would be locked, and unseen, until the caller commits.
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "database"
    with transaction.atomic():
        cache_entries.set_entry(ENTRY)
        assert cache_entries.get_entry(KEY) is None
    assert cache_entries.get_entry(KEY) is None
    cache_entries.set_entry(ENTRY)
    assert cache_entries.get_entry(KEY) == ENTRY


def test_a_cache_that_recovers_is_used_again(
    broken: type[BrokenCache], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "RECOVERY_SECONDS", 0.0)
    monkeypatch.setattr(circuit_breaker, "BACKOFF", 0)
    cache_entries.get_entry(KEY)
    monkeypatch.setattr(broken, "get_many", BaseCache.get_many)
    monkeypatch.setattr(broken, "get", LocMemCache.get)
    monkeypatch.setattr(broken, "set", LocMemCache.set)
    cache_entries.set_entry(ENTRY)
    assert cache_entries.get_entry(KEY) == ENTRY


@pytest.mark.parametrize(
    ("alias", "shared"),
    [("default", False), ("dummy", False), ("database", True), ("file", True), ("redis", True)],
)
def test_only_a_cache_that_other_processes_see_is_shared(
    alias: str, shared: bool, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = alias
    assert cache_entries.is_shared() is shared


class TestVersions:
    def test_a_new_one_each_time(self, shared_cache: str) -> None:
        cache_entries.renew_version("collection")
        first = cache_entries.get_version("collection")
        cache_entries.renew_version("collection")
        assert first != cache_entries.get_version("collection")

    def test_a_readers_token_does_not_replace_a_writers(self, shared_cache: str) -> None:
        cache_entries.add_version("collection", "abc")
        assert cache_entries.get_version("collection") == "abc"
        cache_entries.renew_version("collection")
        written = cache_entries.get_version("collection")
        cache_entries.add_version("collection", "abc")
        assert cache_entries.get_version("collection") == written

    def test_many_are_read_together(self, shared_cache: str) -> None:
        keys = [f"collection{number}" for number in range(cache_entries.VERSIONS_AT_ONCE + 2)]
        written = [keys[0], keys[1], keys[-1]]
        for key in written:
            cache_entries.renew_version(key)
        tokens = {key: cache_entries.get_version(key) for key in written}
        assert cache_entries.get_versions(keys) == tokens

    def test_those_of_a_cache_that_is_not_shared_are_not_read(self) -> None:
        cache_entries.renew_version("collection")
        assert cache_entries.get_versions(["collection"]) == {}

    def test_a_check_holds_for_seconds(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timeouts: list[Any] = []
        monkeypatch.setattr(caches["file"], "set", lambda *args: timeouts.append(args[2]))
        for seconds in (12.4, 0.2, -5):
            cache_entries.record_check("collection", "abc.def", "abc", seconds)
        assert timeouts == [12, 1, 1]

    @pytest.mark.parametrize("keys", [["collection"], ["collection", "team"]])
    def test_a_check_is_of_one_version_and_one_token(
        self, shared_cache: str, keys: list[str]
    ) -> None:
        # A token that is missing is set.
        token, checked, _ = cache_entries.get_version_and_check(keys, "abc.def")
        assert (token == cache_entries.get_version("collection"), checked) == (len(keys) < 2, False)
        cache_entries.record_check("collection", "abc.def", token, 60)
        assert cache_entries.get_version_and_check(keys, "abc.def") == (token, True, {})
        assert cache_entries.get_version_and_check(keys, "abc.xyz") == (token, False, {})
        assert not cache_entries.get_version_and_check(["other"], "abc.def")[1]
        cache_entries.renew_version(keys[-1])
        assert not cache_entries.get_version_and_check(keys, "abc.def")[1]

    @pytest.mark.parametrize("keys", [["collection"], ["collection", "team"]])
    @pytest.mark.parametrize(
        ("age", "suffices"),
        [(-3600, False), (-2, False), (0, True), (13, True), (16, False), (3600, False)],
    )
    def test_a_page_with_a_young_token_needs_no_check(
        self,
        shared_cache: str,
        keys: list[str],
        age: int,
        suffices: bool,
        round_trips: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        now = 1_800_000_000.5
        monkeypatch.setattr(cache_entries, "time", SimpleNamespace(time=lambda: now - age))
        cache_entries.renew_versions(keys)
        monkeypatch.setattr(cache_entries, "time", SimpleNamespace(time=lambda: now))
        token, checked, _ = cache_entries.get_version_and_check(keys, "")
        assert token is not None
        assert not checked
        assert cache_entries.get_version_and_check(keys, f"{token}.abc")[1] is suffices
        assert not cache_entries.get_version_and_check(keys, f"{token[:-1]}.abc")[1]
        round_trips.clear()
        cache_entries.record_check("collection", f"{token}.abc", token, 60)
        assert round_trips == ([] if suffices else ["set"])
        assert cache_entries.get_version_and_check(keys, f"{token}.abc")[1]

    def test_a_token_of_an_earlier_release_does_not_suffice(self, shared_cache: str) -> None:
        for token in ("xyz", "y" * 16, "0123456789abcdef"):
            caches[shared_cache].set("collection:version", token)
            assert not cache_entries.get_version_and_check(["collection"], f"{token}.abc")[1]

    def test_entries_and_marks_are_read_with_the_token(
        self, shared_cache: str, round_trips: list[str]
    ) -> None:
        other = "other"
        cache_entries.set_entry(ENTRY)
        cache_entries.mark_cleared([other])
        round_trips.clear()
        *_, early = cache_entries.get_version_and_check(["collection"], "", [KEY, other])
        expected = ({KEY: ENTRY}, {other})
        assert cache_entries.get_entries_and_marks([KEY], [KEY, other], early) == expected
        assert round_trips == ["get_many", "add"]
        # One that was not read is not taken for one that is missing.
        cache_entries.mark_cleared(["third"])
        assert cache_entries.get_entries_and_marks([], ["third"], early) == ({}, {"third"})

    def test_the_versions_of_a_page_take_few_entries_of_the_cache(self) -> None:
        keys = {cache_entries._checked_key("collection", f"{n}.a") for n in range(1000)}
        assert len(keys) == cache_entries.CHECKS

    def test_a_token_that_could_not_be_renewed_is_renewed_later(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit_breaker, "RECOVERY_SECONDS", 0.0)
        monkeypatch.setattr(circuit_breaker, "BACKOFF", 0)
        cache_entries.renew_version("collection")
        before = cache_entries.get_version("collection")

        def fail(*args: Any) -> None:
            raise ConnectionError

        with monkeypatch.context() as outage:
            outage.setattr(caches["file"], "set", fail)
            cache_entries.renew_version("collection")
            assert cache_entries.get_version("collection") == before
        # Any call that reaches the cache will do.
        cache_entries.touch_entry(KEY)
        assert cache_entries.get_version("collection") not in (before, None)

    def test_many_are_renewed_in_one_round_trip(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache_entries, "VERSIONS_AT_ONCE", 90)
        keys = [f"collection {number}" for number in range(200)]
        many: list[int] = []
        real = caches["file"].set_many

        def set_many(data: dict[str, Any], *args: Any) -> list[str]:
            many.append(len(data))
            return real(data, *args)

        monkeypatch.setattr(caches["file"], "set_many", set_many)
        cache_entries.renew_versions(keys)
        assert len(many) == 3
        assert sum(many) == 200
        assert len(set(cache_entries.get_versions(keys).values())) == 200
        assert not cache_entries._unrenewed["file"]

    def test_those_that_could_not_be_renewed_are_renewed_later(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit_breaker, "RECOVERY_SECONDS", 0.0)
        monkeypatch.setattr(circuit_breaker, "BACKOFF", 0)
        keys = ["first", "second"]
        cache_entries.renew_versions(keys)
        before = cache_entries.get_versions(keys)
        with monkeypatch.context() as outage:
            outage.setattr(caches["file"], "set_many", lambda data, *args: list(data))
            cache_entries.renew_versions(keys)
        cache_entries.touch_entry(KEY)
        assert set(before.values()).isdisjoint(cache_entries.get_versions(keys).values())

    def test_a_value_of_0_6_under_the_key_is_a_miss_and_stays(self, shared_cache: str) -> None:
        # The list of a user called "1", which has yet to be adopted.
        caches["file"].set("async_downloads/1", [KEY])
        assert cache_entries.get_version("async_downloads/1") is None
        cache_entries.renew_version("async_downloads/1")
        cache_entries.add_version("async_downloads/1", "abc")
        assert caches["file"].get("async_downloads/1") == [KEY]

    @pytest.mark.parametrize("key", ["async_downloads/" + "ü" * 300, "with spaces", "x" * 500])
    def test_keys_are_valid_on_memcached(
        self, key: str, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used: list[str] = []
        monkeypatch.setattr(caches["file"], "set", lambda *args: used.append(args[0]))
        cache_entries.renew_version(key)
        assert len(used[0]) <= 200
        assert used[0].isascii()
        assert " " not in used[0]


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (60.0, 60), (MAX_SECONDS, 365 * 24 * 60 * 60)]
)
def test_memcached_accepts_the_timeout_of_each_lifetime(
    timeout: float | None,
    seconds: float | None,
    shared_cache: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Any] = []
    file = caches["file"]
    monkeypatch.setattr(file, "set", lambda key, value, timeout: used.append(timeout))
    monkeypatch.setattr(file, "set_many", lambda values, timeout: used.append(timeout) or [])
    cache_entries.set_entry(ENTRY, timeout)
    cache_entries.set_entries([ENTRY], timeout)
    assert used == [seconds, seconds]


@pytest.mark.django_db(transaction=True)
def test_entries_and_marks_come_in_one_answer(any_cache: str) -> None:
    if any_cache in {"default", "dummy"}:
        assert not cache_entries.mark_cleared([KEY]), "No other process would see it."
        return
    other = KEY.replace("0b", "0c")
    cache_entries.set_entry(ENTRY)
    cache_entries.mark_cleared([other])
    assert cache_entries.get_entries_and_marks([KEY], [KEY, other]) == ({KEY: ENTRY}, {other})
    assert (cache_entries.is_cleared(KEY), cache_entries.is_cleared(other)) == (False, True)


def test_without_keys_the_cache_is_not_called(broken: type[BrokenCache]) -> None:
    assert cache_entries.get_entries_and_marks([], []) == ({}, set())
    assert broken.calls == 0


def test_a_cache_that_fails_marks_nothing_and_delays_no_clean_up(broken: type[BrokenCache]) -> None:
    assert not cache_entries.mark_cleared([KEY])
    assert not cache_entries.is_cleared(KEY)
    assert cache_entries.start_job("here")
    cache_entries.renew_job("here")
    cache_entries.end_job("here")


@pytest.mark.parametrize("uses_zones", [True, False])
def test_a_stamp_counts_only_if_it_can_be_compared_with_now(
    uses_zones: bool, settings: Any
) -> None:
    settings.USE_TZ = uses_zones
    assert (cache_entries.stamp_of(ENTRY, now=timezone.now()) is not None) == uses_zones
    naive: DownloadEntry = {**ENTRY, "stamp": "2026-01-31T09:05:01"}
    assert (cache_entries.stamp_of(naive, now=timezone.now()) is None) == uses_zones
