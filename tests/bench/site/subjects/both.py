"""Cases that are the same code for both versions of the package."""

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import sources
from django.conf import settings

from async_downloads import cache
from async_downloads.shortcuts import queryset_to_csv
from subjects.people import user_named

Body = Callable[[], int | None]


def new_key(filename: str = "orders.csv") -> str:
    """Make a download, and return its key."""
    return cache.init_download(user_named(), filename)[1]


def check_complete(key: str) -> None:
    """Fail if a download is not complete."""
    if settings.OURS:
        from async_downloads.models import Download

        download = Download.objects.get(pk=key)
        assert download.complete, download.error_detail
    else:
        from django.core.cache import cache as entries

        entry = entries.get(key)
        assert (entry["complete"], entry["errors"]) == (True, ""), entry


def rows(size: int) -> Body:
    key = new_key()

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        check_complete(key)

    return body


def row_function(size: int) -> Body:
    key = new_key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.orders(size), sources.row)
        check_complete(key)

    return body


def progress(size: int) -> Body:
    key = new_key()

    def body() -> int:
        for index in range(size):
            cache.update_percentage(key, size, index)
        return size

    return body


def init(size: int) -> Body:
    user = user_named(f"init-{uuid.uuid4()}")

    def body() -> int:
        for _ in range(size):
            cache.init_download(user, "orders.csv")
        return size

    return body


def downloads_of(user: Any, size: int, *, running: int = 0) -> list[str]:
    """Make downloads of a user, the last of them running, and return their keys."""
    keys = []
    for index in range(size):
        _, key = cache.init_download(user, f"orders{index}.csv")
        if index < size - running:
            cache.save_download(key, [["a"]])
        else:
            cache.set_percentage(key, 1)
        keys.append(key)
    return keys


def progress_of(key: str) -> Callable[[], None]:
    """Return a function that reports the next percentage of a download, round and round."""
    percentages = itertools.cycle(range(1, 100))
    return lambda: cache.set_percentage(key, next(percentages))
