"""Django's Redis backend makes a client for each call; the package keeps one for each pool."""

from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache

from async_downloads.store.redis_clients import with_kept_clients


@pytest.fixture
def redis() -> RedisCache:
    """Return a cache that connects only when it is called."""
    return RedisCache("redis://127.0.0.1:1/0", {"KEY_PREFIX": "kept", "OPTIONS": {"db": 3}})


@pytest.mark.django_db
def test_each_cache_does_the_same(any_cache: str) -> None:
    site = caches[any_cache]
    kept = with_kept_clients(site)
    for cache, other in ((kept, site), (site, kept)):
        cache.set_many({"a": {"number": 1}, "b": ("text",)}, 60)
        assert other.get_many(["a", "b", "c"]) == cache.get_many(["a", "b", "c"])
        assert other.add("a", 2) == cache.add("a", 2)
        other.delete("a")
        assert cache.get("a", "none") == other.get("a", "none")


def test_a_client_is_made_once_and_uses_the_pool_of_the_site(redis: RedisCache) -> None:
    kept: Any = with_kept_clients(redis)
    site: Any = redis
    assert with_kept_clients(redis) is kept
    client = kept._cache.get_client("key")
    assert kept._cache.get_client("other", write=True) is client
    assert client.connection_pool is site._cache.get_client("key").connection_pool
    assert site._cache.get_client("key") is not site._cache.get_client("key")


def test_each_replica_has_a_client_of_its_own() -> None:
    servers = [f"redis://127.0.0.1:{port}/0" for port in (1, 2)]
    kept: Any = with_kept_clients(RedisCache(servers, {}))
    writer, reader = (kept._cache.get_client("key", write=write) for write in (True, False))
    ports = [client.connection_pool.connection_kwargs["port"] for client in (writer, reader)]
    assert ports == [1, 2]


def test_a_backend_of_a_site_is_used_as_it_is() -> None:
    class Sharded(RedisCache):
        pass

    cache: BaseCache = Sharded("redis://127.0.0.1:1/0", {})
    assert with_kept_clients(cache) is cache
    for name in ("default", "dummy", "file"):
        assert with_kept_clients(caches[name]) is caches[name]
