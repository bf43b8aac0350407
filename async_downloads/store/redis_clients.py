"""Keep the clients of Django's Redis cache.

Django makes a client of the Redis library for each call, and that takes longer than the call
itself: the client fills a table of all commands. The clients are thread-safe, and take their
connections from the same pool as Django's. Django also looks at each character of a key, for those
that Memcached would refuse: ours have none.
"""

from copy import copy
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

__all__ = ["with_kept_clients"]

#: What is used of Django's client, beside its methods.
_USED: Final = ("_client", "_get_connection_pool")

_kept: Final[WeakKeyDictionary[BaseCache, BaseCache]] = WeakKeyDictionary()


def with_kept_clients(cache: BaseCache) -> BaseCache:
    """Return a cache that does the same as this one, and makes no new client for each call.

    It is the same cache if it is not Django's own Redis backend. That one is not changed, as the
    site uses it, too.
    """
    if type(cache) is not RedisCache:
        return cache
    kept = _kept.get(cache)
    if kept is not None:
        return kept
    client = cache._cache
    # Another version of Django may have other internals.
    if type(client) is not RedisCacheClient or not all(hasattr(client, name) for name in _USED):
        return cache
    kept = copy(cache)
    kept._cache = _Clients(client)
    kept.make_and_validate_key = kept.make_key  # type: ignore[method-assign]
    _kept[cache] = kept
    return kept


class _Clients(RedisCacheClient):
    """What Django's Redis backend calls, with the servers and the pools of another one."""

    def __init__(self, original: Any) -> None:
        self.__dict__ = dict(vars(original))
        self._by_pool: dict[Any, Any] = {}

    def get_client(self, key: object = None, *, write: bool = False) -> Any:
        pool = self._get_connection_pool(write)  # type: ignore[attr-defined]
        client = self._by_pool.get(pool)
        if client is None:
            client = self._by_pool[pool] = self._client(  # type: ignore[attr-defined]
                connection_pool=pool
            )
        return client
