"""The admin's list of downloads on PostgreSQL: 1,000 rows beside 1,000,000.

It creates a database and drops it again. Django's test client requests the pages.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlunsplit

from tests import services

__all__ = ["run"]

ROWS: Final = (1_000, 1_000_000)

#: The requests of each page; the table shows the median.
REPEATS: Final = 5

LIST: Final = "/admin/async_downloads/download/"

#: A day with its share of a million downloads, one every four seconds.
DAY: Final = datetime.now(UTC) - timedelta(days=3)

PAGES: Final = {
    "default": LIST,
    "page 2": f"{LIST}?p=2",
    "page 10": f"{LIST}?p=10",
    "state: failed": f"{LIST}?state__exact=failed",
    "state: running": f"{LIST}?state__exact=running",
    "stalled": f"{LIST}?condition=stalled",
    "owner": f"{LIST}?owner=person1042",
    "last hour": f"{LIST}?age=hour",
    "over 100 MB": f"{LIST}?size=large",
    "one day": f"{LIST}?{DAY:timestamp__year=%Y&timestamp__month=%m&timestamp__day=%d}",
    "search, many": f"{LIST}?q=orders",
    "search, rare": f"{LIST}?q=needle",
    "search, none": f"{LIST}?q=nothing-has-this-name",
    "sorted by size": f"{LIST}?o=-4",
    "counts by state": f"{LIST}summary/",
    "collections": "/admin/async_downloads/downloadcollection/",
}

OWNERS: Final = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,
    is_staff, is_active, date_joined)
SELECT n, 'person' || n, '!', '', '', '', false, false, true, now()
FROM generate_series(1000, 1000 + %(owners)s) AS n;
INSERT INTO async_downloads_downloadcollection (id, user_id, label, key, created_at)
SELECT md5('collection' || id)::uuid, id, '', 'async_downloads/' || id, now()
FROM auth_user WHERE id >= 1000;
"""

#: Ninety per cent are complete, seven failed, and the rest pending, running or stalled.
DOWNLOADS: Final = """
INSERT INTO async_downloads_download (id, collection_id, name, filename, filepath, state,
    percentage, size, errors, error_detail, attempts, timestamp, heard_at, expires_at, fetch_count)
SELECT gen_random_uuid(), md5('collection' || (1000 + n %% %(owners)s))::uuid,
    CASE WHEN n = 500 THEN 'the needle' ELSE 'All orders of customer ' || n END,
    'orders_' || n || '.csv', 'downloads/' || n, state,
    CASE state WHEN 'complete' THEN 100 WHEN 'running' THEN n %% 100 ELSE 0 END,
    CASE state WHEN 'complete' THEN 1000 + (n %% 977) * 150000 END,
    CASE state WHEN 'failed' THEN 'Something went wrong.' ELSE '' END,
    CASE state WHEN 'failed' THEN repeat('Traceback, line by line. ', 40) ELSE '' END,
    1, now() - n * interval '4 seconds', now() - n * interval '4 seconds',
    now() + interval '1 day', n %% 3
FROM (SELECT n, CASE WHEN n %% 100 < 90 THEN 'complete' WHEN n %% 100 < 97 THEN 'failed'
    WHEN n %% 100 < 98 THEN 'pending' ELSE 'running' END AS state
    FROM generate_series(1, %(rows)s) AS n) AS generated;
"""


def run() -> None:
    """Print times, queries and the plan of the list, or that no PostgreSQL answers."""
    if not services.available("postgres"):
        print("Admin: skipped, no PostgreSQL answers.")
        return
    with database() as url:
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_DATABASE": "postgres",
            "TEST_POSTGRES_URL": url,
        }
        command = [sys.executable, "-m", "tests.bench.admin_list", "measure"]
        subprocess.run(command, env=env, check=True)


@contextmanager
def database() -> Iterator[str]:
    """Create an empty database, yield its URL, and drop it."""
    import psycopg

    server = services.url("postgres")
    name = f"async_downloads_bench_{os.getpid()}"
    with psycopg.connect(urlunsplit(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(server._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def measure() -> None:
    """Fill the database of the settings, first with few rows and then with many, and measure."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    figures = {}
    for rows in ROWS:
        fill(rows)
        figures[rows] = {name: page(path) for name, path in PAGES.items()}
    report(figures)


def fill(rows: int) -> None:
    """Replace all downloads by this many, of a tenth as many users."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE async_downloads_download, async_downloads_downloadcollection")
        cursor.execute("DELETE FROM auth_user WHERE id >= 1000")
        arguments = {"rows": rows, "owners": rows // 10}
        cursor.execute(OWNERS, arguments)
        cursor.execute(DOWNLOADS, arguments)
        cursor.execute("VACUUM ANALYZE")


def page(path: str) -> tuple[float, list[dict[str, str]]]:
    """Return the median seconds of a page, and its queries."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(superuser())
    client.get(path)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        response = client.get(path)
        times.append(time.perf_counter() - began)
        if response.status_code != 200:
            raise RuntimeError(f"{path} answered {response.status_code}")
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    return statistics.median(times), captured.captured_queries


def superuser() -> Any:
    """Return the user who views the pages."""
    from django.contrib.auth import get_user_model

    values = {"is_staff": True, "is_superuser": True}
    return get_user_model().objects.get_or_create(username="root", defaults=values)[0]


def report(figures: dict[int, dict[str, tuple[float, list[dict[str, str]]]]]) -> None:
    """Print the table, the queries of the default page, and the plan of the list."""
    few, many = ROWS
    print(f"\nThe admin's list, {few:,} and {many:,} downloads (median of {REPEATS}):")
    print(f"{'':<18}{few:>12,}{many:>14,}{'ratio':>8}{'queries':>9}")
    for name in PAGES:
        small, large = figures[few][name], figures[many][name]
        print(
            f"{name:<18}{small[0] * 1000:>9.0f} ms{large[0] * 1000:>11.0f} ms"
            f"{large[0] / small[0]:>8.1f}{len(large[1]):>9}"
        )
    queries = [query["sql"] for query in figures[many]["default"][1]]
    print("\nThe queries of the default page:")
    for sql in queries:
        print(f"- {abbreviated(sql)}")
    for title, mark in {"keys": "LIMIT 10001", "rows": '"filename"'}.items():
        print(f"\nThe plan of the {title}:")
        for line in plan(next(sql for sql in queries if mark in sql)):
            print(f"    {abbreviated(line)}")


def abbreviated(text: str) -> str:
    """Return a query or a line of a plan, with lists of keys shortened to the last key."""
    return re.sub(r"('?[0-9a-f-]{32,36}'?(::uuid)?, ?)+", "..., ", text)


def plan(sql: str) -> list[str]:
    """Return the plan of a query, with the time of each step."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}")
        return [line for (line,) in cursor.fetchall()]


if __name__ == "__main__":
    measure() if "measure" in sys.argv else run()
