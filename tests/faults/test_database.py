"""Rows and connections that go away under a worker, and workers that do. Cases 15, 16, 18, 19."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import NewSite, Site, eventually
from tests.faults.running import Running, ends, run_site
from tests.faults.site import transactions

STORAGES = {
    "default": {"BACKEND": "tests.faults.site.dying_storage.DyingStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

DUMMY = "django.core.cache.backends.dummy.DummyCache"

#: How the administration of a server finds and ends the connections of others to this database.
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
    """Run a site for as long as this module has tests of its database."""
    with run_site(request.param, ASYNC_DOWNLOADS_STALLED_AFTER=2, STORAGES=STORAGES) as running:
        yield running


# Stale rows


def delete_behind_its_back(running: Running, key: str) -> None:
    """Delete a row without Django."""
    column = "id" if running.database == "postgres" else "REPLACE(id, '-', '')"
    value = key if running.database == "postgres" else key.replace("-", "")
    statement = f"DELETE FROM async_downloads_download WHERE {column} = %s"  # noqa: S608 (ours)
    running.site.query(statement, value)


@pytest.mark.parametrize("cleared", [True, False])
def test_case_15_a_worker_with_a_stale_row_brings_nothing_back(
    running: Running, cleared: bool
) -> None:
    """Case 15: cleared by its owner, or deleted behind our back, while it is written or stored."""
    site = running.site
    writing, storing = running.init(), running.init()
    site.go("hold")
    with (
        running.call(("tasks.steady", writing)) as writer,
        running.call(("tasks.rows", storing)) as storer,
    ):
        site.started(writing)
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        for key in (writing, storing):
            if cleared:
                running.clear(key)
            else:
                delete_behind_its_back(running, key)
        site.go("release")
        for child in (writer, storer):
            assert child.wait() == 0, child.log
            assert "was cancelled" in child.log
    for key in (writing, storing):
        assert site.row(key) == {}
        assert key not in running.person.shown()
        assert running.files(key) == []


STALE = """
from async_downloads import cache
from tests.faults.site import steering
key = {key!r}
cache.set_percentage(key, 10)
steering.started(key)
steering.wait_for("go")
cache.set_percentage(key, 20)
cache.update_percentage(key, 10, 5)
cache.set_error(key, "It failed.")
cache.save_download(key, [["id"]])
"""


def test_case_15_reports_of_a_row_that_is_gone_bring_nothing_back(
    running: Running, key: str
) -> None:
    """Case 15: from a process that has seen the row, and has its entry in the cache."""
    site = running.site
    with site.start(STALE.format(key=key)) as child:
        site.started(key)
        running.clear(key)
        site.go()
        assert child.wait() == 0, child.log
    assert site.row(key) == {}
    assert key not in running.person.shown()
    assert running.files(key) == []


# Connections that die


#: Works that have a connection when they wait, and need it after that.
WORKS = """
from django.db import transaction
from async_downloads import cache
from async_downloads.tasks import run_task
from tests.faults.site import steering, tasks, transactions
from tests.faults.site.crowd import crowd

keys = {keys!r}
SITE = "tests.faults.site."

def wait_for_go(key):
    steering.started(key)
    steering.wait_for("go")

def idle(key):
    wait_for_go(key)
    run_task(SITE + "transactions.plain", key)

def idle_asking(key):
    wait_for_go(key)
    run_task(SITE + "tasks.rows", key)

def idle_bare(key):
    wait_for_go(key)
    transactions.plain(key)

def tell(key):
    wait_for_go(key)
    cache.set_error(key, transactions.TOLD)

def tell_within(key):
    with transaction.atomic():
        wait_for_go(key)
        cache.set_error(key, transactions.TOLD)

def progress(key):
    wait_for_go(key)
    cache.set_percentage(key, 40)

works = {{
    "between rows": lambda key: run_task(SITE + "tasks.steady", key),
    "between rows, another executor": tasks.supervised["steady"],
    "in the middle of a query's rows": lambda key: run_task(SITE + "transactions.asking", key),
    "within": lambda key: run_task(SITE + "transactions.within", key),
    "within, bare": transactions.within,
    "idle": idle,
    "idle, and the task asks": idle_asking,
    "idle, bare": idle_bare,
    "before a report": tell,
    "before a report, within": tell_within,
    "before progress": progress,
}}
crowd({{name: (lambda name=name: works[name](keys[name])) for name in works}})
"""

#: For each of them the state that the row ends in, and whether the call returns. Three do not:
#: the transaction that they were about to commit is gone, with what they wrote besides.
ENDS = {
    "between rows": ("complete", True),
    "between rows, another executor": ("complete", True),
    "in the middle of a query's rows": ("failed", True),
    "within": ("failed", False),
    "within, bare": ("failed", False),
    "idle": ("complete", True),
    "idle, and the task asks": ("complete", True),
    "idle, bare": ("complete", True),
    "before a report": ("failed", True),
    "before a report, within": ("failed", False),
    "before progress": ("pending", True),
}


def test_case_16_a_connection_that_dies_loses_no_end(running: Running) -> None:
    """Case 16: whenever it dies, the download is complete with its file, or says that it failed."""
    site = running.site
    keys = {name: running.init() for name in ENDS}
    with site.start(WORKS.format(keys=keys)) as child:
        for key in keys.values():
            site.started(key)
        assert hang_up(running) >= len(keys)
        beat = site.row(keys["between rows"])["heard_at"]
        eventually(
            lambda: site.row(keys["between rows"])["heard_at"] > beat, why="another sign of life"
        )
        site.go()
        ended = ends(child)
    rows = {row["id"]: row for row in site.rows()}
    shown = {name: (rows[key]["state"], ended[name] == "None") for name, key in keys.items()}
    assert shown == ENDS, ended
    for name, key in keys.items():
        row = rows[key]
        complete = row["state"] == "complete"
        assert running.files(key) == ([row["filepath"]] if complete else []), name
        assert bool(row["errors"]) == (row["state"] == "failed"), name
        assert ("before a report" in name) == (row["errors"] == transactions.TOLD), name
        assert running.person.shown()[key].replace("stalled", "pending") == row["state"]
        assert "terminat" not in row["errors"], name


def test_case_16_a_connection_that_dies_before_the_last_write_costs_nothing(
    running: Running, key: str
) -> None:
    """Case 16: the file is stored, and the row is yet to learn of it."""
    site = running.site
    site.go("hold")
    with running.call(("tasks.rows", key)) as child:
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        assert hang_up(running)
        site.go("release")
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert running.files(key) == [row["filepath"]]
    assert running.person.shown()[key] == "complete"


def hang_up(running: Running) -> int:
    """End all connections to the database, and return how many there were."""
    find, end = CONNECTIONS[running.database]
    found = [row["id"] for row in running.site.query(find)]
    for number in found:
        running.site.query(end.format(id=number))
    return len(found)


# Deaths between the storage and the row


def test_case_19_a_retry_leaves_one_whole_file(new_site: NewSite) -> None:
    """Case 19: the worker dies when the file is stored, and another one makes it again."""
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=1, STORAGES=STORAGES)
    site.go("die")
    key = site.begin("rows")
    with site.cluster():
        row = site.until(key, state="complete", attempts=2)
        eventually(lambda: site.queued() == 0, why="an empty queue")
    assert (site.steering / "stored.log").exists()
    assert site.files() == [row["filepath"]]
    assert site.media.joinpath(row["filepath"]).read_text().count("name") == 4
    assert clean_up(site) == "Removed 0 orphan files."
    assert site.files() == [row["filepath"]]
    assert site.row(key)["state"] == "complete"


DIE = """
from async_downloads.tasks import run_task
from tests.faults.site import steering
from tests.faults.site.crowd import crowd
for key in {keys!r}:
    (steering.folder() / "die").touch()
    crowd({{key: lambda: run_task("tests.faults.site.tasks.rows", key)}})
"""


def test_case_19_a_file_that_nobody_retries_goes_with_its_row_or_as_an_orphan(
    running: Running,
) -> None:
    """Case 19: cleared, expired, or the row deleted behind our back."""
    site = running.site
    keys = cleared, expired, deleted = [running.init() for _ in range(3)]
    with site.start(DIE.format(keys=keys)) as child:
        assert ends(child) == dict.fromkeys(keys, "killed by 9")
    for key in keys:
        assert running.files(key)
        assert site.row(key)["state"] == "running"
    running.clear(cleared)
    delete_behind_its_back(running, deleted)
    assert running.files(cleared) == []
    assert running.files(deleted)
    eventually(lambda: running.person.shown()[expired] == "stalled", why="a stalled export")
    site.query("UPDATE async_downloads_download SET expires_at = timestamp")
    # Its entry would still speak for the dead; by the time that the row expires it is gone.
    told = clean_up(site, CACHES={"default": {"BACKEND": DUMMY}})
    assert told == "Removed 1 orphan file."
    # It has failed first, and is kept for as long as others.
    assert site.row(expired)["state"] == "failed"
    site.query("UPDATE async_downloads_download SET expires_at = timestamp")
    clean_up(site, CACHES={"default": {"BACKEND": DUMMY}})
    assert [running.files(key) for key in keys] == [[], [], []]
    assert site.row(expired) == {}


def clean_up(site: Site, **settings: object) -> str:
    """Clean up with everything, and return the last line that is told."""
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


def test_case_18_a_million_calls_write_no_more_than_the_steps(running: Running) -> None:
    """Case 18: the last one is never lost, whatever is told in between."""
    site = running.site
    alone, strides, saved = (running.init() for _ in range(3))
    code = MILLION.format(alone=alone, strides=strides, saved=saved)
    *writes, took = site.run(code).splitlines()
    print(f"\n{running.database}: 2.1 million calls in {took} s")  # noqa: T201 (to be seen, with -s)
    # Ten steps each; back to 0 and on to 75 %; and the claim and the completion.
    assert [int(number) for number in writes] == [10, 12, 12]
    assert site.row(alone)["percentage"] == 100
    assert site.row(strides)["percentage"] == 70
    assert site.row(saved)["percentage"] == 100
    assert site.row(saved)["state"] == "complete"
