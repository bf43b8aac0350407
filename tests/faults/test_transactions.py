"""Requests inside transactions of the site, which start exports."""

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
    """A site whose requests are transactions; its queue and cache are not in the database."""
    site = new_site("postgres", cache="redis", broker="redis", ROOT_URLCONF=MODULE)
    site.settings["DATABASES"]["default"]["ATOMIC_REQUESTS"] = True
    return site


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for slow requests."""
    with ThreadPoolExecutor() as pool:
        yield pool


def test_a_worker_waits_for_the_commit_of_the_request(
    atomic_site: Site, threads: ThreadPoolExecutor
) -> None:
    """The site queues the task before the commit; one request is never committed."""
    site = atomic_site
    # A first request makes the collection; without it, the other requests would wait.
    first = site.init()
    with site.server() as server, site.cluster(q={"workers": 3}) as cluster:
        person = server.client()
        requests = [
            threads.submit(person.post, f"/queue-at-once/{path}/", {"linger": 2, **more})
            for path, more in [("bare", {}), ("supervised", {}), ("supervised", {"raise": "no"})]
        ]
        eventually(lambda: cluster.deliveries == 3, why="a delivery to each worker")
        assert len(site.rows()) == 1
        answers = [request.result() for request in requests]
        keys = [answer.json["download_key"] for answer in answers[:2]]
        for key in keys:
            site.until(key, state="complete")
        # The worker has called the bare task itself, before there was a row.
        assert [start.attempts for start in site.starts(keys[0])] == ["-"]
        eventually(lambda: len(cluster.lines("Processed")) == 3, why="an end of each delivery")
        assert answers[2].status == 500
        assert cluster.lines("does not exist; nothing was written")
        assert person.shown() == dict.fromkeys(keys, "complete") | {first: "pending"}
    assert (len(site.rows()), len(site.files())) == (3, 2)
    assert len(site.starts()) == 2


def test_the_shortcuts_queue_on_commit_and_not_before(
    atomic_site: Site, threads: ThreadPoolExecutor
) -> None:
    """The worker receives no task during the request, or of a request that fails."""
    site = atomic_site
    paths = ["/queue-on-commit/", "/start/rows/"]
    with site.server() as server, site.cluster() as cluster:
        person = server.client()
        failing = [person.post(path, {"linger": 0, "raise": "no"}).status for path in paths]
        requests = [threads.submit(person.post, path, {"linger": 0.5}) for path in paths]
        keys = [request.result().json["download_key"] for request in requests]
        for key in keys:
            site.until(key, state="complete", attempts=1)
        assert failing == [500, 500]
        assert person.shown() == dict.fromkeys(keys, "complete")
        assert (cluster.deliveries, site.queued()) == (2, 0)
        # A task that was queued early would have waited for its row.
        assert [start.attempts for start in site.starts()] == ["1", "1"]
        waits = [row["started_at"] - row["timestamp"] for row in site.rows()]
        assert min(waits).total_seconds() > 0.5


@pytest.mark.parametrize("atomic", [True, False])
def test_a_download_fails_with_a_message_if_its_queue_cannot_be_reached(
    new_site: NewSite, atomic: bool
) -> None:
    """Nothing listens at the port of the broker; the request succeeds."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        broker = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        site = new_site("sqlite", broker=broker, ROOT_URLCONF=MODULE)
        site.settings["DATABASES"]["default"]["ATOMIC_REQUESTS"] = atomic
        with site.server() as server:
            person = server.client()
            for path in ("/queue-on-commit/", "/start/rows/"):
                key = person.begin(path, {"linger": 0})
                assert person.shown()[key] == "failed"
                assert person.update()["html"].count("could not be queued") == len(site.rows())
                row = site.row(key)
                assert (row["state"], row["attempts"]) == ("failed", 0)
                assert "could not be queued" in row["errors"]
