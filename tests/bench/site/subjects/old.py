"""django-async-downloads 0.6.0, in its own virtual environment."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sources
from django.conf import settings
from django.core.cache import cache as entries

from async_downloads import cache, tasks, views
from async_downloads.shortcuts import queryset_to_csv
from subjects import both
from subjects.crowds import crowd_of
from subjects.polls import polls, user_named

Body = Callable[[], int | None]

rows = both.rows
row_function = both.row_function
progress = both.progress
init = both.init


def columns(size: int) -> Body:
    key = both.new_key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.columns(size), lambda row: row)
        both.check_complete(key)

    return body


def poll_unchanged(size: int) -> Body:
    return polls(both.user_with_downloads(size), views.ajax_update, dict)


#: The answer is the same, whether a download has changed or not.
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


def crowd(size: int) -> Body:
    people: list[tuple[Any, dict[str, str]]] = []
    for number in range(size):
        user = user_named(f"crowd-{number}")
        entries.delete(cache.get_collection_key(user))
        both.begin_twenty(user)
        people.append((user, {}))
    return crowd_of(people)
