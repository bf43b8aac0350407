"""Large files, slow connections, and missing files."""

import os
import re
import time
from contextlib import ExitStack
from typing import Final

import pytest

from tests.conftest import Report
from tests.faults.harness import NewSite, Server, eventually
from tests.faults.processes import open_files, peak_bytes, status
from tests.faults.served_files import LARGE, MEGABYTE, large_file
from tests.faults.slow import SlowClient

#: The growth of the server's memory that the test accepts.
GROWTH: Final = 30 * MEGABYTE


def peak(server: Server) -> int:
    """Return the peak memory of a server in bytes."""
    return peak_bytes(status(server.pid))


def test_large_files_are_sent_in_constant_memory(
    new_site: NewSite, kind: str, report: Report
) -> None:
    """Four slow clients at once; then one of them reads at full speed."""
    site = new_site("sqlite")
    url, path = large_file(site)
    with site.server(kind=kind) as server:
        person = server.client()
        assert person.get(url, Range="bytes=0-100000").status == 206
        before = peak(server)
        with ExitStack() as stack:
            slow = [stack.enter_context(SlowClient(person, url)) for _ in range(3)]
            slow.append(stack.enter_context(SlowClient(person, url, Range="bytes=1-")))
            for _ in range(20):
                for client in slow:
                    client.read(MEGABYTE // 4)
                time.sleep(0.05)
            assert [client.length for client in slow] == [LARGE, LARGE, LARGE, LARGE - 1]
            growth = peak(server) - before
            assert growth < GROWTH
            slow[0].read(LARGE // 4)
            growth_at_speed = peak(server) - before
            assert growth_at_speed < GROWTH
        eventually(lambda: str(path) not in open_files(server.pid), why="a closed file")
        assert not server.lines("ERROR")
    megabytes = [f"{size / MEGABYTE:.1f} MB" for size in (before, growth, growth_at_speed)]
    report(
        f"{kind}: four slow clients of a 400 MB file",
        ["before {}, growth {}; with one of them at full speed {}".format(*megabytes)],
    )


@pytest.fixture(params=["threads", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> str:
    """A server for WSGI, and one for ASGI."""
    kind: str = request.param
    return kind


def test_an_interrupted_fetch_resumes_where_it_stopped(new_site: NewSite, kind: str) -> None:
    """As with ``curl -C -`` and browsers: the two parts are the whole file."""
    site = new_site("sqlite")
    url, path = large_file(site)
    content = os.urandom(3 * MEGABYTE)
    path.write_bytes(content)
    with site.server(kind=kind) as server:
        person = server.client()
        with SlowClient(person, url) as slow:
            slow.read(MEGABYTE)
            received, headers = slow.received, slow.headers
        (etag,) = re.findall(r'(?i)^etag: (".+")', headers, re.MULTILINE)
        rest = person.get(url, Range=f"bytes={received}-", If_Range=etag)
        assert (rest.status, rest.body) == (206, content[received:])
        assert rest.headers["ETag"] == etag
        assert person.get(url, Range=f"bytes={len(content)}-").status == 416
        assert not server.lines("ERROR")


def test_a_missing_file_answers_410_and_fails_the_download(new_site: NewSite, kind: str) -> None:
    """The page of the answer and the list say so, and the list has no link any more."""
    site = new_site("sqlite")
    url, path = large_file(site)
    path.unlink()
    with site.server(kind=kind) as server:
        person = server.client()
        shown = person.version()
        for _ in range(2):
            answer = person.get(url)
            assert answer.status == 410
            assert "This file is missing" in answer.text
        assert person.poll(shown).status == 200
        assert url not in person.poll().text
        assert "The file is missing." in person.poll().text
        assert site.row(url.split("/")[-2])["state"] == "failed"
        assert person.clear(url.split("/")[-2]).status == 200
