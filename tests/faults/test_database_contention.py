"""Many processes that write at once, and a database that is locked."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.faults.harness import Site, eventually, storages
from tests.faults.running import Running, outcomes, run_site
from tests.faults.site import transactions
from tests.pace import stretched

LOCKED = "database is locked"

STORAGES = storages("SteeredStorage")


@pytest.fixture(scope="module", params=["postgres", "mariadb", "sqlite"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The site that the tests of this module share."""
    with run_site(request.param) as running:
        yield running


# Many starts at once


INIT = """
from async_downloads import cache
from tests.faults.site.forks import run_in_forks

def init():
    return " ".join(cache.init_download("grace", "orders.csv")[1] for _ in range(50))

run_in_forks({str(number): init for number in range(8)})
"""


def test_all_downloads_that_eight_processes_make_for_one_user_are_listed(running: Running) -> None:
    """Fifty downloads each, while a reader polls; one process makes the collection."""
    site = running.site
    person = running.server.client("grace")
    with site.start(INIT) as child:
        began = time.monotonic()
        while child.alive:
            person.update()
            time.sleep(0.2)
        keys = " ".join(outcomes(child).values()).split()
        took = time.monotonic() - began
        assert not child.lines("ERROR"), child.log
    assert len(set(keys)) == 400
    assert person.listed() == set(keys)
    assert LOCKED not in site.logs()
    print(f"\n{running.database}: 400 of 400 are listed, made in {took:.1f} s")  # noqa: T201


INIT_BESIDE_A_CLEANUP = """
import time
from async_downloads import cache, store
from async_downloads.models import Download
from tests.faults.site import steering
from tests.faults.site.forks import run_in_forks

def init(first):
    try:
        for number in range(20):
            _, key = cache.init_download({users!r}[(first + number) % 4], "orders.csv")
            if number < 19:
                store.purge(Download.objects.filter(pk=key))
                time.sleep(0.01)
        return key
    finally:
        steering.append("finished.log", str(first))

def finished():
    log = steering.folder() / "finished.log"
    return log.read_text().count("\\n") if log.exists() else 0

def clean_up():
    removed = 0
    while finished() < 8:
        removed += store.clean_up().collections
    return removed

jobs = {{str(number): lambda number=number: init(number) for number in range(8)}}
run_in_forks(jobs | {{"removed": clean_up}})
"""


def test_a_collection_that_a_clean_up_removes_is_made_again(running: Running) -> None:
    """Eight processes make and purge downloads of four users during clean-ups."""
    site = running.site
    users = ["edsger", "barbara", "donald", "frances"]
    people = [running.server.client(user) for user in users]
    with site.start(INIT_BESIDE_A_CLEANUP.format(users=users)) as child:
        ended = outcomes(child)
        removed = int(ended.pop("removed"))
        assert not child.lines("ERROR"), child.log
    assert LOCKED not in site.logs()
    assert set().union(*(person.listed() for person in people)) == set(ended.values()), ended
    assert len(ended) == 8
    # Without a removal, the test would prove nothing.
    assert removed
    print(f"\n{running.database}: {removed} collections were removed meanwhile")  # noqa: T201


INIT_UP_TO_A_LIMIT = """
# Import it before the fork: an import under the lock would delay the other processes.
import redis
from contextlib import nullcontext
from django.db import transaction
from async_downloads import cache
from async_downloads.exceptions import TooManyDownloadsError
from tests.faults.site.forks import run_in_forks

def init(number):
    try:
        # Every other one in a transaction, as with ATOMIC_REQUESTS.
        with transaction.atomic() if number % 2 else nullcontext():
            return cache.init_download("katherine", "orders.csv")[1]
    except TooManyDownloadsError as error:
        return f"refused: {error}"

run_in_forks({str(number): lambda number=number: init(number) for number in range(50)})
"""

REFUSAL = "refused: You have 5 downloads in progress. Wait until one has finished, or cancel one."


def test_fifty_starts_at_once_never_exceed_the_active_limit(running: Running) -> None:
    """Each is in its own process; the first one makes the collection."""
    site = running.site
    person = running.server.client("katherine")
    with site.start(INIT_UP_TO_A_LIMIT, ASYNC_DOWNLOADS_MAX_ACTIVE=5) as child:
        results = list(outcomes(child).values())
        assert not child.lines("ERROR"), child.log
    keys = [key for key in results if not key.startswith("refused")]
    assert len(keys) == 5, results
    assert results.count(REFUSAL) == 45
    assert person.listed() == set(keys)
    assert LOCKED not in site.logs()


# SQLite


@pytest.fixture(scope="module")
def module_locking() -> Iterator[Running]:
    """A site whose storage the tests steer."""
    with run_site("sqlite", ASYNC_DOWNLOADS_STALLED_AFTER=2, STORAGES=STORAGES) as running:
        yield running


@pytest.fixture
def locking(module_locking: Running) -> Running:
    """The site, without the flags of earlier tests."""
    module_locking.site.reset_steering()
    return module_locking


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Lock the database, as a long write of another process would."""
    with contextlib.closing(
        sqlite3.connect(site.database.path, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


WRITE = """
from django.db import OperationalError, connection
from async_downloads import cache
from tests.faults.site.forks import run_in_forks

def write(key):
    errors = []
    def count(execute, *arguments):
        try:
            return execute(*arguments)
        except OperationalError as error:
            errors.append(error)
            raise
    with connection.execute_wrapper(count):
        for number in range(100):
            cache.set_percentage(key, number)
            cache.init_download("ada", "orders.csv")
    return len(errors)

run_in_forks({{key: lambda key=key: write(key) for key in {keys!r}}})
"""

CHECK = """
from django.core import checks
print([message.id for message in checks.run_checks()])
"""


def test_four_writers_never_see_database_is_locked() -> None:
    """Two hundred writes each, half of them in transactions that read first."""
    with run_site("sqlite") as running:
        site = running.site
        keys = [running.init() for _ in range(4)]
        with site.start(WRITE.format(keys=keys)) as child:
            assert outcomes(child) == dict.fromkeys(keys, "0")
        assert LOCKED not in site.logs()
        assert [site.row(key)["percentage"] for key in keys] == [99] * 4
        assert len(running.person.listed()) == 404
        assert site.run(CHECK) == "[]"
        plain = {"default": site.settings["DATABASES"]["default"] | {"OPTIONS": {}}}
        assert site.run(CHECK, DATABASES=plain) == "['async_downloads.W004']"


def test_progress_that_cannot_be_written_is_shown_from_the_cache(locking: Running) -> None:
    """The database is locked for longer than the export waits; the export goes on."""
    site, key = locking.site, locking.init()
    with locking.call(("transactions.reporting", key), timeout=0.2) as child:
        site.until_started(key)
        with locked(site):
            site.go("report")
            locking.until_percentage(key, 30)
            eventually(lambda: child.lines("no write to its row"), why="a skipped write")
            assert site.row(key)["percentage"] == 0
        site.go()
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert locking.site.files(key) == [row["filepath"]]


def test_the_last_write_is_retried_on_a_locked_database(locking: Running) -> None:
    """The lock lasts longer than one timeout, and shorter than two."""
    site, key, failing = locking.site, locking.init(), locking.init()
    site.go("hold")
    with (
        locking.call(("tasks.rows", key), timeout=0.8) as child,
        locking.call(("transactions.report", failing), timeout=0.8, supervised=False) as other,
    ):
        site.until_messages("stored.log")
        site.until_started(failing)
        with locked(site):
            site.go("release")
            time.sleep(stretched(1.2))
        assert child.wait() == other.wait() == 0, child.log + other.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 1)
    assert locking.site.files(key) == [row["filepath"]]
    assert site.row(failing)["errors"] == transactions.OWNER_MESSAGE


def test_the_next_attempt_completes_what_a_locked_database_prevented(locking: Running) -> None:
    """The lock outlasts all retries; the download stalls, and a new attempt completes it."""
    site, key = locking.site, locking.init()
    site.go("hold")
    with locking.call(("tasks.rows", key), timeout=0.2) as child:
        site.until_messages("stored.log")
        with locked(site):
            site.go("release")
            child.wait()
        assert "so nothing was recorded" in child.log
    site.halt("hold")
    eventually(lambda: locking.person.shown()[key] == "stalled", why="a stalled download")
    with locking.call(("tasks.rows", key)) as child:
        assert child.wait() == 0, child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 2)
    assert locking.site.files(key) == [row["filepath"]]
