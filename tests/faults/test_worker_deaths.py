"""Workers that are killed, stopped, orphaned or never started. Cases 1, 2 and 5 to 8."""

import pytest

from tests.faults.harness import (
    Client,
    NewSite,
    Site,
    cont,
    eventually,
    kill,
    stop,
    until_idle,
)

UNPICKED = "no worker has started it"
SILENT = "the worker stopped responding"


def kill_at_starts(site: Site, key: str, *numbers: int) -> None:
    """Kill the process of each of these starts of a download's task."""
    for number in numbers:
        kill(site.started(key, times=number).pid)


def until_shown(client: Client, key: str, state: str, *texts: str, seen: str | None = None) -> None:
    """Wait until a page shows a download as it should, whichever way it asks.

    Args:
        client: Who looks.
        key: The download.
        state: How it should be shown.
        *texts: What the page should say besides.
        seen: The version that an open page shows, which then has to learn of it.
    """
    eventually(lambda: client.shown().get(key) == state, why=f"{key} shown as {state}")
    if seen is not None:
        changed = f'data-state="{state}"'
        eventually(lambda: changed in client.poll(seen).text, why="an open page that changes")
    for html in (client.update()["html"], client.poll().text):
        assert f'data-state="{state}"' in html
        for text in texts:
            assert text in html


def until_it_works(site: Site, *, finished: int) -> None:
    """Wait until nothing is queued any more, and see that the workers take up new work."""
    eventually(lambda: site.queued() == 0, why="an empty queue")
    site.until(site.begin("rows"), state="complete")
    eventually(lambda: len(site.results()) == finished + 1, why="all results")


# Killed, with a broker that delivers again


def test_case_1_an_export_that_kills_its_worker_each_time_is_given_up(new_site: NewSite) -> None:
    """Case 1: past the limit the row is failed, and the queue gets rid of the task."""
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


def test_case_1_a_killed_export_is_built_by_a_later_attempt(new_site: NewSite) -> None:
    """Case 1: three kills, before anything was saved, and the fourth attempt makes it."""
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
    assert [path for path in site.files() if key in path] == [row["filepath"]]
    assert len(site.starts(key)) == 4


# Killed, with a broker that does not


def test_case_2_a_task_that_died_with_its_worker_is_shown_as_stalled(new_site: NewSite) -> None:
    """Case 2: Redis has forgotten the task; the columns alone tell the person."""
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
            until_shown(person, key, "stalled", SILENT)
            assert site.row(key)["state"] == "running"
            assert site.row(key)["attempts"] == attempt
            site.enqueue("steady", key)
        site.started(key, times=4)
        site.go()
        row = site.until(key, state="complete", attempts=4)
        until_shown(person, key, "complete")
    assert site.files() == [row["filepath"]]


# Never picked up


def test_case_5_a_wedged_cluster_does_not_leave_a_download_in_progress(new_site: NewSite) -> None:
    """Case 5: an idle worker dies with the queue's lock, and nobody can take a task any more."""
    site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=2)
    with site.server() as server, site.cluster(q={"workers": 2}) as cluster:
        eventually(lambda: len(cluster.workers) == 2, why="two workers")
        idle = cluster.workers
        for worker in idle:
            kill(worker)
        eventually(lambda: len(set(cluster.workers) - set(idle)) == 2, why="two new workers")
        key = site.begin("rows")
        person = server.client()
        # A django-q2 that no longer wedges completes it, which is as good.
        eventually(lambda: person.shown()[key] in {"stalled", "complete"}, why="an end of waiting")
        if person.shown()[key] == "stalled":
            until_shown(person, key, "stalled", UNPICKED)


def test_case_8_a_download_that_no_worker_picks_up_says_so(new_site: NewSite) -> None:
    """Case 8: no cluster runs; and once one does, the download is simply complete."""
    site = new_site("postgres", cache="redis", ASYNC_DOWNLOADS_STALLED_AFTER=1)
    with site.server() as server:
        person = server.client()
        key = person.post("/start/rows/").json["download_key"]
        assert site.row(key)["state"] == "pending"
        until_shown(person, key, "stalled", UNPICKED, seen=person.version())
        with site.cluster():
            site.until(key, state="complete", attempts=1)
            until_shown(person, key, "complete")


# Orphaned, stopped, slow


def test_case_6_orphaned_workers_and_a_new_cluster_make_one_file(new_site: NewSite) -> None:
    """Case 6: the new cluster leaves what the orphan is writing to the orphan."""
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=4)
    key = site.begin("steady")
    with site.cluster() as old:
        orphan = site.started(key).pid
        old.kill()
        with site.cluster(q={"workers": 2}) as new:
            eventually(lambda: new.deliveries, why="another delivery to the new cluster")
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
def test_case_7_a_late_loser_cannot_overwrite_the_winner(
    new_site: NewSite, database: str, body: str
) -> None:
    """Case 7: a worker falls silent past the limit, another takes over, the first goes on."""
    site = new_site(database, q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=2)
    key = site.begin("by_attempt", body, "winner")
    with site.cluster(q={"workers": 2}) as cluster:
        loser = site.started(key).pid
        stop(loser)
        site.started(key, times=2)
        claim = site.row(key)["claim"]
        site.go()
        cont(loser)
        eventually(lambda: cluster.endings, why="the end of the loser")
        row = site.row(key)
        assert (row["state"], row["claim"], row["attempts"]) == ("running", claim, 2)
        site.go("win")
        row = site.until(key, state="complete", attempts=2)
        until_idle(site, cluster)
        assert loser in cluster.workers
        assert bool(cluster.errors) == (body == "fail_late")
    assert site.row(key) == row
    assert site.files() == [row["filepath"]]
    assert "waiting" in site.media.joinpath(row["filepath"]).read_text()
    assert len({start.pid for start in site.starts(key)}) == 2


def test_case_7_a_loser_that_has_stored_its_file_removes_that_and_no_other(
    new_site: NewSite,
) -> None:
    """Case 7: it was silent between the storage and the row, and another one has won."""
    storages = {
        "default": {"BACKEND": "tests.faults.site.storages.SteeredStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=2, STORAGES=storages)
    site.go("hold")
    key = site.begin("by_attempt", "rows", "winner")
    with site.cluster(q={"workers": 2}) as cluster:
        stored = site.steering / "stored.log"
        eventually(stored.exists, why="a file that is stored")
        site.halt("hold")
        site.started(key, times=2)
        site.go("release")
        eventually(lambda: cluster.endings, why="the end of the first run")
        assert site.row(key)["state"] == "running"
        site.go("win")
        row = site.until(key, state="complete", attempts=2)
        until_idle(site, cluster)
        assert not cluster.errors
    assert site.row(key) == row
    assert site.files() == [row["filepath"]]
    assert "waiting" in site.media.joinpath(row["filepath"]).read_text()


def test_case_7_a_task_that_computes_for_long_is_stalled_and_then_complete(
    new_site: NewSite,
) -> None:
    """Case 7: what was shown as stalled is complete in the end, by its first attempt."""
    site = new_site("sqlite", q={"workers": 2}, ASYNC_DOWNLOADS_STALLED_AFTER=1)
    keys = site.begin_each("silent", "silent_within").values()
    with site.server() as server, site.cluster():
        person = server.client()
        for key in keys:
            site.started(key)
            until_shown(person, key, "stalled", SILENT)
        site.go()
        for key in keys:
            until_shown(person, key, "complete")
            assert (site.row(key)["attempts"], len(site.starts(key))) == (1, 1)


# Asked to end


def test_a_cluster_that_is_asked_to_end_finishes_the_export_first(new_site: NewSite) -> None:
    """SIGTERM to the cluster's first process: its worker has the time that it needs."""
    site = new_site("postgres")
    key = site.begin("steady")
    with site.cluster() as cluster:
        site.started(key)
        cluster.terminate()
        eventually(lambda: cluster.lines("stopping"), why="a cluster that stops")
        site.go()
        assert cluster.wait() == 0
    assert site.row(key)["state"] == "complete"
    assert (len(site.files()), site.queued()) == (1, 0)


def test_an_export_that_ended_with_its_cluster_is_picked_up_by_the_next(new_site: NewSite) -> None:
    """SIGTERM to all of its processes, as a service manager does: the next cluster takes over."""
    site = new_site("postgres", q={"retry": 2}, ASYNC_DOWNLOADS_STALLED_AFTER=1)
    key = site.begin("by_attempt", "steady", "rows")
    with site.cluster() as cluster:
        worker = site.started(key).pid
        cluster.terminate_all()
        eventually(lambda: worker not in cluster.workers, why="the end of the worker")
    with site.cluster():
        row = site.until(key, state="complete", attempts=2)
        eventually(lambda: site.queued() == 0, why="an empty queue")
    assert site.files() == [row["filepath"]]
