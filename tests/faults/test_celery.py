"""What Celery does with exports whose workers die, take too long or get them twice. Case 53."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.celery_workers import CAREFUL, send, start_celery
from tests.faults.harness import NewSite, RedisServer, Site, eventually, kill

pytestmark = pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")

#: Makes a site whose tasks Celery runs.
NewCelerySite = Callable[..., Site]


@pytest.fixture
def celery_site(new_site: NewSite, redis_server: RedisServer) -> NewCelerySite:
    """Make a site with a broker of its own, where what is silent for a second has stalled."""

    def make(**settings: Any) -> Site:
        defaults = {"CELERY_BROKER": redis_server.url, "ASYNC_DOWNLOADS_STALLED_AFTER": 1}
        return new_site("postgres", **defaults | settings)

    return make


def queued(broker: RedisServer) -> int:
    """Return how many messages wait, or were delivered and not yet acknowledged."""
    with broker.client() as client:
        return int(client.llen("celery")) + int(client.hlen("unacked"))


def test_a_killed_export_is_delivered_again_with_the_options_that_we_name(
    celery_site: NewCelerySite,
) -> None:
    """Case 53: ``acks_late`` and ``reject_on_worker_lost``."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL)
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        kill(site.started(key).pid)
        site.started(key, times=2)
        site.go()
        row = site.until(key, state="complete", attempts=2)
    assert site.files() == [row["filepath"]]


@pytest.mark.parametrize("options", [{}, {"acks_late": True}], ids=["neither", "acks_late"])
def test_a_killed_export_is_lost_to_celery_without_both_of_them(
    celery_site: NewCelerySite, redis_server: RedisServer, options: dict[str, Any]
) -> None:
    """Case 53: it is acknowledged, and the person is shown that the worker stopped responding."""
    site = celery_site(CELERY_TASK_OPTIONS=options)
    key, other = site.init(), site.init()
    with site.server() as server, start_celery(site) as worker:
        send(site, "steady", key)
        kill(site.started(key).pid)
        eventually(lambda: worker.lines("WorkerLostError"), why="a death that Celery notices")
        person = server.client()
        eventually(lambda: person.shown().get(key) == "stalled", why="a stalled export")
        assert "the worker stopped responding" in person.update()["html"]
        send(site, "rows", other)
        site.until(other, state="complete", attempts=1)
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert (site.row(key)["state"], len(site.starts(key))) == ("running", 1)
        # Started anew, it is built.
        site.go()
        send(site, "steady", key)
        site.until(key, state="complete", attempts=2)


def test_an_export_that_kills_its_worker_each_time_is_given_up(
    celery_site: NewCelerySite, redis_server: RedisServer
) -> None:
    """The last death that is allowed ends it, and the worker goes on with others."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    key, other = site.init(), site.init()
    with start_celery(site) as worker:
        send(site, "silent", key)
        for number in (1, 2):
            kill(site.started(key, times=number).pid)
        row = site.until(key, state="failed", attempts=2)
        assert "given up" in row["errors"].lower()
        send(site, "rows", other)
        site.until(other, state="complete", attempts=1)
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert worker.alive
    assert len(site.starts(key)) == 2
    assert len(site.files()) == 1


def test_what_a_whole_worker_took_along_is_delivered_to_the_next(
    celery_site: NewCelerySite,
) -> None:
    """All of its processes are killed; Redis gives it out again after the visibility time-out."""
    site = celery_site(
        CELERY_TASK_OPTIONS=CAREFUL,
        CELERY_CONF={"broker_transport_options": {"visibility_timeout": 1}},
    )
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        site.started(key)
    site.go()
    with start_celery(site):
        row = site.until(key, state="complete", attempts=2)
    assert site.files() == [row["filepath"]]


def test_an_export_that_outlasts_the_visibility_time_out_is_made_once(
    celery_site: NewCelerySite,
) -> None:
    """It is delivered a second time while the first is alive, and left to that."""
    site = celery_site(
        CELERY_TASK_OPTIONS=CAREFUL,
        CELERY_CONF={"broker_transport_options": {"visibility_timeout": 1}},
        ASYNC_DOWNLOADS_STALLED_AFTER=10,
    )
    key = site.init()
    with start_celery(site):
        send(site, "steady", key)
        site.started(key)
        # It looks for what was not acknowledged in time when it begins.
        with start_celery(site) as second:
            eventually(lambda: second.lines("DownloadBusy"), why="a second delivery")
            site.go()
            row = site.until(key, state="complete", attempts=1)
    assert len(site.starts(key)) == 1
    assert site.files() == [row["filepath"]]


def test_a_soft_time_limit_is_a_failure(celery_site: NewCelerySite) -> None:
    """Celery raises it in the task."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL | {"soft_time_limit": 1})
    key = site.init()
    with start_celery(site):
        send(site, "silent", key)
        row = site.until(key, state="failed", attempts=1)
    assert "SoftTimeLimitExceeded" in row["error_detail"]


def test_after_a_hard_time_limit_nothing_is_delivered_again(
    celery_site: NewCelerySite, redis_server: RedisServer
) -> None:
    """Celery asks the process to end, and kills it a tenth of a second later."""
    site = celery_site(CELERY_TASK_OPTIONS=CAREFUL | {"time_limit": 1})
    key = site.init()
    with start_celery(site) as worker:
        send(site, "silent", key)
        site.started(key)
        eventually(lambda: worker.lines("Hard time limit"), why="a death")
        eventually(lambda: queued(redis_server) == 0, why="an empty queue")
        assert len(site.starts(key)) == 1
        # Where the time was too short to record it, the export is left as if it was killed.
        row = site.row(key)
        assert row["state"] == "running" or "took too long" in row["errors"]
