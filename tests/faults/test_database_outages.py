"""Database servers that are stopped and killed under a worker. Cases 51 and 52."""

import contextlib
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.celery_workers import CAREFUL, send, start_celery
from tests.faults.database_servers import DatabaseServer
from tests.faults.harness import NewSite, RedisServer, Site, eventually
from tests.faults.running import ends

STORAGES = {
    "default": {"BACKEND": "tests.faults.site.storages.SteeredStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

AWAY = "The database is away"

#: Works that have begun when the server goes, and need it when they go on.
WORKS = """
from functools import partial
from async_downloads import cache
from async_downloads.shortcuts import download_task
from async_downloads.executors.runner import supervise
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks, transactions
from tests.faults.site.crowd import crowd

keys = {keys!r}
SITE = "tests.faults.site."

def nothing(key):
    steering.started(key)
    steering.wait_for("go")

def late(work):
    def wait_and_work(key):
        nothing(key)
        return work(key)
    return wait_and_work

def queued(task):
    return lambda key: run_task(SITE + task, key)

works = {{
    "stored, plain": transactions.plain,
    "stored, by download_task": tasks.supervised["rows"],
    "stored, by run_task": queued("tasks.rows"),
    "writing rows": queued("tasks.steady"),
    "reading rows": queued("transactions.asking"),
    "failing": download_task(tasks.fail_late),
    "failing for people": late(lambda key: cache.set_error(key, transactions.TOLD)),
    "making no file": download_task(nothing),
    "handing on": lambda key: supervise(key, partial(nothing, key), makes_file=False),
    "claiming, plain": late(transactions.plain),
    "claiming, by run_task": late(queued("transactions.plain")),
    "claiming what is used up": late(queued("transactions.plain")),
}}
crowd({{name: (lambda name=name: works[name](keys[name])) for name in works}})
"""

#: For each of them the state that the row ends in, its attempts, and what is raised.
ENDS = {
    "stored, plain": ("complete", 1, ""),
    "stored, by download_task": ("complete", 1, ""),
    "stored, by run_task": ("complete", 1, ""),
    "writing rows": ("complete", 1, ""),
    "reading rows": ("failed", 1, ""),
    "failing": ("failed", 1, "LookupError"),
    "failing for people": ("failed", 0, ""),
    "making no file": ("failed", 1, ""),
    "handing on": ("pending", 0, ""),
    "claiming, plain": ("complete", 1, ""),
    "claiming, by run_task": ("complete", 1, ""),
    "claiming what is used up": ("failed", 3, ""),
}

#: What they leave if the server stays away.
LEFT = {
    "stored, plain": ("running", 1),
    "stored, by download_task": ("running", 1),
    "stored, by run_task": ("running", 1),
    "writing rows": ("running", 1),
    "reading rows": ("running", 1),
    "failing": ("running", 1),
    "failing for people": ("pending", 0),
    "making no file": ("running", 1),
    "handing on": ("running", 1),
    "claiming, plain": ("pending", 0),
    "claiming, by run_task": ("pending", 0),
    "claiming what is used up": ("pending", 3),
}


def begin(site: Site) -> tuple[dict[str, str], Any]:
    """Start all works in processes, and return their keys once all are where they wait."""
    site.go("hold")
    keys = dict(zip(ENDS, site.run(INIT).split(), strict=True))
    child = site.start(WORKS.format(keys=keys))
    stored = site.steering / "stored.log"
    eventually(
        lambda: stored.exists() and stored.read_text().count("\n") == 3,
        why="three stored files",
    )
    for name, key in keys.items():
        if name != "stored, plain":
            site.started(key)
    used_up = site.row(keys["claiming what is used up"])["id"]
    site.run(f"""
        from async_downloads.models import Download
        Download.objects.filter(pk={used_up!r}).update(attempts=3)
    """)
    return keys, child


INIT = f"""
from async_downloads import cache
for _ in range({len(ENDS)}):
    print(cache.init_download("ada", "orders.csv")[1])
"""


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_case_51_what_a_worker_has_to_record_waits_for_the_database(
    new_site: NewSite, database_server: DatabaseServer, way: str
) -> None:
    """Case 51: claims, failures and complete files meet an outage, and none of them is lost."""
    site = new_site(database_server.database, STORAGES=STORAGES)
    keys, child = begin(site)
    with child:
        getattr(database_server, way)()
        try:
            site.go("release")
            site.go()
            eventually(lambda: len(child.lines(AWAY)) >= len(keys), why="all that wait")
        finally:
            database_server.start()
        ended = ends(child)
    rows = {row["id"]: row for row in site.rows()}
    raised = {name: end.removeprefix("raised ") for name, end in ended.items()}
    seen = {
        name: (rows[key]["state"], rows[key]["attempts"], raised[name].replace("None", ""))
        for name, key in keys.items()
    }
    assert seen == ENDS, child.log
    for name, key in keys.items():
        complete = rows[key]["state"] == "complete"
        assert [path for path in site.files() if key in path] == [rows[key]["filepath"]] * complete
        assert bool(rows[key]["errors"]) == (rows[key]["state"] == "failed"), name


def test_case_51_what_could_not_be_recorded_is_raised_and_the_next_attempt_takes_over(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """Case 51: nothing returns as if all was well, and a second delivery makes one file."""
    site = new_site(
        database_server.database,
        STORAGES=STORAGES,
        ASYNC_DOWNLOADS_DATABASE_WAIT=0.2,
        ASYNC_DOWNLOADS_STALLED_AFTER=1,
    )
    keys, child = begin(site)
    with child:
        database_server.kill()
        try:
            site.go("release")
            site.go()
            ended = ends(child)
        finally:
            database_server.start()
    assert ended == dict.fromkeys(keys, "raised DownloadUnavailable"), child.log
    rows = {row["id"]: row for row in site.rows()}
    left = {name: (rows[key]["state"], rows[key]["attempts"]) for name, key in keys.items()}
    assert left == LEFT, child.log
    site.halt("hold")
    again = {name: key for name, key in keys.items() if name.startswith("stored")}
    site.run(f"""
        from async_downloads.tasks import run_task
        for key in {list(again.values())!r}:
            run_task("tests.faults.site.tasks.rows", key)
    """)
    for key in again.values():
        row = site.row(key)
        assert (row["state"], row["attempts"]) == ("complete", 2)
        assert [path for path in site.files() if key in path] == [row["filepath"]]


#: A claim, and a download that is claimed, when the test says go.
TWO = """
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks
from tests.faults.site.crowd import crowd
claiming, writing = {keys!r}

def claim(key):
    steering.wait_for("go")
    tasks.plain(key)

crowd({{
    claiming: lambda: claim(claiming),
    writing: lambda: run_task("tests.faults.site.tasks.silent", writing),
}})
"""


@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_case_51_a_primary_database_that_is_read_only_for_a_while_is_waited_for(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """Case 51: as after a failover, until the address leads to the new one."""
    site = new_site(database_server.database)
    keys = site.run(INIT).split()[:2]
    with site.start(TWO.format(keys=keys)) as child:
        site.started(keys[1])
        switch(database_server, "on")
        try:
            site.go()
            eventually(lambda: len(child.lines(AWAY)) == 2, why="two that wait")
        finally:
            switch(database_server, "off")
        assert ends(child) == dict.fromkeys(keys, "None")
    assert [site.row(key)["state"] for key in keys] == ["complete", "complete"]


def switch(server: DatabaseServer, way: str) -> None:
    """Let PostgreSQL refuse or take writes, also those of connections that are open."""
    with server.database.administration() as cursor:
        cursor.execute(f"ALTER SYSTEM SET default_transaction_read_only = {way}")
        cursor.execute("SELECT pg_reload_conf()")


def test_case_51_an_sqlite_that_is_locked_for_long_is_waited_for(new_site: NewSite) -> None:
    """Case 51: somebody else's transaction outlasts the time-out of its lock."""
    site = new_site("sqlite")
    database = site.settings["DATABASES"]["default"]
    hasty = database | {"OPTIONS": database["OPTIONS"] | {"timeout": 0.1}}
    keys = site.run(INIT).split()[:2]
    with site.start(TWO.format(keys=keys), DATABASES={"default": hasty}) as child:
        site.started(keys[1])
        with contextlib.closing(site.database.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            site.go()
            eventually(lambda: len(child.lines(AWAY)) == 2, why="two that wait")
        assert ends(child) == dict.fromkeys(keys, "None")
    assert [site.row(key)["state"] for key in keys] == ["complete", "complete"]


# django-q2


@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_case_51_an_export_of_django_q2_outlasts_an_outage_of_its_own_queue(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """Case 51: the queue is a table of the database that is away."""
    site = new_site(database_server.database, STORAGES=STORAGES)
    site.go("hold")
    key = site.begin("plain")
    with site.cluster() as cluster:
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        database_server.stop()
        try:
            site.go("release")
            eventually(lambda: cluster.lines(AWAY), why="a worker that waits")
        finally:
            database_server.start()
        row = site.until(key, state="complete", attempts=1)
    assert site.files() == [row["filepath"]]


# Celery

FORTY = 40

INIT_FORTY = INIT.replace(f"range({len(ENDS)})", f"range({FORTY})")

needs_celery = pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")


@needs_celery
@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_case_52_forty_exports_that_wait_under_celery_outlast_an_outage(
    new_site: NewSite, database_server: DatabaseServer, redis_server: RedisServer
) -> None:
    """Case 52: the claims of what is delivered meanwhile wait, and all are built."""
    site = new_site(
        database_server.database,
        CELERY_BROKER=redis_server.url,
        CELERY_TASK_OPTIONS=CAREFUL,
    )
    keys = site.run(INIT_FORTY).split()
    with start_celery(site, processes=2) as worker:
        database_server.stop()
        try:
            send(site, "plain", *keys)
            eventually(lambda: len(worker.lines(AWAY)) >= 2, why="claims that wait")
        finally:
            database_server.start()
        eventually(lambda: complete(site) == FORTY, why="all forty")
    assert {row["attempts"] for row in site.rows()} == {1}
    assert len(site.files()) == FORTY


@needs_celery
@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_case_52_what_was_not_recorded_in_time_is_tried_again_by_celery(
    new_site: NewSite, database_server: DatabaseServer, redis_server: RedisServer
) -> None:
    """Case 52: a claim and a complete file meet an outage that lasts longer than they wait."""
    site = new_site(
        database_server.database,
        STORAGES=STORAGES,
        CELERY_BROKER=redis_server.url,
        CELERY_TASK_OPTIONS=CAREFUL,
        ASYNC_DOWNLOADS_DATABASE_WAIT=0,
        ASYNC_DOWNLOADS_STALLED_AFTER=1,
    )
    stored, claimed = site.run(INIT).split()[:2]
    site.go("hold")
    with start_celery(site, processes=2) as worker:
        send(site, "plain", stored)
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        site.halt("hold")
        database_server.stop()
        try:
            send(site, "plain", claimed)
            site.go("release")
            eventually(lambda: len(worker.lines("Retry in")) >= 2, why="two that are retried")
        finally:
            database_server.start()
        site.until(claimed, state="complete", attempts=1)
        row = site.until(stored, state="complete", attempts=2)
    assert [path for path in site.files() if stored in path] == [row["filepath"]]


def complete(site: Site) -> int:
    query = "SELECT COUNT(*) AS n FROM async_downloads_download WHERE state = 'complete'"
    return int(site.query(query)[0]["n"])
