"""Exports and reports inside transactions of the site."""

import time
from collections.abc import Iterator

import pytest

from tests.faults.running import Running, run_site
from tests.faults.site import transactions

#: Seconds that a user may wait: less than the lock timeout of 20.
LONGEST_WAIT = 15.0

#: The first SQLite has the options of the demo, the second has none.
DATABASES = ["postgres", "mariadb", "sqlite", "sqlite-deferred"]


@pytest.fixture(scope="module", params=DATABASES)
def module_running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The site that the tests of this module share."""
    with run_site(request.param, ASYNC_DOWNLOADS_STALLED_AFTER=2) as running:
        yield running


# Exports


@pytest.mark.parametrize("supervised", [True, False])
def test_an_export_inside_a_transaction_shows_progress_and_can_be_cleared(
    running: Running, key: str, supervised: bool
) -> None:
    """Neither waits for the transaction, and the export stops once it is cleared."""
    site, person = running.site, running.person
    with running.call(("transactions.within", key), supervised=supervised) as child:
        site.until_started(key)
        site.go("report")
        shown_at = running.until_percentage(key, 30)
        reported_at = float(site.messages("reported.log")[0])
        clearing = running.clear(key)
        assert key not in person.shown()
        began = time.monotonic()
        child.wait()
        stopping = time.monotonic() - began
        assert ("returned" in child.log) == supervised, child.log
    print(  # noqa: T201 (shown with -s)
        f"\n{running.database}, {'supervised' if supervised else 'bare'}: "
        f"progress seen after {shown_at - reported_at:.2f} s, "
        f"cleared in {clearing:.2f} s, stopped after {stopping:.2f} s"
    )
    assert shown_at - reported_at < LONGEST_WAIT
    assert clearing < LONGEST_WAIT
    assert key not in person.shown()
    assert running.site.files(key) == []
    if supervised or "sqlite" not in running.database:
        assert site.row(key) == {}


@pytest.mark.parametrize("supervised", [True, False])
def test_a_download_that_is_cleared_before_its_commit_does_not_come_back(
    running: Running, key: str, supervised: bool
) -> None:
    """The completion inside the open transaction has locked the row."""
    site, person = running.site, running.person
    with running.call(("transactions.within_and_linger", key), supervised=supervised) as child:
        site.until_started(key)
        assert running.clear(key) < LONGEST_WAIT
        assert key not in person.shown()
        site.go()
        assert child.wait() == 0, child.log
        assert key not in person.shown()
    assert site.row(key) == {}
    assert running.site.files(key) == []


def test_other_downloads_can_be_cleared_during_an_export_in_a_transaction(
    running: Running, key: str
) -> None:
    """The export locks no other row; on SQLite, it locks the whole database."""
    site, person = running.site, running.person
    states = ("complete", "failed", "pending")
    others = {state: running.init() for state in states}
    tasks = ("transactions.plain", others["complete"]), ("tasks.fail_for_people", others["failed"])
    with running.call(*tasks) as child:
        assert child.wait() == 0, child.log
    with running.call(("transactions.within", key)) as child:
        site.until_started(key)
        assert [site.row(other)["state"] for other in others.values()] == list(states)
        began = time.monotonic()
        assert {person.clear(other).status for other in others.values()} == {200}
        assert time.monotonic() - began < LONGEST_WAIT * len(others)
        assert not set(others.values()) & person.shown().keys()
        site.go()
        assert child.wait() == 0, child.log
    assert person.shown()[key] == "complete"
    assert not set(others.values()) & person.shown().keys()


def test_a_completion_that_is_rolled_back_fails_the_download(running: Running, key: str) -> None:
    """The file is deleted, and never served."""
    with running.call(("transactions.within_and_roll_back", key)) as child:
        assert child.wait() == 1
        assert "LookupError" in child.log
    row = running.site.row(key)
    assert (row["state"], row["size"], row["attempts"]) == ("failed", None, 1)
    assert "Something went wrong" in row["errors"]
    assert "LookupError" in row["error_detail"]
    assert running.site.files(key) == []


# Reports


REPORTS = ["report_in_broken", "report_in_aborted", "report_and_roll_back"]


@pytest.mark.parametrize("supervised", [True, False])
def test_a_failure_is_recorded_though_the_transaction_is_rolled_back(
    running: Running, supervised: bool
) -> None:
    """Also if the transaction was broken or aborted before the report."""
    if not supervised and "sqlite" in running.database:
        pytest.skip("without the runner, SQLite cannot write beside the caller's lock")
    keys = {f"transactions.{task}": running.init() for task in REPORTS}
    with running.call(*keys.items(), supervised=supervised) as child:
        assert child.wait() == 0, child.log
    rows = {row["id"]: row for row in running.site.rows()}
    for task, key in keys.items():
        row = rows[key]
        assert (row["state"], row["errors"]) == ("failed", transactions.OWNER_MESSAGE), (task, row)
        assert row["attempts"] == supervised
        assert running.person.shown()[key] == "failed"
        assert running.site.files(key) == []


# Autocommit


#: The site writes first: on SQLite, a savepoint begins no transaction.
WITHOUT_AUTOCOMMIT = """
from django.contrib.auth import get_user_model
from django.db import transaction
from async_downloads import cache
from async_downloads.shortcuts import init_generic_csv_download
from async_downloads.signals import download_changed

changes = []
def listen(download_key, change, **_):
    changes.append((download_key, change))
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
print(len(changes))
transaction.commit()
print(len(changes))
transaction.set_autocommit(True)
print(lost, kept, queued)
print(changes == [(kept, "created"), (queued, "created")] or changes)
"""


def test_without_autocommit_signals_and_tasks_follow_the_commit(running: Running) -> None:
    """Only for downloads that were committed, once autocommit is on again."""
    site = running.site
    queued_before = site.queued()
    before, between, keys, as_expected = site.run(WITHOUT_AUTOCOMMIT).splitlines()
    assert (before, between, as_expected) == ("0", "0", "True")
    lost, kept, queued = keys.split()
    assert site.row(lost) == {}
    assert site.row(kept)["state"] == site.row(queued)["state"] == "pending"
    assert site.queued() == queued_before + 1
