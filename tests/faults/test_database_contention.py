"""Many processes that write at once, and a database that is locked.

Cases 17 and 44, and 1 to be shown.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.faults.harness import Site, eventually
from tests.faults.running import Running, ends, run_site
from tests.faults.site import transactions
from tests.pace import stretched

LOCKED = "database is locked"

STORAGES = {
    "default": {"BACKEND": "tests.faults.site.storages.SteeredStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


@pytest.fixture(scope="module", params=["postgres", "mariadb", "sqlite"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Run a site for as long as this module has tests of its database."""
    with run_site(request.param) as running:
        yield running


# Beginning, all at once


INIT = """
from async_downloads import cache
from tests.faults.site.crowd import crowd

def init():
    return " ".join(cache.init_download("grace", "orders.csv")[1] for _ in range(50))

crowd({str(number): init for number in range(8)})
"""


def test_all_that_eight_processes_begin_for_one_user_is_listed(running: Running) -> None:
    """Must be shown, 1: fifty downloads each, the collection by one of them, beside a reader."""
    site = running.site
    person = running.server.client("grace")
    with site.start(INIT) as child:
        began = time.monotonic()
        while child.alive:
            person.update()
            time.sleep(0.2)
        keys = " ".join(ends(child).values()).split()
        took = time.monotonic() - began
        assert not child.lines("ERROR"), child.log
    assert len(set(keys)) == 400
    assert person.listed() == set(keys)
    assert LOCKED not in site.logs()
    print(f"\n{running.database}: 400 of 400 are listed, begun in {took:.1f} s")  # noqa: T201


INIT_BESIDE_A_CLEANUP = """
import time
from async_downloads import cache, store
from async_downloads.models import Download
from tests.faults.site import steering
from tests.faults.site.crowd import crowd

def init(first):
    try:
        for number in range(20):
            _, key = cache.init_download({users!r}[(first + number) % 4], "orders.csv")
            if number < 19:
                store.purge(Download.objects.filter(pk=key))
                time.sleep(0.01)
        return key
    finally:
        steering.tell("finished.log", str(first))

def finished():
    log = steering.folder() / "finished.log"
    return log.read_text().count("\\n") if log.exists() else 0

def clean_up():
    removed = 0
    while finished() < 8:
        removed += store.clean_up().collections
    return removed

works = {{str(number): lambda number=number: init(number) for number in range(8)}}
crowd(works | {{"removed": clean_up}})
"""


def test_a_collection_that_a_cleanup_removes_is_made_again(running: Running) -> None:
    """Eight processes begin and purge for four users while all that is empty is removed."""
    site = running.site
    users = ["edsger", "barbara", "donald", "frances"]
    people = [running.server.client(user) for user in users]
    with site.start(INIT_BESIDE_A_CLEANUP.format(users=users)) as child:
        ended = ends(child)
        removed = int(ended.pop("removed"))
        assert not child.lines("ERROR"), child.log
    assert LOCKED not in site.logs()
    assert set().union(*(person.listed() for person in people)) == set(ended.values()), ended
    assert len(ended) == 8
    # Else nothing was shown.
    assert removed
    print(f"\n{running.database}: {removed} collections were removed meanwhile")  # noqa: T201


INIT_UP_TO_A_LIMIT = """
# Else each process would import it while it holds the lock that the others wait for.
import redis
from contextlib import nullcontext
from django.db import transaction
from async_downloads import cache
from async_downloads.exceptions import TooManyDownloadsError
from tests.faults.site.crowd import crowd

def init(number):
    try:
        # Every other one in a transaction of its own, as with ATOMIC_REQUESTS.
        with transaction.atomic() if number % 2 else nullcontext():
            return cache.init_download("katherine", "orders.csv")[1]
    except TooManyDownloadsError as refusal:
        return f"refused: {refusal}"

crowd({str(number): lambda number=number: init(number) for number in range(50)})
"""

REFUSAL = "refused: You have 5 downloads in progress. Wait until one has finished, or cancel one."


def test_case_44_of_fifty_starts_at_once_as_many_begin_as_may(running: Running) -> None:
    """Case 44: each in a process of its own, the first of them makes the collection."""
    site = running.site
    person = running.server.client("katherine")
    with site.start(INIT_UP_TO_A_LIMIT, ASYNC_DOWNLOADS_MAX_ACTIVE=5) as child:
        told = list(ends(child).values())
        assert not child.lines("ERROR"), child.log
    keys = [key for key in told if not key.startswith("refused")]
    assert len(keys) == 5, told
    assert told.count(REFUSAL) == 45
    assert person.listed() == set(keys)
    assert LOCKED not in site.logs()


# SQLite


@pytest.fixture(scope="module")
def module_locking() -> Iterator[Running]:
    """Run a site whose workers do not wait for a locked database for long."""
    with run_site("sqlite", ASYNC_DOWNLOADS_STALLED_AFTER=2, STORAGES=STORAGES) as running:
        yield running


@pytest.fixture
def locking(module_locking: Running) -> Running:
    """The site, with nothing left of an earlier test that would steer this one."""
    for path in module_locking.site.steering.iterdir():
        path.unlink()
    return module_locking


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Lock the database, as another process would that writes for long."""
    with contextlib.closing(sqlite3.connect(site.database.path, isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")
        yield
        held.execute("ROLLBACK")


WRITE = """
from django.db import OperationalError, connection
from async_downloads import cache
from tests.faults.site.crowd import crowd

def write(key):
    faults = []
    def count(execute, *arguments):
        try:
            return execute(*arguments)
        except OperationalError as error:
            faults.append(error)
            raise
    with connection.execute_wrapper(count):
        for number in range(100):
            cache.set_percentage(key, number)
            cache.init_download("ada", "orders.csv")
    return len(faults)

crowd({{key: lambda key=key: write(key) for key in {keys!r}}})
"""

CHECK = """
from django.core import checks
print([message.id for message in checks.run_checks()])
"""


def test_case_17_four_writers_never_meet_a_locked_database() -> None:
    """Case 17: two hundred writes each, half of them in transactions that read first."""
    with run_site("sqlite") as running:
        site = running.site
        keys = [running.init() for _ in range(4)]
        with site.start(WRITE.format(keys=keys)) as child:
            assert ends(child) == dict.fromkeys(keys, "0")
        assert LOCKED not in site.logs()
        assert [site.row(key)["percentage"] for key in keys] == [99] * 4
        assert len(running.person.listed()) == 404
        assert site.run(CHECK) == "[]"
        plain = {"default": site.settings["DATABASES"]["default"] | {"OPTIONS": {}}}
        assert site.run(CHECK, DATABASES=plain) == "['async_downloads.W004']"


def test_case_17_progress_that_cannot_be_written_is_shown_all_the_same(locking: Running) -> None:
    """Case 17: the database is locked for longer than the export waits, which goes on."""
    site, key = locking.site, locking.init()
    with locking.call(("transactions.reporting", key), timeout=0.2) as child:
        site.started(key)
        with locked(site):
            site.go("report")
            locking.until_percentage(key, 30)
            eventually(lambda: child.lines("no write to its row"), why="a write that is given up")
            assert site.row(key)["percentage"] == 0
        site.go()
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert locking.files(key) == [row["filepath"]]


def test_case_17_the_last_write_is_tried_again(locking: Running) -> None:
    """Case 17: for longer than the database waits it is locked, and not for twice as long."""
    site, key, told = locking.site, locking.init(), locking.init()
    site.go("hold")
    with (
        locking.call(("tasks.rows", key), timeout=0.8) as child,
        locking.call(("transactions.tell", told), timeout=0.8, supervised=False) as teller,
    ):
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        site.started(told)
        with locked(site):
            site.go("release")
            time.sleep(stretched(1.2))
        assert child.wait() == teller.wait() == 0, child.log + teller.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert locking.files(key) == [row["filepath"]]
    assert site.row(told)["errors"] == transactions.TOLD


def test_case_17_what_could_not_be_finished_is_for_the_next_run(locking: Running) -> None:
    """Case 17: locked for longer than anything waits; the download stalls, and is not lost."""
    site, key = locking.site, locking.init()
    site.go("hold")
    with locking.call(("tasks.rows", key), timeout=0.2) as child:
        eventually((site.steering / "stored.log").exists, why="a file that is stored")
        with locked(site):
            site.go("release")
            child.wait()
        assert "so nothing was recorded" in child.log
    site.halt("hold")
    eventually(lambda: locking.person.shown()[key] == "stalled", why="a download that has stalled")
    with locking.call(("tasks.rows", key)) as child:
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 2)
    assert locking.files(key) == [row["filepath"]]
