"""Workers that are killed, stopped, orphaned or never started."""

from datetime import timedelta

import pytest

from tests.faults.harness import (
    Client,
    NewSite,
    Site,
    eventually,
    kill,
    resume,
    stop,
    storages,
    until_idle,
)

NOT_PICKED_UP = "nothing has begun to build it so far"
NOT_RESPONDING = "it stopped responding"


def kill_at_starts(site: Site, key: str, *numbers: int) -> None:
    """Kill the process of each of these starts of a download's task."""
    for number in numbers:
        kill(site.until_started(key, number=number).pid)


def until_shown(client: Client, key: str, state: str, *texts: str, seen: str | None = None) -> None:
    """Wait until HTML and JSON show a download in a state.

    Args:
        client: The client of its owner.
        key: The download key.
        state: The state, or ``stalled``.
        *texts: Texts that the list should contain.
        seen: The version of an open page, whose next poll has to change it.
    """
    eventually(lambda: client.shown().get(key) == state, why=f"{key} shown as {state}")
    if seen is not None:
        changed = f'data-state="{state}"'
        eventually(lambda: changed in client.poll(seen).text, why="a change of the open page")
    for html in (client.update()["html"], client.poll().text):
        assert f'data-state="{state}"' in html
        for text in texts:
            assert text in html


def until_it_works(site: Site, *, finished: int) -> None:
    """Wait until the queue is empty, and check that the workers take a new task."""
    eventually(lambda: site.queued() == 0, why="an empty queue")
    site.until(site.begin("rows"), state="complete")
    eventually(lambda: len(site.results()) == finished + 1, why="all results")


# Killed, with a broker that delivers again


def test_an_export_that_kills_its_worker_fails_after_the_last_attempt(new_site: NewSite) -> None:
    """After the limit the row is failed, and the queue drops the task."""
    site = new_site(
        "postgres",
        q={"retry": 1},
        ASYNC_DOWNLOADS_STALLED_AFTER=1,
        ASYNC_DOWNLOADS_MAX_ATTEMPTS=3,
    )
    key = site.begin("steady")
    with site.cluster() as cluster:
        kill_at_starts(site, key, 1, 2, 3)
        row = site.until(key, state="failed", attempts=3)
        assert "given up" in row["errors"].lower()
        until_it_works(site, finished=1)
        assert cluster.alive
    assert [start.attempts for start in site.starts(key)] == ["1", "2", "3"]
    assert site.row(key) == row
    assert all(result["success"] for result in site.results())
    assert not any(key in path for path in site.files())


def test_a_killed_export_is_built_by_a_later_attempt(new_site: NewSite) -> None:
    """Three attempts are killed before ``save_download``, and the fourth builds the file."""
    site = new_site(
        "postgres",
        q={"retry": 1},
        ASYNC_DOWNLOADS_STALLED_AFTER=1,
        ASYNC_DOWNLOADS_MAX_ATTEMPTS=4,
    )
    key = site.begin("by_attempt", "silent", "silent", "silent", "rows")
    with site.cluster():
        kill_at_starts(site, key, 1, 2, 3)
        row = site.until(key, state="complete")
        until_it_works(site, finished=1)
    assert (row["attempts"], row["percentage"], row["errors"]) == (4, 100, "")
    assert site.files(key) == [row["filepath"]]
    assert len(site.starts(key)) == 4


# Killed, with a broker that does not deliver again


def test_a_task_that_its_queue_lost_is_shown_as_stalled(new_site: NewSite) -> None:
    """The Redis broker has no copy of the task; the row alone is enough to show it."""
    site = new_site(
        "postgres",
        broker="redis",
        cache="redis",
        ASYNC_DOWNLOADS_STALLED_AFTER=1,
        ASYNC_DOWNLOADS_MAX_ATTEMPTS=4,
    )
    key = site.begin("steady")
    with site.server() as server, site.cluster():
        person = server.client()
        for attempt in (1, 2, 3):
            kill_at_starts(site, key, attempt)
            assert site.queued() == 0
            until_shown(person, key, "stalled", NOT_RESPONDING)
            assert site.row(key)["state"] == "running"
            assert site.row(key)["attempts"] == attempt
            site.enqueue("steady", key)
        site.until_started(key, number=4)
        site.go()
        row = site.until(key, state="complete", attempts=4)
        until_shown(person, key, "complete")
    assert site.files() == [row["filepath"]]


# Never picked up


def test_a_download_of_a_cluster_that_hangs_is_shown_as_stalled(new_site: NewSite) -> None:
    """An idle worker dies with the lock of the queue, and no worker can take a task."""
    site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=2)
    with site.server() as server, site.cluster(q={"workers": 2}) as cluster:
        eventually(lambda: len(cluster.workers) == 2, why="two workers")
        idle = cluster.workers
        for worker in idle:
            kill(worker)
        eventually(lambda: len(set(cluster.workers) - set(idle)) == 2, why="two new workers")
        key = site.begin("rows")
        person = server.client()
        # A fixed django-q2 completes it instead.
        eventually(lambda: person.shown()[key] in {"stalled", "complete"}, why="an end of waiting")
        if person.shown()[key] == "stalled":
            until_shown(person, key, "stalled", NOT_PICKED_UP)


def test_a_download_that_no_worker_picks_up_is_shown_as_stalled(new_site: NewSite) -> None:
    """Once a cluster runs, the download is complete."""
    site = new_site("postgres", cache="redis", ASYNC_DOWNLOADS_STALLED_AFTER=1)
    with site.server() as server:
        person = server.client()
        key = person.begin("/start/rows/")
        assert site.row(key)["state"] == "pending"
        until_shown(person, key, "stalled", NOT_PICKED_UP, seen=person.version())
        with site.cluster():
            site.until(key, state="complete", attempts=1)
            until_shown(person, key, "complete")


# Orphaned, stopped, slow


def test_an_orphaned_worker_and_a_new_cluster_build_one_file(new_site: NewSite) -> None:
    """The new cluster leaves the download to the orphan, which is alive."""
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=4)
    key = site.begin("steady")
    with site.cluster() as old:
        orphan = site.until_started(key).pid
        old.kill()
        with site.cluster(q={"workers": 2}) as new:
            eventually(lambda: new.deliveries, why="a delivery to the new cluster")
            assert old.workers == [orphan]
            site.go()
            row = site.until(key, state="complete", attempts=1)
            others = [site.begin("rows") for _ in range(3)]
            for other in others:
                site.until(other, state="complete", attempts=1)
            eventually(lambda: site.queued() == 0, why="an empty queue")
            assert new.alive
    assert site.row(key) == row
    assert [start.pid for start in site.starts(key)] == [orphan]
    assert len(site.files()) == 4


@pytest.mark.parametrize(
    ("database", "body"),
    [
        ("postgres", "steady"),
        ("postgres", "fail_late"),
        ("mariadb", "silent"),
        ("sqlite", "silent_within"),
    ],
)
def test_an_attempt_that_was_taken_over_cannot_overwrite_the_other(
    new_site: NewSite, database: str, body: str
) -> None:
    """A worker is stopped until it has stalled, another takes over, and the first resumes."""
    site = new_site(database, q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=2)
    key = site.begin("by_attempt", body, "winner")
    with site.cluster(q={"workers": 2}) as cluster:
        first = site.until_started(key).pid
        stop(first)
        site.until_started(key, number=2)
        claim = site.row(key)["claim"]
        site.go()
        resume(first)
        eventually(lambda: cluster.endings, why="the end of the first attempt")
        row = site.row(key)
        assert (row["state"], row["claim"], row["attempts"]) == ("running", claim, 2)
        site.go("win")
        row = site.until(key, state="complete", attempts=2)
        until_idle(site, cluster)
        assert first in cluster.workers
        assert bool(cluster.errors) == (body == "fail_late")
    assert site.row(key) == row
    assert site.files() == [row["filepath"]]
    assert "waiting" in site.media.joinpath(row["filepath"]).read_text()
    assert len({start.pid for start in site.starts(key)}) == 2


def test_an_attempt_that_was_taken_over_removes_only_its_own_file(
    new_site: NewSite,
) -> None:
    """It stalled after it had stored the file, and another attempt took over."""
    site = new_site(
        "postgres",
        q={"retry": 1},
        ASYNC_DOWNLOADS_STALLED_AFTER=2,
        STORAGES=storages("SteeredStorage"),
    )
    site.go("hold")
    key = site.begin("by_attempt", "rows", "winner")
    with site.cluster(q={"workers": 2}) as cluster:
        site.until_messages("stored.log")
        first = site.until_started(key).pid
        stop(first)
        site.halt("hold")
        site.until_started(key, number=2)
        site.go("release")
        resume(first)
        eventually(lambda: cluster.endings, why="the end of the first attempt")
        assert site.row(key)["state"] == "running"
        site.go("win")
        row = site.until(key, state="complete", attempts=2)
        until_idle(site, cluster)
        assert not cluster.errors
    assert site.row(key) == row
    assert site.files() == [row["filepath"]]
    assert "waiting" in site.media.joinpath(row["filepath"]).read_text()


def test_a_task_that_computes_for_long_is_never_shown_as_stalled(new_site: NewSite) -> None:
    """It is delivered again meanwhile, and completes in its first attempt."""
    site = new_site("sqlite", q={"workers": 3, "retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=2)
    keys = site.begin_each("silent", "silent_within").values()
    with site.server() as server, site.cluster() as cluster:
        person = server.client()
        begin = {key: site.until_started(key) and site.heard_at(key) for key in keys}
        end = timedelta(seconds=5 * site.settings["ASYNC_DOWNLOADS_STALLED_AFTER"])
        while any(site.heard_at(key) - begin[key] < end for key in keys):
            assert set(person.shown().values()) == {"running"}
        eventually(lambda: cluster.deliveries > 2, why="another delivery")
        site.go()
        for key in keys:
            until_shown(person, key, "complete")
            assert (site.row(key)["attempts"], len(site.starts(key))) == (1, 1)


# SIGTERM


def test_a_cluster_that_receives_sigterm_completes_the_export_first(new_site: NewSite) -> None:
    """Only the parent process receives it, and waits for its worker."""
    site = new_site("postgres")
    key = site.begin("steady")
    with site.cluster() as cluster:
        site.until_started(key)
        cluster.terminate()
        eventually(lambda: cluster.lines("stopping"), why="the cluster to stop")
        site.go()
        assert cluster.wait() == 0
    assert site.row(key)["state"] == "complete"
    assert (len(site.files()), site.queued()) == (1, 0)


def test_the_next_cluster_completes_an_export_that_ended_with_its_cluster(
    new_site: NewSite,
) -> None:
    """A service manager sends SIGTERM to all processes of the cluster."""
    site = new_site("postgres", q={"retry": 2}, ASYNC_DOWNLOADS_STALLED_AFTER=1)
    key = site.begin("by_attempt", "steady", "rows")
    with site.cluster() as cluster:
        worker = site.until_started(key).pid
        cluster.terminate_all()
        eventually(lambda: worker not in cluster.workers, why="the end of the worker")
    with site.cluster():
        row = site.until(key, state="complete", attempts=2)
        eventually(lambda: site.queued() == 0, why="an empty queue")
    assert site.files() == [row["filepath"]]
