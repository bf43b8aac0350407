"""Exports under Celery whose workers die, take too long, or receive a task twice."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.celery_workers import CAREFUL, send, start_celery
from tests.faults.harness import NewSite, RedisServer, Site, eventually, kill

pytestmark = pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")

#: Makes a site with Celery as its queue.
NewCelerySite = Callable[..., Site]


@pytest.fixture
def celery_site(new_site: NewSite, redis_server: RedisServer) -> NewCelerySite:
    """Return a function that makes a site with a private broker, stalled after a second."""

    def make(**settings: Any) -> Site:
        defaults = {"CELERY_BROKER": redis_server.url, "ASYNC_DOWNLOADS_STALLED_AFTER": 1}
        return new_site("postgres", **defaults | settings)

    return make


def queued(broker: RedisServer) -> int:
    """Return how many messages are waiting, or delivered and not yet acknowledged."""
    with broker.client() as client:
        return int(client.llen("celery")) + int(client.hlen("unacked"))


def test_a_killed_export_is_delivered_again_with_the_recommended_options(
    celery_site: NewCelerySite,
) -> None:
    """They are ``acks_late`` and ``reject_on_worker_lost``."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL)
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        kill(site.until_started(key).pid)
        site.until_started(key, number=2)
        site.go()
        row = site.until(key, state="complete", attempts=2)
    assert site.files() == [row["filepath"]]


@pytest.mark.parametrize("options", [{}, {"acks_late": True}], ids=["neither", "acks_late"])
def test_without_both_options_celery_does_not_deliver_a_killed_export_again(
    celery_site: NewCelerySite, redis_server: RedisServer, options: dict[str, Any]
) -> None:
    """It is acknowledged, and its owner sees that the worker stopped responding."""
    site = celery_site(CELERY_TASK_OPTIONS=options)
    key, other = site.init(), site.init()
    with site.server() as server, start_celery(site) as worker:
        send(site, "steady", key)
        kill(site.until_started(key).pid)
        eventually(lambda: worker.lines("WorkerLostError"), why="Celery to notice the death")
        person = server.client()
        eventually(lambda: person.shown().get(key) == "stalled", why="a stalled export")
        assert "it stopped responding" in person.update()["html"]
        send(site, "rows", other)
        site.until(other, state="complete", attempts=1)
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert (site.row(key)["state"], len(site.starts(key))) == ("running", 1)
        # A new task builds the file.
        site.go()
        send(site, "steady", key)
        site.until(key, state="complete", attempts=2)


def test_an_export_that_kills_its_worker_fails_after_the_last_attempt(
    celery_site: NewCelerySite, redis_server: RedisServer
) -> None:
    """The worker goes on with other tasks."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    key, other = site.init(), site.init()
    with start_celery(site) as worker:
        send(site, "silent", key)
        for number in (1, 2):
            kill(site.until_started(key, number=number).pid)
        row = site.until(key, state="failed", attempts=2)
        assert "given up" in row["errors"].lower()
        send(site, "rows", other)
        site.until(other, state="complete", attempts=1)
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert worker.alive
    assert len(site.starts(key)) == 2
    assert len(site.files()) == 1


def test_the_task_of_a_worker_that_was_killed_is_delivered_to_the_next_worker(
    celery_site: NewCelerySite,
) -> None:
    """All processes are killed; Redis delivers again after the visibility timeout."""
    site = celery_site(
        CELERY_TASK_OPTIONS=CAREFUL,
        CELERY_CONF={"broker_transport_options": {"visibility_timeout": 1}},
    )
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        site.until_started(key)
    site.go()
    with start_celery(site):
        row = site.until(key, state="complete", attempts=2)
    assert site.files() == [row["filepath"]]


def test_an_export_that_outlasts_the_visibility_timeout_is_built_once(
    celery_site: NewCelerySite,
) -> None:
    """The second delivery leaves the download to the attempt that is alive."""
    site = celery_site(
        CELERY_TASK_OPTIONS=CAREFUL,
        CELERY_CONF={"broker_transport_options": {"visibility_timeout": 1}},
        ASYNC_DOWNLOADS_STALLED_AFTER=10,
    )
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        site.until_started(key)
        # A worker that starts restores tasks that were not acknowledged in time.
        with start_celery(site) as second:
            eventually(lambda: second.lines("DownloadBusy"), why="a second delivery")
            site.go()
            row = site.until(key, state="complete", attempts=1)
    assert len(site.starts(key)) == 1
    assert site.files() == [row["filepath"]]


@pytest.mark.parametrize("task", ["silent", "silent_coroutine", "steady_coroutine"])
def test_a_soft_time_limit_fails_the_download(celery_site: NewCelerySite, task: str) -> None:
    """Celery raises an exception in the task."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL | {"soft_time_limit": 1})
    key = site.init()
    with start_celery(site):
        send(site, task, key)
        row = site.until(key, state="failed", attempts=1)
    assert "SoftTimeLimitExceeded" in row["error_detail"]


def test_after_a_hard_time_limit_nothing_is_delivered_again(
    celery_site: NewCelerySite, redis_server: RedisServer
) -> None:
    """Celery sends SIGTERM, and kills the process a tenth of a second later."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL | {"time_limit": 1})
    key = site.init()
    with start_celery(site) as worker:
        send(site, "silent", key)
        site.until_started(key)
        eventually(lambda: worker.lines("Hard time limit"), why="a hard time limit")
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert len(site.starts(key)) == 1
        # If the time was too short to record a failure, the row is as after a kill.
        row = site.row(key)
        assert row["state"] == "running" or "took too long" in row["errors"]
