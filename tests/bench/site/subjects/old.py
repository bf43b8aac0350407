"""django-async-downloads 0.6.0, in its own virtual environment."""

import uuid
from collections.abc import Callable
from pathlib import Path

import sources
from django.conf import settings
from django.core.cache import cache as entries
from django.urls import reverse

from async_downloads import cache, tasks
from async_downloads.shortcuts import queryset_to_csv
from subjects import both
from subjects.exchanges import Browser, Exchange
from subjects.people import Person, session_cookie, user_named

Body = Callable[[], int | None]

#: The poll of the list; the page sends nothing that says what it shows.
POLL = reverse("async_downloads:ajax_update")

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


def exchanges() -> dict[str, Exchange]:
    """Return the same requests as of this version; a poll is the same for all purposes."""
    made = {"page": Exchange(Browser(user_named("page")), "/page/")}
    for size in (1, 100):
        user = user_named(f"poll-{size}")
        *_, running = both.downloads_of(user, size, running=1)
        change = both.progress_of(running)
        made[f"poll_{size}"] = Exchange(Browser(user), POLL, change=change)
    return made


def crowd(size: int) -> list[Person]:
    """Make users with one running download each."""
    people = []
    for number in range(size):
        user = user_named(f"crowd-{number}")
        entries.delete(cache.get_collection_key(user))
        (key,) = both.downloads_of(user, 1, running=1)
        people.append(Person(session_cookie(user), POLL, key))
    return people
