"""Exports and reports inside transactions of the site's own. Cases 13 and 14."""

import time
from collections.abc import Iterator

import pytest

from tests.faults.running import Running, run_site
from tests.faults.site import transactions

#: Seconds that a person may wait: less than the 20 for which a lock is waited for.
LONGEST_WAIT = 15.0

#: The first SQLite has the options of the demo, the other one has none.
DATABASES = ["postgres", "mariadb", "sqlite", "sqlite-deferred"]


@pytest.fixture(scope="module", params=DATABASES)
def module_running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Run a site for as long as this module has tests of its database."""
    with run_site(request.param, ASYNC_DOWNLOADS_STALLED_AFTER=2) as running:
        yield running


# Exports


@pytest.mark.parametrize("supervised", [True, False])
def test_case_13_progress_is_seen_and_clearing_is_not_held_up(
    running: Running, key: str, supervised: bool
) -> None:
    """Case 13: an export inside ``atomic()`` blocks nobody, and stops when it is cleared."""
    site, person = running.site, running.person
    with running.call(("transactions.within", key), supervised=supervised) as child:
        site.started(key)
        site.go("report")
        seen = running.until_percentage(key, 30)
        reported = float((site.steering / "reported.log").read_text())
        took = running.clear(key)
        assert key not in person.shown()
        began = time.monotonic()
        child.wait()
        stopped = time.monotonic() - began
        assert ("returned" in child.log) == supervised, child.log
    print(  # noqa: T201 (what was measured is to be seen, with -s)
        f"\n{running.database}, {'supervised' if supervised else 'bare'}: "
        f"progress seen after {seen - reported:.2f} s, "
        f"cleared in {took:.2f} s, stopped after {stopped:.2f} s"
    )
    assert seen - reported < LONGEST_WAIT
    assert took < LONGEST_WAIT
    assert key not in person.shown()
    assert running.files(key) == []
    if supervised or "sqlite" not in running.database:
        assert site.row(key) == {}


@pytest.mark.parametrize("supervised", [True, False])
def test_case_13_a_clear_while_a_whole_file_waits_for_its_commit_stands(
    running: Running, key: str, supervised: bool
) -> None:
    """Case 13: the row is locked by its completion; what was cleared does not come back."""
    site, person = running.site, running.person
    with running.call(("transactions.within_and_linger", key), supervised=supervised) as child:
        site.started(key)
        assert running.clear(key) < LONGEST_WAIT
        assert key not in person.shown()
        site.go()
        assert child.wait() == 0, child.log
        assert key not in person.shown()
    assert site.row(key) == {}
    assert running.files(key) == []


def test_case_13_other_downloads_can_be_cleared_meanwhile(running: Running, key: str) -> None:
    """Case 13: an export inside ``atomic()`` locks no row of another one, but all of an SQLite."""
    site, person = running.site, running.person
    states = ("complete", "failed", "pending")
    others = {state: running.init() for state in states}
    tasks = ("transactions.plain", others["complete"]), ("tasks.fail_for_people", others["failed"])
    with running.call(*tasks) as child:
        assert child.wait() == 0, child.log
    with running.call(("transactions.within", key)) as child:
        site.started(key)
        assert [site.row(other)["state"] for other in others.values()] == list(states)
        began = time.monotonic()
        assert {person.clear(other).status for other in others.values()} == {200}
        assert time.monotonic() - began < LONGEST_WAIT * len(others)
        assert not set(others.values()) & person.shown().keys()
        site.go()
        assert child.wait() == 0, child.log
    assert person.shown()[key] == "complete"
    assert not set(others.values()) & person.shown().keys()


def test_case_13_a_completion_that_is_rolled_back_is_a_failure(running: Running, key: str) -> None:
    """Case 13: the file of a transaction that failed is not handed out, and does not stay."""
    with running.call(("transactions.within_and_roll_back", key)) as child:
        assert child.wait() == 1
        assert "LookupError" in child.log
    row = running.site.row(key)
    assert (row["state"], row["size"], row["attempts"]) == ("failed", None, 1)
    assert "Something went wrong" in row["errors"]
    assert "LookupError" in row["error_detail"]
    assert running.files(key) == []


# Reports


REPORTS = ["tell_in_broken", "tell_in_aborted", "tell_and_roll_back"]


@pytest.mark.parametrize("supervised", [True, False])
def test_case_14_a_failure_is_recorded_whatever_becomes_of_the_transaction(
    running: Running, supervised: bool
) -> None:
    """Case 14: reported inside a transaction that is broken, aborted or rolled back."""
    if not supervised and "sqlite" in running.database:
        pytest.skip("by itself, SQLite has no way past the caller's lock")
    keys = {f"transactions.{task}": running.init() for task in REPORTS}
    with running.call(*keys.items(), supervised=supervised) as child:
        assert child.wait() == 0, child.log
    rows = {row["id"]: row for row in running.site.rows()}
    for task, key in keys.items():
        row = rows[key]
        assert (row["state"], row["errors"]) == ("failed", transactions.TOLD), (task, row)
        assert row["attempts"] == supervised
        assert running.person.shown()[key] == "failed"
        assert running.files(key) == []


# Autocommit


#: The site writes first: on SQLite, a savepoint is no part of a transaction that has no write.
WITHOUT_AUTOCOMMIT = """
from django.contrib.auth import get_user_model
from django.db import transaction
from async_downloads import cache
from async_downloads.shortcuts import init_generic_csv_download
from async_downloads.signals import download_changed

told = []
def listen(download_key, change, **_):
    told.append((download_key, change))
download_changed.connect(listen)

def write():
    get_user_model().objects.update(first_name="Ada")

task = "tests.faults.site.tasks.rows"
transaction.set_autocommit(False)
write()
_, lost = init_generic_csv_download(task, "ada", "Lost")
transaction.rollback()
write()
_, kept = cache.init_download("ada", "kept.csv")
_, queued = init_generic_csv_download(task, "ada", "Queued")
print(len(told))
transaction.commit()
print(len(told))
transaction.set_autocommit(True)
print(lost, kept, queued)
print(told == [(kept, "created"), (queued, "created")] or told)
"""


def test_without_autocommit_everything_follows_once_it_is_on_again(running: Running) -> None:
    """What is to happen on commit does, for what was committed and for nothing else."""
    site = running.site
    queued_before = site.queued()
    before, between, keys, told = site.run(WITHOUT_AUTOCOMMIT).splitlines()
    assert (before, between, told) == ("0", "0", "True")
    lost, kept, queued = keys.split()
    assert site.row(lost) == {}
    assert site.row(kept)["state"] == site.row(queued)["state"] == "pending"
    assert site.queued() == queued_before + 1
