"""django-async-downloads 0.6.0, in a virtual environment of its own."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sources
from django.conf import settings
from django.core.cache import cache as store

from async_downloads import cache, tasks, views
from async_downloads.shortcuts import queryset_to_csv
from subjects import both
from subjects.crowds import crowd_of
from subjects.polls import polls, somebody

Body = Callable[[], int | None]


def _key() -> str:
    return cache.init_download(somebody(), "orders.csv")[1]


def _complete(key: str) -> None:
    download = store.get(key)
    assert (download["complete"], download["errors"]) == (True, ""), download


def rows(size: int) -> Body:
    key = _key()

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        _complete(key)

    return body


def row_function(size: int) -> Body:
    key = _key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.orders(size), sources.row)
        _complete(key)

    return body


def columns(size: int) -> Body:
    key = _key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.columns(size), lambda row: row)
        _complete(key)

    return body


progress = both.progress
init = both.init


def _listed(size: int) -> Any:
    user = somebody(f"poll-{uuid.uuid4()}")
    for index in range(size):
        _, key = cache.init_download(user, f"orders{index}.csv")
        if index:
            cache.save_download(key, [["a"]])
    cache.set_percentage(key, 10)
    return user


def poll_unchanged(size: int) -> Body:
    return polls(_listed(size), views.ajax_update, dict)


#: It answers the same, whether something has changed or not.
poll_changed = poll_unchanged


def cleanup(size: int) -> Body:
    for _ in range(size):
        path = Path(settings.MEDIA_ROOT, f"downloads/{uuid.uuid4()}/orders.csv")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a\n" * 500)

    def body() -> int:
        tasks.cleanup_expired_downloads()
        assert not any(Path(settings.MEDIA_ROOT, "downloads").iterdir())
        return size

    return body


def _crowd(size: int) -> list[tuple[Any, dict[str, str]]]:
    """Return people with 20 downloads each, and what their pages ask with."""
    found = []
    for number in range(size):
        user = somebody(f"crowd-{number}")
        store.delete(cache.get_collection_key(user))
        for index in range(20):
            _, key = cache.init_download(user, f"orders{index}.csv")
        cache.set_percentage(key, 10)
        found.append((user, {}))
    return found


def crowd(size: int) -> Body:
    return crowd_of(_crowd(size))
