"""This package."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import sources
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from async_downloads import cache, tasks, views
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import resolve
from async_downloads.shortcuts import queryset_to_csv
from subjects import both
from subjects.crowds import crowd_of
from subjects.polls import polls, somebody

Body = Callable[[], int | None]

HTMX = {"HX-Request": "true"}


def _key(filename: str = "orders.csv") -> str:
    return cache.init_download(somebody(), filename)[1]


def _complete(key: str) -> None:
    download = Download.objects.get(pk=key)
    assert download.complete, download.error_detail


def rows(size: int) -> Body:
    key = _key()

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        _complete(key)

    return body


def columns(size: int) -> Body:
    key = _key()

    def body() -> None:
        cache.save_download(key, sources.columns(size))
        _complete(key)

    return body


def row_function(size: int) -> Body:
    key = _key()

    def body() -> None:
        queryset_to_csv(key, sources.COLUMNS, sources.orders(size), sources.row)
        _complete(key)

    return body


def xlsx(size: int) -> Body:
    key = _key("orders.xlsx")

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        _complete(key)

    return body


progress = both.progress
init = both.init


def _listed(size: int) -> tuple[Any, str]:
    """Return somebody with so many downloads, one of them running, and their page's version."""
    user = somebody(f"poll-{uuid.uuid4()}")
    for index in range(size):
        _, key = cache.init_download(user, f"orders{index}.csv")
        if index:
            cache.save_download(key, [["a"]])
    cache.set_percentage(key, 10)
    return user, key


def _version(user: Any) -> str:
    from django.test import RequestFactory

    request = RequestFactory().get("/", headers=HTMX)
    request.user = user
    page = views.ajax_update(request).content.decode()
    found = re.search(r'"version": "([^"]+)"', page)
    assert found
    return found[1]


def poll_unchanged(size: int) -> Body:
    user, _ = _listed(size)
    version = _version(user)
    return polls(user, views.ajax_update, lambda: {"data": {"version": version}, "headers": HTMX})


def poll_changed(size: int) -> Body:
    user, _ = _listed(size)
    # A page that shows something else has to be given everything.
    stale = {"version": "0.0"}
    return polls(user, views.ajax_update, lambda: {"data": stale, "headers": HTMX})


def cleanup(size: int) -> Body:
    owner = resolve(somebody("cleanup"))
    collection, _ = DownloadCollection.objects.get_or_create(
        pk=owner.collection_id, defaults={"user": somebody("cleanup"), "key": owner.collection_key}
    )
    past = timezone.now() - timedelta(days=1)
    made = []
    for _ in range(size):
        key = uuid.uuid4()
        path = f"downloads/{key}/orders.csv"
        Path(settings.MEDIA_ROOT, path).parent.mkdir(parents=True)
        Path(settings.MEDIA_ROOT, path).write_bytes(b"a\n" * 500)
        made.append(
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
    Download.objects.bulk_create(made, batch_size=1000)

    def body() -> int:
        tasks.cleanup_expired_downloads()
        assert not Download.objects.filter(collection=collection).exists()
        return size

    return body


def _crowd(size: int) -> list[tuple[Any, dict[str, str]]]:
    """Return people with 20 downloads each, and what their pages ask with."""
    found = []
    for number in range(size):
        user = somebody(f"crowd-{number}")
        Download.objects.for_user(user.pk).delete()
        for index in range(20):
            _, key = cache.init_download(user, f"orders{index}.csv")
        cache.set_percentage(key, 10)
        found.append((user, {"version": _version(user)}))
    return found


def crowd(size: int) -> Body:
    return crowd_of(_crowd(size))


def prepare(size: int) -> Body:
    """Make the tables and so many orders, all in the database."""
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
