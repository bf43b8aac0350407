"""Database servers that are stopped or killed during exports."""

import contextlib
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.celery_workers import CAREFUL, send, start_celery
from tests.faults.database_servers import DatabaseServer
from tests.faults.harness import NewSite, RedisServer, Site, eventually, storages
from tests.faults.running import outcomes

STORAGES = storages("SteeredStorage")

AWAY = "The database is away"

#: Jobs that have begun when the server is stopped, and need it when they go on.
JOBS = """
from functools import partial
from async_downloads import cache
from async_downloads.shortcuts import download_task
from async_downloads.executors.runner import supervise
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks, transactions
from tests.faults.site.forks import run_in_forks

keys = {keys!r}
SITE = "tests.faults.site."
MESSAGE = transactions.OWNER_MESSAGE

def wait_for_go(key):
    steering.record_start(key)
    steering.wait_for("go")

def after_waiting(function):
    def wait_and_call(key):
        wait_for_go(key)
        return function(key)
    return wait_and_call

def by_run_task(task):
    return lambda key: run_task(SITE + task, key)

jobs = {{
    "stored, plain": transactions.plain,
    "stored, by download_task": tasks.supervised["rows"],
    "stored, by run_task": by_run_task("tasks.rows"),
    "writing rows": by_run_task("tasks.steady"),
    "reading rows": by_run_task("transactions.reading_rows"),
    "failing": download_task(tasks.fail_late),
    "failing for people": after_waiting(lambda key: cache.set_error(key, MESSAGE)),
    "no file": download_task(wait_for_go),
    "no file yet": lambda key: supervise(key, partial(wait_for_go, key), makes_file=False),
    "claiming, plain": after_waiting(transactions.plain),
    "claiming, by run_task": after_waiting(by_run_task("transactions.plain")),
    "claiming after the last attempt": after_waiting(by_run_task("transactions.plain")),
}}
run_in_forks({{name: (lambda name=name: jobs[name](keys[name])) for name in jobs}})
"""

#: The final state of each row, its attempts, and the exception that the call raises.
OUTCOMES = {
    "stored, plain": ("complete", 1, ""),
    "stored, by download_task": ("complete", 1, ""),
    "stored, by run_task": ("complete", 1, ""),
    "writing rows": ("complete", 1, ""),
    "reading rows": ("failed", 1, ""),
    "failing": ("failed", 1, "LookupError"),
    "failing for people": ("failed", 0, ""),
    "no file": ("failed", 1, ""),
    "no file yet": ("pending", 0, ""),
    "claiming, plain": ("complete", 1, ""),
    "claiming, by run_task": ("complete", 1, ""),
    "claiming after the last attempt": ("failed", 3, ""),
}

#: The rows that they leave if the server stays down.
UNRECORDED = {
    "stored, plain": ("running", 1),
    "stored, by download_task": ("running", 1),
    "stored, by run_task": ("running", 1),
    "writing rows": ("running", 1),
    "reading rows": ("running", 1),
    "failing": ("running", 1),
    "failing for people": ("pending", 0),
    "no file": ("running", 1),
    "no file yet": ("running", 1),
    "claiming, plain": ("pending", 0),
    "claiming, by run_task": ("pending", 0),
    "claiming after the last attempt": ("pending", 3),
}


def begin(site: Site) -> tuple[dict[str, str], Any]:
    """Start all jobs in processes, and return their keys and the child once all are waiting."""
    site.go("hold")
    keys = dict(zip(OUTCOMES, site.run(INIT).split(), strict=True))
    child = site.start(JOBS.format(keys=keys))
    site.until_messages("stored.log", 3)
    for name, key in keys.items():
        if name != "stored, plain":
            site.until_started(key)
    used_up = keys["claiming after the last attempt"]
    site.run(f"""
        from async_downloads.models import Download
        Download.objects.filter(pk={used_up!r}).update(attempts=3)
    """)
    return keys, child


INIT = f"""
from async_downloads import cache
for _ in range({len(OUTCOMES)}):
    print(cache.init_download("ada", "orders.csv")[1])
"""


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_claims_and_final_states_wait_until_the_database_is_back(
    new_site: NewSite, database_server: DatabaseServer, way: str
) -> None:
    """Claims, failures and complete files meet an outage, and none is lost."""
    site = new_site(database_server.database, STORAGES=STORAGES)
    keys, child = begin(site)
    with child:
        getattr(database_server, way)()
        try:
            site.go("release")
            site.go()
            eventually(lambda: len(child.lines(AWAY)) >= len(keys), why="all jobs to wait")
        finally:
            database_server.start()
        ended = outcomes(child)
    rows = {row["id"]: row for row in site.rows()}
    raised = {name: end.removeprefix("raised ") for name, end in ended.items()}
    results = {
        name: (rows[key]["state"], rows[key]["attempts"], raised[name].replace("None", ""))
        for name, key in keys.items()
    }
    assert results == OUTCOMES, child.log
    for name, key in keys.items():
        complete = rows[key]["state"] == "complete"
        assert site.files(key) == [rows[key]["filepath"]] * complete
        assert bool(rows[key]["errors"]) == (rows[key]["state"] == "failed"), name


def test_a_call_that_could_record_nothing_raises_and_the_next_attempt_completes(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """No call returns normally, and a second delivery leaves one file."""
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
            ended = outcomes(child)
        finally:
            database_server.start()
    assert ended == dict.fromkeys(keys, "raised DownloadUnavailable"), child.log
    rows = {row["id"]: row for row in site.rows()}
    states = {name: (rows[key]["state"], rows[key]["attempts"]) for name, key in keys.items()}
    assert states == UNRECORDED, child.log
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
        assert site.files(key) == [row["filepath"]]


#: One job claims, and one has claimed, when the test sets ``go``.
TWO = """
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks
from tests.faults.site.forks import run_in_forks
claiming, writing = {keys!r}

def claim(key):
    steering.wait_for("go")
    tasks.plain(key)

run_in_forks({{
    claiming: lambda: claim(claiming),
    writing: lambda: run_task("tests.faults.site.tasks.silent", writing),
}})
"""


@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_exports_wait_while_the_primary_database_is_read_only(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """As after a failover, until the address leads to the new primary."""
    site = new_site(database_server.database)
    keys = site.run(INIT).split()[:2]
    with site.start(TWO.format(keys=keys)) as child:
        site.until_started(keys[1])
        set_read_only(database_server, "on")
        try:
            site.go()
            eventually(lambda: len(child.lines(AWAY)) == 2, why="both jobs to wait")
        finally:
            set_read_only(database_server, "off")
        assert outcomes(child) == dict.fromkeys(keys, "None")
    assert [site.row(key)["state"] for key in keys] == ["complete", "complete"]


def set_read_only(server: DatabaseServer, value: str) -> None:
    """Make PostgreSQL refuse or accept writes, also of open connections."""
    with server.database.administration() as cursor:
        cursor.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        cursor.execute("SELECT pg_reload_conf()")


def test_exports_wait_while_an_sqlite_is_locked(new_site: NewSite) -> None:
    """Another transaction outlasts the timeout of the lock."""
    site = new_site("sqlite")
    database = site.settings["DATABASES"]["default"]
    short = database | {"OPTIONS": database["OPTIONS"] | {"timeout": 0.1}}
    keys = site.run(INIT).split()[:2]
    with site.start(TWO.format(keys=keys), DATABASES={"default": short}) as child:
        site.until_started(keys[1])
        with contextlib.closing(site.database.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            site.go()
            eventually(lambda: len(child.lines(AWAY)) == 2, why="both jobs to wait")
        assert outcomes(child) == dict.fromkeys(keys, "None")
    assert [site.row(key)["state"] for key in keys] == ["complete", "complete"]


# django-q2


@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_an_export_outlasts_an_outage_of_the_database_of_its_queue(
    new_site: NewSite, database_server: DatabaseServer
) -> None:
    """The queue of django-q2 is a table of the database that is down."""
    site = new_site(database_server.database, STORAGES=STORAGES)
    site.go("hold")
    key = site.begin("plain")
    with site.cluster() as cluster:
        site.until_messages("stored.log")
        database_server.stop()
        try:
            site.go("release")
            eventually(lambda: cluster.lines(AWAY), why="the worker to wait")
        finally:
            database_server.start()
        row = site.until(key, state="complete", attempts=1)
    assert site.files() == [row["filepath"]]


# Celery

FORTY = 40

INIT_FORTY = INIT.replace(f"range({len(OUTCOMES)})", f"range({FORTY})")

needs_celery = pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")


@needs_celery
@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_forty_exports_under_celery_outlast_an_outage(
    new_site: NewSite, database_server: DatabaseServer, redis_server: RedisServer
) -> None:
    """Claims of tasks that are delivered meanwhile wait, and all files are built."""
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
            eventually(lambda: len(worker.lines(AWAY)) >= 2, why="claims to wait")
        finally:
            database_server.start()
        eventually(lambda: complete(site) == FORTY, why="all forty files")
    assert {row["attempts"] for row in site.rows()} == {1}
    assert len(site.files()) == FORTY


@needs_celery
@pytest.mark.parametrize("database_server", ["postgres"], indirect=True)
def test_celery_retries_a_task_that_could_record_nothing(
    new_site: NewSite, database_server: DatabaseServer, redis_server: RedisServer
) -> None:
    """A claim and a complete file meet an outage that lasts longer than they wait."""
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
        site.until_messages("stored.log")
        site.halt("hold")
        database_server.stop()
        try:
            send(site, "plain", claimed)
            site.go("release")
            eventually(lambda: len(worker.lines("Retry in")) >= 2, why="two retries")
        finally:
            database_server.start()
        site.until(claimed, state="complete", attempts=1)
        row = site.until(stored, state="complete", attempts=2)
    assert site.files(stored) == [row["filepath"]]


def complete(site: Site) -> int:
    query = "SELECT COUNT(*) AS n FROM async_downloads_download WHERE state = 'complete'"
    return int(site.query(query)[0]["n"])
