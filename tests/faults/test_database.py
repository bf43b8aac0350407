"""Rows and connections that disappear during an export, and workers that die."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import NewSite, Site, eventually, storages
from tests.faults.running import Running, outcomes, run_site
from tests.faults.site import transactions

STORAGES = storages("KillingStorage")

DUMMY = "django.core.cache.backends.dummy.DummyCache"

#: Statements that list and end the other connections to this database.
CONNECTIONS = {
    "postgres": (
        "SELECT pid AS id FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "SELECT pg_terminate_backend({id})",
    ),
    "mariadb": (
        "SELECT id AS id FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        "KILL {id}",
    ),
}


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def module_running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The site that the tests of this module share."""
    with run_site(request.param, ASYNC_DOWNLOADS_STALLED_AFTER=2, STORAGES=STORAGES) as running:
        yield running


# Stale rows


def delete_by_sql(running: Running, key: str) -> None:
    """Delete a row without Django."""
    column = "id" if running.database == "postgres" else "REPLACE(id, '-', '')"
    value = key if running.database == "postgres" else key.replace("-", "")
    statement = f"DELETE FROM async_downloads_download WHERE {column} = %s"  # noqa: S608 (a constant)
    running.site.query(statement, value)


@pytest.mark.parametrize("cleared", [True, False])
def test_a_worker_never_restores_a_deleted_row(running: Running, cleared: bool) -> None:
    """Its owner clears it, or SQL deletes it, while the file is written or stored."""
    site = running.site
    writing, storing = running.init(), running.init()
    site.go("hold")
    with (
        running.call(("tasks.steady", writing)) as writer,
        running.call(("tasks.rows", storing)) as storer,
    ):
        site.until_started(writing)
        site.until_messages("stored.log")
        for key in (writing, storing):
            if cleared:
                running.clear(key)
            else:
                delete_by_sql(running, key)
        site.go("release")
        for child in (writer, storer):
            assert child.wait() == 0, child.log
            assert "was cancelled" in child.log
    for key in (writing, storing):
        assert site.row(key) == {}
        assert key not in running.person.shown()
        assert running.site.files(key) == []


STALE = """
from async_downloads import cache
from tests.faults.site import steering
key = {key!r}
cache.set_percentage(key, 10)
steering.record_start(key)
steering.wait_for("go")
cache.set_percentage(key, 20)
cache.update_percentage(key, 10, 5)
cache.set_error(key, "It failed.")
cache.save_download(key, [["id"]])
"""


def test_progress_and_errors_never_restore_a_deleted_row(running: Running, key: str) -> None:
    """The process has read the row, and has a cache entry of it."""
    site = running.site
    with site.start(STALE.format(key=key)) as child:
        site.until_started(key)
        running.clear(key)
        site.go()
        assert child.wait() == 0, child.log
    assert site.row(key) == {}
    assert key not in running.person.shown()
    assert running.site.files(key) == []


# Connections that die


#: Jobs that open a connection, wait for ``go``, and need the connection after that.
JOBS = """
from django.db import transaction
from async_downloads import cache
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks, transactions
from tests.faults.site.forks import run_in_forks

keys = {keys!r}
SITE = "tests.faults.site."

def wait_for_go(key):
    steering.record_start(key)
    steering.wait_for("go")

def idle(key):
    wait_for_go(key)
    run_task(SITE + "transactions.plain", key)

def idle_then_reading(key):
    wait_for_go(key)
    run_task(SITE + "tasks.rows", key)

def idle_bare(key):
    wait_for_go(key)
    transactions.plain(key)

def report(key):
    wait_for_go(key)
    cache.set_error(key, transactions.OWNER_MESSAGE)

def report_within(key):
    with transaction.atomic():
        wait_for_go(key)
        cache.set_error(key, transactions.OWNER_MESSAGE)

def progress(key):
    wait_for_go(key)
    cache.set_percentage(key, 40)

jobs = {{
    "between rows": lambda key: run_task(SITE + "tasks.steady", key),
    "between rows, another executor": tasks.supervised["steady"],
    "between a query's rows": lambda key: run_task(SITE + "transactions.reading_rows", key),
    "within": lambda key: run_task(SITE + "transactions.within", key),
    "within, bare": transactions.within,
    "idle": idle,
    "idle, and the task reads": idle_then_reading,
    "idle, bare": idle_bare,
    "before a report": report,
    "before a report, within": report_within,
    "before progress": progress,
}}
run_in_forks({{name: (lambda name=name: jobs[name](keys[name])) for name in jobs}})
"""

#: The final state of each row, and whether the call returns. Three calls raise an error, because
#: the caller's transaction is lost.
OUTCOMES = {
    "between rows": ("complete", True),
    "between rows, another executor": ("complete", True),
    "between a query's rows": ("failed", True),
    "within": ("failed", False),
    "within, bare": ("failed", False),
    "idle": ("complete", True),
    "idle, and the task reads": ("complete", True),
    "idle, bare": ("complete", True),
    "before a report": ("failed", True),
    "before a report, within": ("failed", False),
    "before progress": ("pending", True),
}


def test_an_export_ends_with_a_file_or_an_error_though_its_connection_died(
    running: Running,
) -> None:
    """The connection may die at any time, also between rows and before a report."""
    site = running.site
    keys = {name: running.init() for name in OUTCOMES}
    with site.start(JOBS.format(keys=keys)) as child:
        for key in keys.values():
            site.until_started(key)
        assert end_connections(running) >= len(keys)
        heartbeat = site.row(keys["between rows"])["heard_at"]
        eventually(
            lambda: site.row(keys["between rows"])["heard_at"] > heartbeat, why="a heartbeat"
        )
        site.go()
        ended = outcomes(child)
    rows = {row["id"]: row for row in site.rows()}
    shown = {name: (rows[key]["state"], ended[name] == "None") for name, key in keys.items()}
    assert shown == OUTCOMES, ended
    for name, key in keys.items():
        row = rows[key]
        complete = row["state"] == "complete"
        assert running.site.files(key) == ([row["filepath"]] if complete else []), name
        assert bool(row["errors"]) == (row["state"] == "failed"), name
        assert ("before a report" in name) == (row["errors"] == transactions.OWNER_MESSAGE), name
        assert running.person.shown()[key].replace("stalled", "pending") == row["state"]
        assert "terminat" not in row["errors"], name


def test_an_export_completes_though_its_connection_dies_before_the_last_write(
    running: Running, key: str
) -> None:
    """The file is stored, but the row is not updated yet."""
    site = running.site
    site.go("hold")
    with running.call(("tasks.rows", key)) as child:
        site.until_messages("stored.log")
        assert end_connections(running)
        site.go("release")
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert running.site.files(key) == [row["filepath"]]
    assert running.person.shown()[key] == "complete"


def end_connections(running: Running) -> int:
    """End all connections to the database, and return how many there were."""
    find, end = CONNECTIONS[running.database]
    numbers = [row["id"] for row in running.site.query(find)]
    for number in numbers:
        running.site.query(end.format(id=number))
    return len(numbers)


# Deaths between the storage and the row


def test_a_retry_after_a_kill_leaves_one_complete_file(new_site: NewSite) -> None:
    """The worker dies once the file is stored, and another attempt builds it again."""
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=1, STORAGES=STORAGES)
    site.go("die")
    key = site.begin("rows")
    with site.cluster():
        row = site.until(key, state="complete", attempts=2)
        eventually(lambda: site.queued() == 0, why="an empty queue")
    assert site.messages("stored.log")
    assert site.files() == [row["filepath"]]
    assert site.media.joinpath(row["filepath"]).read_text().count("name") == 4
    assert clean_up(site) == "Removed 0 orphan files."
    assert site.files() == [row["filepath"]]
    assert site.row(key)["state"] == "complete"


DIE = """
from async_downloads.tasks import run_task
from tests.faults.site import steering
from tests.faults.site.forks import run_in_forks
for key in {keys!r}:
    (steering.folder() / "die").touch()
    run_in_forks({{key: lambda: run_task("tests.faults.site.tasks.rows", key)}})
"""


def test_the_file_of_a_killed_worker_is_deleted_with_its_row_or_as_an_orphan(
    running: Running,
) -> None:
    """The download is cleared, has expired, or SQL has deleted its row."""
    site = running.site
    keys = cleared, expired, deleted = [running.init() for _ in range(3)]
    with site.start(DIE.format(keys=keys)) as child:
        assert outcomes(child) == dict.fromkeys(keys, "killed by 9")
    for key in keys:
        assert running.site.files(key)
        assert site.row(key)["state"] == "running"
    running.clear(cleared)
    delete_by_sql(running, deleted)
    assert running.site.files(cleared) == []
    assert running.site.files(deleted)
    eventually(lambda: running.person.shown()[expired] == "stalled", why="a stalled export")
    site.query("UPDATE async_downloads_download SET expires_at = timestamp")
    # The cache entry has a recent heartbeat; in production it expires before the row.
    last_line = clean_up(site, CACHES={"default": {"BACKEND": DUMMY}})
    assert last_line == "Removed 1 orphan file."
    # The clean-up marks it as failed first, and it expires like others.
    assert site.row(expired)["state"] == "failed"
    site.query("UPDATE async_downloads_download SET expires_at = timestamp")
    clean_up(site, CACHES={"default": {"BACKEND": DUMMY}})
    assert [running.site.files(key) for key in keys] == [[], [], []]
    assert site.row(expired) == {}


def clean_up(site: Site, **settings: object) -> str:
    """Clean up, orphans included, and return the last line of the output."""
    code = """
    from django.core.management import call_command
    call_command("cleanup_downloads", "--orphans", "--min-age", "0")
    """
    return site.run(code, **settings).splitlines()[-1]


# Progress


MILLION = """
import time
from django.db import connection
from async_downloads import cache

writes = []
def count(execute, sql, params, many, context):
    if sql.startswith("UPDATE"):
        writes.append(sql)
    return execute(sql, params, many, context)

TOTAL = 1_000_000

def rows(key):
    yield ["id"]
    for index in range(TOTAL):
        cache.update_percentage(key, TOTAL, index)

began = time.monotonic()
with connection.execute_wrapper(count):
    for index in range(TOTAL):
        cache.update_percentage({alone!r}, TOTAL, index)
    print(len(writes))
    writes.clear()
    for index in range(0, TOTAL, 7):
        cache.update_percentage({strides!r}, TOTAL, index)
    for index in (TOTAL, TOTAL + 5, -3):
        cache.update_percentage({strides!r}, TOTAL, index)
    cache.update_percentage({strides!r}, 0, 5)
    cache.update_percentage({strides!r}, 4, 2)
    print(len(writes))
    writes.clear()
    cache.save_download({saved!r}, rows({saved!r}))
    print(len([sql for sql in writes if "percentage" in sql]))
print(f"{{time.monotonic() - began:.2f}}")
"""


def test_a_million_progress_calls_write_only_each_step(running: Running) -> None:
    """The last call is never lost, whatever the values in between."""
    site = running.site
    alone, strides, saved = (running.init() for _ in range(3))
    code = MILLION.format(alone=alone, strides=strides, saved=saved)
    *writes, took = site.run(code).splitlines()
    print(f"\n{running.database}: 2.1 million calls in {took} s")  # noqa: T201 (shown with -s)
    # Ten steps each; two more for 0 and 75 %; and two more for the claim and the completion.
    assert [int(number) for number in writes] == [10, 12, 12]
    assert site.row(alone)["percentage"] == 100
    assert site.row(strides)["percentage"] == 70
    assert site.row(saved)["percentage"] == 100
    assert site.row(saved)["state"] == "complete"
