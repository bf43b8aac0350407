"""Transactions of the site's own, around the requests that start exports. Case 12."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.harness import NewSite, Site, eventually
from tests.faults.site import transactions

MODULE = transactions.__name__

# Requests


@pytest.fixture
def atomic_site(new_site: NewSite) -> Site:
    """A site whose requests are transactions, and whose queue and cache are not part of them."""
    site = new_site("postgres", cache="redis", broker="redis", ROOT_URLCONF=MODULE)
    site.settings["DATABASES"]["default"]["ATOMIC_REQUESTS"] = True
    return site


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that take a while."""
    with ThreadPoolExecutor() as pool:
        yield pool


def test_case_12_a_worker_waits_for_the_commit_of_the_request(
    atomic_site: Site, threads: ThreadPoolExecutor
) -> None:
    """Case 12: queued before the commit, by a site that knows no better; or never committed."""
    site = atomic_site
    # The first request of a person makes their collection, and others would wait for that.
    first = site.init()
    with site.server() as server, site.cluster(q={"workers": 3}) as cluster:
        person = server.client()
        asked = [
            threads.submit(person.post, f"/queue-at-once/{path}/", {"linger": 2, **more})
            for path, more in [("bare", {}), ("supervised", {}), ("supervised", {"raise": "no"})]
        ]
        eventually(lambda: cluster.deliveries == 3, why="workers that are at it")
        assert len(site.rows()) == 1
        answers = [future.result() for future in asked]
        keys = [answer.json["download_key"] for answer in answers[:2]]
        for key in keys:
            site.until(key, state="complete")
        # Of the bare one the task itself has started, without a row.
        assert [start.attempts for start in site.starts(keys[0])] == ["-"]
        eventually(lambda: len(cluster.lines("Processed")) == 3, why="an end of each delivery")
        assert answers[2].status == 500
        assert cluster.lines("does not exist; nothing was written")
        assert person.shown() == dict.fromkeys(keys, "complete") | {first: "pending"}
    assert (len(site.rows()), len(site.files())) == (3, 2)
    assert len(site.starts()) == 2


def test_case_12_the_helpers_queue_on_commit_and_not_before(
    atomic_site: Site, threads: ThreadPoolExecutor
) -> None:
    """Case 12: the worker gets nothing during the request, and nothing of one that fails."""
    site = atomic_site
    paths = ["/queue-on-commit/", "/start/rows/"]
    with site.server() as server, site.cluster() as cluster:
        person = server.client()
        failing = [person.post(path, {"linger": 0, "raise": "no"}).status for path in paths]
        asked = [threads.submit(person.post, path, {"linger": 0.5}) for path in paths]
        keys = [future.result().json["download_key"] for future in asked]
        for key in keys:
            site.until(key, state="complete", attempts=1)
        assert failing == [500, 500]
        assert person.shown() == dict.fromkeys(keys, "complete")
        assert (cluster.deliveries, site.queued()) == (2, 0)
        # Whoever had been early would have had to wait.
        assert [start.attempts for start in site.starts()] == ["1", "1"]
        waits = [row["started_at"] - row["timestamp"] for row in site.rows()]
        assert min(waits).total_seconds() > 0.5


@pytest.mark.parametrize("atomic", [True, False])
def test_case_12_a_queue_that_is_out_of_reach_is_told(new_site: NewSite, atomic: bool) -> None:
    """Case 12: nothing listens at the broker's port; the request succeeds, the download says so."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        broker = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        site = new_site("sqlite", broker=broker, ROOT_URLCONF=MODULE)
        site.settings["DATABASES"]["default"]["ATOMIC_REQUESTS"] = atomic
        with site.server() as server:
            person = server.client()
            for path in ("/queue-on-commit/", "/start/rows/"):
                key = person.post(path, {"linger": 0}).json["download_key"]
                assert person.shown()[key] == "failed"
                assert person.update()["html"].count("could not be queued") == len(site.rows())
                row = site.row(key)
                assert (row["state"], row["attempts"]) == ("failed", 0)
                assert "could not be queued" in row["errors"]
