"""Files that a real nginx sends, with the configuration of the documentation."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from async_downloads.files.names import shortened
from async_downloads.serving.attachment import MAX_NAME_BYTES
from tests import file_names
from tests.faults.conftest import needs
from tests.faults.harness import NewSite, Server, Site
from tests.faults.nginx import Nginx
from tests.faults.slow import SlowClient
from tests.faults.test_serving import LARGE, MEGABYTE, large_file
from tests.files.test_names import name_in_header

X_ACCEL: Final = {"ASYNC_DOWNLOADS_SERVE": "x-accel"}

#: Names that nginx would take no header for: it has four kilobytes for all of them.
LONG = ["注" * 5000 + ".csv", '"' * 5000 + ".csv.gz", "👩" * 2000, "x." + "é" * 5000]

#: Makes a download for each name, and prints their keys.
EACH: Final = """
from async_downloads import cache
for name in {names!r}:
    _, key = cache.init_download("ada", name)
    cache.save_download(key, [["id"], [name.encode("ascii", "replace")]])
    print(key)
"""


@pytest.fixture
def site(new_site: NewSite) -> Site:
    needs("nginx")
    return new_site("sqlite")


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    """A server of Django's with one thread for everybody."""
    with site.server(kind="one thread", **X_ACCEL) as server:
        yield server


@pytest.fixture
def nginx(site: Site, server: Server) -> Iterator[Nginx]:
    with Nginx(server.address, site.media) as nginx:
        yield nginx


def test_the_owner_gets_the_file_whole_or_in_part(site: Site, nginx: Nginx) -> None:
    person = nginx.client()
    url, path = large_file(site)
    path.write_bytes(bytes(range(256)) * 1000)
    whole = person.get(url)
    assert (whole.status, whole.body) == (200, path.read_bytes())
    assert whole.headers["Content-Disposition"] == 'attachment; filename="large.csv"'
    assert whole.headers["Content-Type"] == "text/csv"
    assert whole.headers["Content-Length"] == "256000"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Cache-Control"] == "private, no-store"
    part = person.get(url, Range="bytes=1000-1009", If_Range=whole.headers["ETag"])
    assert (part.status, part.body) == (206, whole.body[1000:1010])
    assert person.get(url, Range="bytes=0-1", If_Range='"other"').status == 200
    assert person.get(url, Range="bytes=256000-").status == 416


def test_nobody_else_gets_it_and_nobody_gets_past_django(site: Site, nginx: Nginx) -> None:
    url, path = large_file(site)
    inside = f"/async_downloads_files/{path.relative_to(site.media)}"
    assert nginx.client("grace").get(url).status == 404
    for person in (nginx.client("grace"), nginx.client("ada")):
        assert person.get(inside).status == 404
    assert "X-Accel-Redirect" not in nginx.client().get(url, Range="bytes=0-1").headers
    path.unlink()
    assert nginx.client().get(url).status == 410


def test_any_name_gets_through(site: Site, nginx: Nginx) -> None:
    person = nginx.client()
    nasty = [name for name in file_names.NASTY if name.strip() and "\ud800" not in name]
    chosen = [name for name in nasty if name.isprintable()] + ["a\nb %0a?#;&+é.csv", *LONG]
    keys = site.run(EACH.format(names=chosen)).split()
    rows = {key: site.row(key) for key in keys}
    for key in keys:
        answer = person.get(f"/async_downloads/download/{key}/")
        assert answer.status == 200, rows[key]
        assert answer.body == (site.media / rows[key]["filepath"]).read_bytes()
        told = shortened(rows[key]["filename"], MAX_NAME_BYTES)
        assert name_in_header(answer.headers["Content-Disposition"]) == told


def test_django_is_free_at_once_while_a_slow_client_still_downloads(
    site: Site, nginx: Nginx
) -> None:
    """The one thread of Django's answers others, long before the file has arrived."""
    person = nginx.client()
    url, _ = large_file(site)
    with SlowClient(person, url) as slow:
        slow.read(MEGABYTE)
        assert [person.update()["downloads"][0]["complete"] for _ in range(5)] == [True] * 5
        assert slow.length == LARGE
        assert slow.received < LARGE / 4
        # It was not ended either: there is more to come.
        slow.read(4 * MEGABYTE)


def test_without_nginx_the_one_thread_is_busy_as_long(site: Site) -> None:
    """What the above is for: Django that sends the file itself answers nobody else meanwhile."""
    url, _ = large_file(site)
    with site.server(kind="one thread") as server:
        person: Any = server.client()
        with SlowClient(person, url) as slow:
            slow.read(MEGABYTE)
            with pytest.raises(TimeoutError):
                person.get("/async_downloads/ajax_update/", timeout=1)
        assert person.get("/async_downloads/ajax_update/").status == 200
