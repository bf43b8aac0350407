"""Exports whose workers die are built by themselves, on every executor."""

import os
import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pytest

from tests.conftest import Report
from tests.faults.executors import EXECUTORS, Celery, DjangoQOnRedis, Executor, rescuing
from tests.faults.harness import NewSite, RedisServer, Site, alive, eventually
from tests.pace import stretched

#: Seconds without a heartbeat after which an attempt has stalled.
STALLED_AFTER: Final = 2

#: Exports of the kill loop.
KILL_LOOP: Final = int(os.environ.get("TESTS_KILL_LOOP", "20"))

#: Each executor with each way in which it is rescued.
CASES: Final = [(name, way) for name, kind in EXECUTORS.items() for way in kind.ways]

#: The executors whose workers are processes of their own.
WORKERS: Final = [name for name in EXECUTORS if name != "threads"]


#: Tries again, as the button of the owner does.
RETRY: Final = """
from async_downloads import store
from async_downloads.models import Download
print(store.retry(Download.objects.select_related("collection__user").get(pk={key!r})))
"""


def until_third(site: Site, key: str) -> int:
    """Wait until an export is at 30 %, and return its process."""
    pid = site.until_started(key).pid
    site.until(key, percentage=30)
    return pid


def has_one_whole_file(site: Site, row: dict[str, Any]) -> None:
    """Check the file of a complete download."""
    assert site.files(row["id"]) == [row["filepath"]]
    text = site.media.joinpath(row["filepath"]).read_text()
    assert text.startswith("id,name\n")
    assert len(text) == row["size"]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_an_export_whose_worker_is_killed_is_built_by_another_one(
    new_site: NewSite, redis_server: RedisServer, report: Report, name: str, way: str
) -> None:
    """At 30 % of it; no person does anything."""
    kind = EXECUTORS[name]
    site = kind.site_for(new_site, redis_server, ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER)
    with kind(site, beat=way == "beat") as executor:
        (key,) = executor.begin("third")
        pid = until_third(site, key)
        killed = time.monotonic()
        executor.kill(pid)
        with rescuing(executor, way) as go_on:

            def started_again() -> bool:
                go_on()
                return len(site.starts(key)) > 1

            eventually(started_again, why="a second start")
            report(
                f"{name}, by {way}",
                [
                    f"running again {time.monotonic() - killed:.1f} s after the kill; "
                    f"STALLED_AFTER {site.settings['ASYNC_DOWNLOADS_STALLED_AFTER']} s"
                ],
            )
            site.go()
            row = site.until(key, state="complete")
    assert (row["attempts"], len(site.starts(key)), row["errors"]) == (2, 2, "")
    has_one_whole_file(site, row)
    assert len(site.rows()) == len(site.files()) == 1


def test_an_export_that_kills_each_worker_fails_after_the_last_attempt(
    new_site: NewSite, redis_server: RedisServer
) -> None:
    """Its owner may then try again, and attempts start afresh."""
    site = DjangoQOnRedis.site_for(
        new_site,
        redis_server,
        ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER,
        ASYNC_DOWNLOADS_MAX_ATTEMPTS=2,
    )
    with DjangoQOnRedis(site) as executor, rescuing(executor, "cron"):
        (key,) = executor.begin("third")
        for number in (1, 2):
            executor.kill(site.until_started(key, number=number).pid)
        row = site.until(key, state="failed", attempts=2)
        assert "given up" in row["errors"].lower()
        assert site.run(RETRY.format(key=key)) == "True"
        site.until_started(key, number=3)
        site.go()
        row = site.until(key, state="complete", attempts=1)
    has_one_whole_file(site, row)


@pytest.mark.parametrize("kind", [DjangoQOnRedis, Celery])
def test_messages_that_a_flushed_redis_has_lost_are_queued_again(
    new_site: NewSite, redis_server: RedisServer, kind: type[Executor]
) -> None:
    """Ten wait behind one that is in progress."""
    site = kind.site_for(new_site, redis_server, ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER)
    with kind(site) as executor:
        (busy,) = executor.begin("third")
        until_third(site, busy)
        keys = executor.begin("brief", 10)
        redis_server.flush()
        with rescuing(executor, "cron"):
            site.go()
            for key in [busy, *keys]:
                row = site.until(key, state="complete", attempts=1)
                has_one_whole_file(site, row)
    assert len(site.rows()) == len(site.files()) == 11


@pytest.mark.parametrize("name", ["Celery", "Celery, acks_late"])
def test_exports_of_a_celery_whose_machine_dies_are_built(
    new_site: NewSite, redis_server: RedisServer, name: str
) -> None:
    """All its processes are killed, and Redis would deliver again after an hour, or not at all."""
    kind = EXECUTORS[name]
    site = kind.site_for(new_site, redis_server, ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER)
    with kind(site) as executor:
        (key,) = executor.begin("third")
        until_third(site, key)
        executor.restart()
        with rescuing(executor, "cron"):
            site.until_started(key, number=2)
            site.go()
            row = site.until(key, state="complete", attempts=2)
    has_one_whole_file(site, row)


@pytest.mark.parametrize("name", WORKERS)
def test_exports_whose_workers_are_killed_again_and_again_are_all_built_once(
    new_site: NewSite, redis_server: RedisServer, report: Report, name: str
) -> None:
    """A worker is killed before any export is complete, and then one after each that is.

    ``TESTS_KILL_LOOP`` is the number of exports.
    """
    kind = EXECUTORS[name]
    site = kind.site_for(
        new_site,
        redis_server,
        ASYNC_DOWNLOADS_STALLED_AFTER=STALLED_AFTER,
        ASYNC_DOWNLOADS_MAX_ATTEMPTS=100,
    )
    with kind(site, workers=3) as executor, rescuing(executor, "cron"):
        began = time.monotonic()
        keys = executor.begin("brief", KILL_LOOP)
        loop = KillLoop(executor)
        loop.run(len(keys))
        rows = site.rows()
        took = time.monotonic() - began
    attempts = [row["attempts"] for row in rows]
    report(
        f"{name}: {len(keys)} exports",
        [
            f"{loop.kills} kills, {sum(attempts)} attempts ({max(attempts)} at most for one), "
            f"{loop.restarts} restarts of the queue, {took:.0f} s"
        ],
    )
    assert sorted(row["id"] for row in rows) == sorted(keys)
    assert {row["state"] for row in rows} == {"complete"}
    for row in rows:
        has_one_whole_file(site, row)
        assert site.media.joinpath(row["filepath"]).read_text().count("\n") == 11
    assert len(site.files()) == len(keys)


@dataclass
class KillLoop:
    """Kills a working process whenever one more export is complete, until all are.

    So it kills often, and lets a slow machine complete some between two kills.

    django-q2 itself stops for good if a worker is killed while it holds the lock of a queue
    between two tasks. Then a new cluster is started, as an operator would.
    """

    executor: Executor
    kills: int = 0
    restarts: int = 0
    last_start: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))

    def run(self, count: int) -> None:
        """Kill until so many exports are complete, and once before any of them is."""
        eventually(self._kill_working, why="an export to kill")
        self.executor.site.go()
        complete = 0
        while complete < count:
            complete = eventually(partial(self._more, complete), why="one more that is complete")
            # At a random moment of the work on the others.
            time.sleep(random.random())
            self._kill_working()

    def _more(self, complete: int) -> int:
        """Return how many exports are complete, if there are more."""
        self._restart_if_stopped()
        now = sum(row["state"] == "complete" for row in self.executor.site.rows())
        return now if now > complete else 0

    def _kill_working(self) -> bool:
        """Kill a process that works on an export; return whether there was one."""
        site = self.executor.site
        running = [row["id"] for row in site.rows() if row["state"] == "running"]
        pids = [start.pid for key in running for start in site.starts(key)[-1:]]
        if pids := [pid for pid in pids if alive(pid)]:
            self.executor.kill(random.choice(pids))
            self.kills += 1
        return bool(pids)

    def _restart_if_stopped(self) -> None:
        moment, starts = self.last_start
        if len(self.executor.site.starts()) > starts:
            self.last_start = (time.monotonic(), len(self.executor.site.starts()))
        elif time.monotonic() - moment > stretched(8 * STALLED_AFTER):
            self.executor.restart()
            self.restarts += 1
            self.last_start = (time.monotonic(), starts)
