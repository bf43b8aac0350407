"""This version of the package."""

import os
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sources
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache as django_cache
from django.db import connection
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from async_downloads import cache, tasks
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import resolve
from async_downloads.shortcuts import start_download, start_downloads
from subjects import both
from subjects.exchanges import Browser, Exchange
from subjects.people import Person, user_named

Body = Callable[[], int | None]

#: Where a page polls.
POLL = reverse("async_downloads:ajax_update")

rows = both.rows
row_function = both.row_function
progress = both.progress
init = both.init


def columns(size: int) -> Body:
    key = both.new_key()

    def body() -> None:
        cache.save_download(key, sources.columns(size))
        both.check_complete(key)

    return body


def async_rows(size: int) -> Body:
    key = both.new_key()

    def body() -> None:
        cache.save_download(key, sources.generated_async(size))
        both.check_complete(key)

    return body


def labels(size: int) -> Body:
    key = both.new_key()

    def body() -> None:
        cache.save_download(key, sources.columns(size), labels=True)
        both.check_complete(key)

    return body


def _typed(size: int, format_name: str) -> Body:
    key = both.new_key()

    def body() -> None:
        cache.save_download(key, sources.typed(size), format=format_name, header=sources.COLUMNS)
        both.check_complete(key)

    return body


def xlsx(size: int) -> Body:
    return _typed(size, "xlsx")


def ods(size: int) -> Body:
    return _typed(size, "ods")


def parquet(size: int) -> Body:
    return _typed(size, "parquet")


def jsonl(size: int) -> Body:
    return _typed(size, "jsonl")


def tsv(size: int) -> Body:
    return _typed(size, "tsv")


def csv_excel(size: int) -> Body:
    return _typed(size, "csv-excel")


def closed_poll(browser: Browser) -> str:
    """Return the URL that a page with a closed menu polls."""
    return shown(f"{POLL}?summary=1&version=&since=", browser.get("/page/"))


def open_poll(browser: Browser) -> str:
    """Return the URL that a page with an open menu polls, once the list has been opened."""
    return shown(f"{POLL}?version=&since=", browser.get(POLL))


def shown(url: str, markup: str) -> str:
    """Return the URL of the next poll, which says what the page shows since a response."""
    for name, value in re.findall(r'data-(version|since)="([^"]+)"', markup):
        url = re.sub(rf"(?<={name}=)[^&]*", quote(value), url)
    return url


def exchanges() -> dict[str, Exchange]:
    """Return page views and polls, with different numbers of downloads."""
    anyone = Browser(user_named("page-0"))
    floors = ["bare", "key", "query"]
    if os.environ["BENCH_CACHE"] == "redis":
        floors.append("bytes")
    made = {name: Exchange(anyone, f"/{name}/") for name in floors}
    django_cache.set("bench", "a short text", None)
    for size in (0, 1, 20, 100):
        user = user_named(f"page-{size}")
        both.downloads_of(user, size)
        made[f"page_{size}"] = Exchange(Browser(user), "/page/")
    for size in (1, 100):
        user = user_named(f"poll-{size}")
        *_, running = both.downloads_of(user, size, running=1)
        change = both.progress_of(running)
        made["key_changed"] = Exchange(anyone, "/key/", change=change)
        made["least_list"] = Exchange(anyone, "/least_list/", change=change)
        made[f"page_running_{size}"] = Exchange(Browser(user), "/page/")
        made[f"page_changed_{size}"] = Exchange(Browser(user), "/page/", change=change)
        browser = Browser(user, HTTP_HX_REQUEST="true")
        for kind, url in (("closed", closed_poll(browser)), ("open", open_poll(browser))):
            made[f"{kind}_unchanged_{size}"] = Exchange(browser, url, next_url=shown)
            made[f"{kind}_changed_{size}"] = Exchange(browser, url, change=change, next_url=shown)
        client = Browser(user, HTTP_ACCEPT="application/json")
        made[f"json_changed_{size}"] = Exchange(client, f"{POLL}?limit=20&html=0", change=change)
    return made


def cleanup(size: int) -> Body:
    user = user_named("cleanup")
    owner = resolve(user)
    collection, _ = DownloadCollection.objects.get_or_create(
        pk=owner.collection_id, defaults={"user": user, "key": owner.collection_key}
    )
    past = timezone.now() - timedelta(days=1)
    downloads = []
    for _ in range(size):
        key = uuid.uuid4()
        path = f"downloads/{key}/orders.csv"
        Path(settings.MEDIA_ROOT, path).parent.mkdir(parents=True)
        Path(settings.MEDIA_ROOT, path).write_bytes(b"a\n" * 500)
        downloads.append(
            Download(
                pk=key,
                collection=collection,
                name="Orders",
                filename="orders.csv",
                filepath=path,
                state="complete",
                percentage=100,
                size=1000,
                heard_at=past,
                expires_at=past,
            )
        )
    Download.objects.bulk_create(downloads, batch_size=1000)

    def body() -> int:
        tasks.cleanup_expired_downloads()
        assert not Download.objects.filter(collection=collection).exists()
        return size

    return body


def many(size: int) -> Body:
    people = _people(size)

    def body() -> None:
        outcome = start_downloads("sources.export", people, "orders.csv", "Orders")
        assert len(outcome.started) == size

    return body


def each(size: int) -> Body:
    people = _people(size)

    def body() -> None:
        for user in people.iterator():
            start_download("sources.export", user, "orders.csv", "Orders", join=True)

    return body


def _people(size: int) -> QuerySet[Any]:
    """Make users without collections, and empty the queue."""
    from django_q.models import OrmQ

    OrmQ.objects.all().delete()
    users, run = get_user_model(), uuid.uuid4().hex
    users.objects.bulk_create(users(username=f"{run}-{number}") for number in range(size))
    return users.objects.filter(username__startswith=run)


def crowd(size: int) -> list[Person]:
    """Make users with one running download each, whose menus are closed."""
    people = []
    for number in range(size):
        user = user_named(f"crowd-{number}")
        Download.objects.for_user(user.pk).delete()
        (key,) = both.downloads_of(user, 1, running=1)
        browser = Browser(user)
        people.append(Person(browser.cookies, closed_poll(browser), key))
    return people


def prepare(size: int) -> Body:
    """Make the tables, and this many orders by SQL."""
    from django.core.management import call_command

    def body() -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        get_user_model().objects.get_or_create(username="ada")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM orders_order")
            if cursor.fetchone()[0] >= size:
                return
            cursor.execute("DELETE FROM orders_order")
            cursor.execute("DELETE FROM orders_customer")
            for statement in FILL[connection.vendor]:
                cursor.execute(statement.format(size=size))

    return body


_NUMBERS = (
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {size}) "
)
_ORDER = (
    "INSERT INTO orders_order (id, reference, placed_at, customer_id, product, quantity, "
    "unit_price, status) "
)

FILL = {
    "sqlite": [
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        "WHERE n < 1000) INSERT INTO orders_customer (id, name) "
        "SELECT n, 'Customer, No. ' || n FROM numbers",
        _ORDER.replace("INSERT", _NUMBERS + "INSERT")
        + "SELECT n, printf('R%07d', n), datetime('2026-01-01', '+' || n || ' seconds') || '.' "
        "|| printf('%06d', n * 7 % 1000000), 1 + n % 1000, 'Teapot no. ' || (n % 50), "
        "1 + n % 9, (n % 10000) / 100.0, CASE n % 3 WHEN 0 THEN 'new' ELSE 'shipped' END "
        "FROM numbers",
    ],
    "postgresql": [
        "INSERT INTO orders_customer (id, name) "
        "SELECT n, 'Customer, No. ' || n FROM generate_series(1, 1000) n",
        _ORDER + "SELECT n, 'R' || lpad(n::text, 7, '0'), "
        "'2026-01-01T00:00:00Z'::timestamptz + n * interval '1.000007 second', 1 + n % 1000, "
        "'Teapot no. ' || (n % 50), 1 + n % 9, (n % 10000) / 100.0, "
        "CASE n % 3 WHEN 0 THEN 'new' ELSE 'shipped' END FROM generate_series(1, {size}) n",
        "ANALYZE orders_order",
    ],
}
