"""This version of the package."""

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
from subjects import both
from subjects.crowds import crowd_of
from subjects.polls import polls, user_named

Body = Callable[[], int | None]

HTMX = {"HX-Request": "true"}


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


def xlsx(size: int) -> Body:
    key = both.new_key("orders.xlsx")

    def body() -> None:
        cache.save_download(key, sources.generated(size))
        both.check_complete(key)

    return body


def _version(user: Any) -> str:
    from django.test import RequestFactory

    request = RequestFactory().get("/", headers=HTMX)
    request.user = user
    page = views.ajax_update(request).content.decode()
    match = re.search(r'"version": "([^"]+)"', page)
    assert match
    return match[1]


def poll_unchanged(size: int) -> Body:
    user = both.user_with_downloads(size)
    version = _version(user)
    return polls(user, views.ajax_update, lambda: {"data": {"version": version}, "headers": HTMX})


def poll_changed(size: int) -> Body:
    user = both.user_with_downloads(size)
    # The answer to a page with another version contains the whole list.
    stale = {"version": "0.0"}
    return polls(user, views.ajax_update, lambda: {"data": stale, "headers": HTMX})


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


def crowd(size: int) -> Body:
    people: list[tuple[Any, dict[str, str]]] = []
    for number in range(size):
        user = user_named(f"crowd-{number}")
        Download.objects.for_user(user.pk).delete()
        both.begin_twenty(user)
        people.append((user, {"version": _version(user)}))
    return crowd_of(people)


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
