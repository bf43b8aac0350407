"""Large files, slow people, files that go away meanwhile. Cases 28 and 29."""

import os
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.faults.harness import NewSite, Server, Site, eventually
from tests.faults.slow import SlowClient

MEGABYTE: Final = 1 << 20
LARGE: Final = 400 * MEGABYTE

#: What the memory of the server may grow by.
GROWTH: Final = 30 * MEGABYTE

MADE: Final = """
from async_downloads import cache
from django.contrib.auth import get_user_model
user, _ = get_user_model().objects.get_or_create(username="ada")
_, key = cache.init_download(user, "large.csv")
cache.save_download(key, [["id"], [1]])
print(key)
"""


def large_file(site: Site) -> tuple[str, Path]:
    """Make a complete download whose file is large and takes no room; its URL and its file."""
    key = site.run(MADE)
    path = site.media / site.row(key)["filepath"]
    os.truncate(path, LARGE)
    return f"/async_downloads/download/{key}/", path


def peak(server: Server) -> int:
    """Return the most bytes of memory that a server has had so far."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def has_open(server: Server, path: Path) -> bool:
    """Return whether a server has a file open."""
    for link in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            if link.readlink() == path:
                return True
        except OSError:
            continue
    return False


def test_measured_large_files_are_sent_in_constant_memory(
    new_site: NewSite, kind: str, report: Report
) -> None:
    """Case 29: four slow people at once; then one of them takes it as fast as it comes."""
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
                for each in slow:
                    each.read(MEGABYTE // 4)
                time.sleep(0.05)
            assert [each.length for each in slow] == [LARGE, LARGE, LARGE, LARGE - 1]
            growth = peak(server) - before
            assert growth < GROWTH
            slow[0].read(LARGE // 4)
            growth_at_speed = peak(server) - before
            assert growth_at_speed < GROWTH
        eventually(lambda: not has_open(server, path), why="a file that nobody fetches closed")
        assert not server.lines("ERROR")
    megabytes = [f"{each / MEGABYTE:.1f} MB" for each in (before, growth, growth_at_speed)]
    report(
        f"{kind}: four slow clients of a 400 MB file",
        ["before {}, growth {}; with one of them at full speed {}".format(*megabytes)],
    )


@pytest.fixture(params=["threads", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> str:
    """Run the test over WSGI and over ASGI."""
    kind: str = request.param
    return kind


def test_a_lost_download_goes_on_where_it_stopped(new_site: NewSite, kind: str) -> None:
    """As ``curl -C -`` and browsers do it; the two parts are the whole."""
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


def test_case_28_a_file_that_was_removed_behind_our_back_is_told_of(
    new_site: NewSite, kind: str
) -> None:
    """Case 28: a page that says so, and a list that no longer offers it."""
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
