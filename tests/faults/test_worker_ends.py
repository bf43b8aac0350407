"""Exports that are delivered twice, time out, are cleared, or whose task is faulty."""

import time

import pytest

from tests.faults.harness import NewSite, eventually, kill, until_idle
from tests.pace import stretched

TOO_LONG = "It took too long, or was stopped. Please request it again."
WRONG = "Something went wrong while creating the file. Please request it again."


# Delivered twice


def test_an_export_that_is_delivered_repeatedly_is_built_once(
    new_site: NewSite,
) -> None:
    """django-q2 has no timeout, and the export lasts longer than ``retry`` twice."""
    site = new_site(
        "postgres", q={"workers": 3, "timeout": None, "retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=4
    )
    key = site.begin("steady")
    with site.cluster() as cluster:
        eventually(lambda: cluster.deliveries == 3, why="a delivery to each of the three workers")
        assert len(site.starts(key)) == 1
        site.go()
        row = site.until(key, state="complete")
        until_idle(site, cluster)
        assert site.row(key) == row
        assert not cluster.errors
        site.until(site.begin("rows"), state="complete")
    assert (row["attempts"], len(site.starts(key))) == (1, 1)
    assert site.files(key) == [row["filepath"]]


def test_repeated_deliveries_leave_workers_to_other_downloads(
    new_site: NewSite,
) -> None:
    """A long export is delivered each second to the only other worker."""
    q = {"workers": 2, "timeout": None, "retry": 1}
    site = new_site("sqlite", q=q, ASYNC_DOWNLOADS_STALLED_AFTER=4)
    long = site.begin("steady")
    with site.cluster():
        site.until_started(long)
        for _ in range(2):
            time.sleep(stretched(3))
            site.until(site.begin("rows"), state="complete")
        assert site.row(long)["state"] == "running"
        site.go()
        site.until(long, state="complete", attempts=1)


@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_deliveries_at_once_and_afterwards_build_one_file(new_site: NewSite, database: str) -> None:
    """Three workers race for one download, and a complete one is not built again."""
    site = new_site(database, q={"workers": 3}, ASYNC_DOWNLOADS_STALLED_AFTER=4)
    key = site.begin("steady")
    for _ in range(2):
        site.enqueue("steady", key)
    with site.cluster() as cluster:
        eventually(lambda: cluster.deliveries == 3, why="three deliveries")
        site.go()
        row = site.until(key, state="complete")
        site.enqueue("steady", key)
        eventually(lambda: cluster.deliveries == 4, why="the last delivery")
        until_idle(site, cluster)
        assert not cluster.errors
    assert site.row(key) == row
    assert (row["attempts"], len(site.starts(key))) == (1, 1)
    assert site.files() == [row["filepath"]]


def test_a_second_delivery_takes_over_when_the_first_worker_dies(
    new_site: NewSite,
) -> None:
    """It waits while the first attempt is alive, and builds the file after its death."""
    site = new_site(
        "sqlite", q={"workers": 2, "timeout": None, "retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=3
    )
    key = site.begin("by_attempt", "steady", "rows")
    with site.cluster() as cluster:
        first = site.until_started(key)
        eventually(lambda: cluster.deliveries == 2, why="a second delivery")
        assert site.row(key)["attempts"] == 1
        kill(first.pid)
        row = site.until(key, state="complete", attempts=2)
    assert site.files() == [row["filepath"]]


def test_clearing_frees_the_worker_and_the_one_that_waits_for_it(new_site: NewSite) -> None:
    """Both workers end their tasks."""
    site = new_site(
        "postgres", q={"workers": 2, "timeout": None, "retry": 1}, ASYNC_DOWNLOADS_STALLED_AFTER=4
    )
    key = site.begin("steady")
    with site.cluster() as cluster:
        eventually(lambda: cluster.deliveries == 2, why="a second delivery")
        site.query("DELETE FROM async_downloads_download")
        until_idle(site, cluster)
        assert not cluster.errors
    assert len(site.starts(key)) == 1
    assert not site.files()


# Timed out


def test_a_timeout_fails_the_download_and_the_task(new_site: NewSite) -> None:
    """Each attempt takes too long; after the last one, the queue drops the task."""
    q = {"workers": 4, "timeout": 2, "retry": 4}
    site = new_site("postgres", q=q, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    keys = site.begin_each(
        *("silent", "steady", "querying", "querying_in_transaction"),
        *("silent_coroutine", "steady_coroutine"),
    ).values()
    with site.cluster() as cluster:
        for key in keys:
            site.until(key, state="failed", attempts=2)
        eventually(lambda: site.queued() == 0, why="an empty queue")
        site.until(site.begin("rows"), state="complete")
        # A busy cluster may deliver a task once more while an attempt is alive.
        assert len(cluster.lines("Failed '", "exceeded maximum timeout")) >= 2 * len(keys)
    for key in keys:
        row = site.row(key)
        assert (row["state"], row["attempts"], row["errors"]) == ("failed", 2, TOO_LONG)
        assert "TimeoutException" in row["error_detail"]
        assert len(site.starts(key)) == 2
    assert len(site.files()) == 1


# Faulty tasks


def test_a_result_that_cannot_be_stored_is_dropped(new_site: NewSite) -> None:
    """The queue never sees it; the task is acknowledged, and called once."""
    site = new_site("sqlite", q={"retry": 1})
    key = site.begin("unpicklable")
    with site.cluster() as cluster:
        row = site.until(key, state="complete")
        until_idle(site, cluster)
        assert not cluster.errors
    assert (row["attempts"], len(site.starts(key))) == (1, 1)
    assert [result["success"] for result in site.results()] == [True]


def test_a_generator_function_fails_with_a_clear_error(new_site: NewSite) -> None:
    """The task is neither a success, nor delivered without end."""
    site = new_site("sqlite", q={"retry": 1}, ASYNC_DOWNLOADS_MAX_ATTEMPTS=1)
    keys = site.begin_each("generator", "async_generator")
    with site.cluster() as cluster:
        for key in keys.values():
            row = site.until(key, state="failed", errors=WRONG)
            assert "TypeError: The task has only made a generator" in row["error_detail"]
        until_idle(site, cluster)
    assert not site.starts()


def test_a_coroutine_function_builds_the_file(new_site: NewSite) -> None:
    """Also if a plain function returns the coroutine."""
    site = new_site("sqlite")
    keys = site.begin_each("coroutine", "makes_coroutine").values()
    with site.cluster() as cluster:
        files = {site.until(key, state="complete")["filepath"] for key in keys}
        until_idle(site, cluster)
        assert not cluster.errors
        assert not cluster.lines("never awaited")
    assert set(site.files()) == files


def test_a_task_that_exits_fails_and_its_worker_survives(new_site: NewSite) -> None:
    """``sys.exit`` is a failure of the task, and does not end the worker."""
    site = new_site("postgres", q={"retry": 1}, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    keys = site.begin_each("leave", "leave_within").values()
    with site.cluster() as cluster:
        workers = cluster.workers
        for key in keys:
            row = site.until(key, state="failed", attempts=2)
            assert "SystemExit: 3" in row["error_detail"]
            assert row["errors"]
        until_idle(site, cluster)
        assert cluster.workers == workers
        assert cluster.lines("RuntimeError")
    assert [len(site.starts(key)) for key in keys] == [2, 2]


def test_a_failure_shows_a_safe_text_to_the_owner_and_the_detail_to_staff(
    new_site: NewSite,
) -> None:
    """The text of an exception may be secret; the queue sees a failure after the attempts."""
    site = new_site("sqlite", q={"retry": 1}, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    key = site.begin("fail")
    with site.server() as server, site.cluster() as cluster:
        row = site.until(key, state="failed", attempts=2)
        assert (server.client().shown(), row["errors"]) == ({key: "failed"}, WRONG)
        assert "secret" not in server.client().update()["html"]
        until_idle(site, cluster)
        assert cluster.lines("Failed '", "run_task")
        assert site.row(key) == row
    assert "LookupError: postgres://user:secret@db/shop has no such table" in row["error_detail"]


def test_a_failure_that_a_retry_cannot_repair_is_not_retried(new_site: NewSite) -> None:
    """``DownloadError``, and errors that ``save_download`` records, end the task normally."""
    # Whatever is delivered before the first delivery has ended may be built once more.
    site = new_site("sqlite", q={"retry": 10})
    keys = site.begin_each("fail_for_people", "fail_within")
    with site.cluster() as cluster:
        site.until(keys["fail_for_people"], state="failed", errors="Choose a shorter period.")
        site.until(keys["fail_within"], state="failed", errors=WRONG)
        until_idle(site, cluster)
    assert [row["attempts"] for row in site.rows()] == [1, 1]
    assert len(site.starts()) == 2
    assert [result["success"] for result in site.results()] == [True, True]
    assert not site.files()


# Cleared


@pytest.mark.parametrize(("database", "body"), [("postgres", "steady"), ("sqlite", "silent")])
def test_clearing_a_running_download_frees_its_worker(
    new_site: NewSite, database: str, body: str
) -> None:
    """However the row is deleted, no file is left, and the task is a success."""
    site = new_site(database, ASYNC_DOWNLOADS_STALLED_AFTER=4)
    with site.server() as server, site.cluster(q={"workers": 3}) as cluster:
        person = server.client()
        by_post, by_orm, by_sql = (person.begin(f"/start/{body}/") for _ in range(3))
        for key in (by_post, by_orm, by_sql):
            site.until_started(key)
        assert person.clear(by_post).status == 200
        site.run(f"""
            from async_downloads.models import Download
            Download.objects.filter(pk={by_orm!r}).delete()
        """)
        site.query("DELETE FROM async_downloads_download")
        if body == "silent":
            site.go()
        until_idle(site, cluster)
        assert not cluster.errors
        assert not server.lines("ERROR")
        assert (site.rows(), site.files(), person.shown()) == ([], [], {})
    assert [result["success"] for result in site.results()] == [True] * 3


def test_the_task_of_a_cleared_pending_download_is_never_called(new_site: NewSite) -> None:
    """It is still delivered, and ends at once."""
    site = new_site("postgres")
    with site.server() as server:
        person = server.client()
        key = person.begin("/start/rows/")
        assert site.queued() == 1
        assert person.clear(key).status == 200
        with site.cluster() as cluster:
            until_idle(site, cluster)
            assert not cluster.errors
    assert (site.rows(), site.files(), site.starts()) == ([], [], [])
    assert [result["success"] for result in site.results()] == [True]
