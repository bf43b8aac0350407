"""Heartbeats of processes that are silent, stopped, or have another clock."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import pytest

from tests import services
from tests.faults.conftest import needs
from tests.faults.harness import Child, NewSite, Site, eventually, resume, stop

#: Makes a context in which children start whose clock is so many seconds ahead.
Clock = Callable[[int], AbstractContextManager[None]]

#: With libfaketime, ``time.sleep`` refuses its argument, unless the monotonic clock is wrong too.
SLEEP = """
import threading, time
time.sleep = lambda seconds: threading.Event().wait(seconds)
"""

RUN = """
from async_downloads.tasks import run_task
run_task("tests.faults.site.tasks.{task}", {key!r}, {args!r})
"""

START = """
from async_downloads.shortcuts import start_download
from django.contrib.auth import get_user_model
user, _ = get_user_model().objects.get_or_create(username="ada")
_, key = start_download("tests.faults.site.tasks.{task}", user, "orders.csv", args={args!r})
print(key)
"""

RESCUE = """
from async_downloads import store
print(store.rescue_alone())
"""

#: What another process makes of downloads that it has nothing to do with.
LOOK = """
from async_downloads import store
from async_downloads.exceptions import DownloadBusy
from async_downloads.models import Download
from async_downloads.tasks import run_task

rows = Download.objects.all()
owner = rows.select_related("collection__user")[0].collection.owner
print("rescue:", store.rescue_alone())
print("retried:", sum(map(store.retry, rows)))
print("stalled:", sum(row.stalled for row in store.read_listing(owner).downloads))
for download in rows:
    try:
        run_task("tests.faults.site.tasks.plain", download.download_key)
    except DownloadBusy:
        print("busy")
"""


def begin(site: Site, task: str, *args: str) -> tuple[str, Child]:
    """Make a download whose call is recorded, and run its task in a child."""
    key = site.run(SLEEP + START.format(task=task, args=list(args)))
    return key, call(site, key, task, *args)


def call(site: Site, key: str, task: str, *args: str) -> Child:
    """Start a child that runs a task."""
    return site.start(SLEEP + RUN.format(task=task, key=key, args=args))


def until_heard_for(site: Site, keys: list[str], seconds: float) -> None:
    """Wait until the heartbeats of some downloads have come for so long."""
    begin = {key: site.heard_at(key) for key in keys}
    longest = timedelta(seconds=seconds)
    eventually(
        lambda: all(site.heard_at(key) - begin[key] > longest for key in keys), why="heartbeats"
    )


@pytest.mark.parametrize("database", ["postgres", "mariadb", "sqlite"])
def test_an_attempt_that_was_stopped_and_rescued_loses(new_site: NewSite, database: str) -> None:
    """A thread gives its heartbeats until the whole process is stopped."""
    site = new_site(database, ASYNC_DOWNLOADS_STALLED_AFTER=3)
    stalled_after = site.settings["ASYNC_DOWNLOADS_STALLED_AFTER"]
    key, first = begin(site, "by_attempt", "silent", "winner")
    site.until_started(key)
    until_heard_for(site, [key], 2 * stalled_after)
    assert site.run(RESCUE) == "Rescue(requeued=0, failed=0, errors=0)"
    stop(first.pid)
    rescued = "Rescue(requeued=1, failed=0, errors=0)"
    eventually(lambda: site.run(RESCUE) == rescued, why="a rescue")
    assert site.row(key)["state"] == "pending"
    second = call(site, key, "by_attempt", "silent", "winner")
    site.until_started(key, number=2)
    site.go()
    resume(first.pid)
    assert first.wait() == 1
    assert "DownloadBusy" in first.log
    assert site.files() == []
    site.go("win")
    assert second.wait() == 0, second.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("complete", 2)
    assert site.files() == [row["filepath"]]
    assert "waiting" in site.media.joinpath(row["filepath"]).read_text()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a context in which children start that have another clock."""
    needs("faketime")

    @contextmanager
    def ahead(seconds: int) -> Iterator[None]:
        with monkeypatch.context() as patch:
            if seconds:
                patch.setenv("LD_PRELOAD", str(services.faketime()))
                patch.setenv("FAKETIME", f"{seconds:+d}s")
                patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            yield

    return ahead


@pytest.mark.parametrize(
    ("database", "worker", "others"),
    [("postgres", 180, 0), ("postgres", 0, 180), ("mariadb", -180, 0), ("mariadb", 0, -180)],
)
def test_clocks_that_are_minutes_apart_lead_to_no_second_attempt(
    new_site: NewSite, clock: Clock, database: str, worker: int, others: int
) -> None:
    site = new_site(database, ASYNC_DOWNLOADS_STALLED_AFTER=6)
    with clock(worker):
        # The first one writes heartbeats to its row, the second one to the cache.
        begun = [begin(site, task) for task in ("silent", "silent_in_transaction")]
    keys = [key for key, _ in begun]
    for key in keys:
        site.until_started(key)
    until_heard_for(site, keys[:1], site.settings["ASYNC_DOWNLOADS_STALLED_AFTER"])
    with clock(others):
        seen = site.run(SLEEP + LOOK).splitlines()
    assert seen == [
        "rescue: Rescue(requeued=0, failed=0, errors=0)",
        "retried: 0",
        "stalled: 0",
        "busy",
        "busy",
    ]
    site.go()
    for _, child in begun:
        assert child.wait() == 0, child.log
    for key in keys:
        assert len(site.starts(key)) == 1
        row = site.row(key)
        assert (row["state"], row["attempts"], site.files(key)) == (
            "complete",
            1,
            [row["filepath"]],
        )
