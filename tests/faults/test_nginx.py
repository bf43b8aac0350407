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
from tests.faults.served_files import LARGE, MEGABYTE, fetch_whole, large_file, named_downloads
from tests.faults.slow import SlowClient
from tests.files.test_names import header_name

X_ACCEL: Final = {"ASYNC_DOWNLOADS_SERVE": "x-accel"}

#: Names too long for nginx, which allows four kilobytes for all headers together.
LONG = ["注" * 5000 + ".csv", '"' * 5000 + ".csv.gz", "👩" * 2000, "x." + "é" * 5000]


@pytest.fixture
def site(new_site: NewSite) -> Site:
    needs("nginx")
    return new_site("sqlite")


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    """A server of Django with a single thread."""
    with site.server(kind="one thread", **X_ACCEL) as server:
        yield server


@pytest.fixture
def nginx(site: Site, server: Server) -> Iterator[Nginx]:
    with Nginx(server.address, site.media) as nginx:
        yield nginx


def test_the_owner_gets_the_file_whole_or_in_part(site: Site, nginx: Nginx) -> None:
    client = nginx.client()
    url, path = large_file(site)
    whole = fetch_whole(client, url, path)
    part = client.get(url, Range="bytes=1000-1009", If_Range=whole.headers["ETag"])
    assert (part.status, part.body) == (206, whole.body[1000:1010])
    assert client.get(url, Range="bytes=0-1", If_Range='"other"').status == 200
    assert client.get(url, Range="bytes=256000-").status == 416


def test_only_the_owner_gets_the_file_and_only_through_django(site: Site, nginx: Nginx) -> None:
    url, path = large_file(site)
    internal = f"/async_downloads_files/{path.relative_to(site.media)}"
    assert nginx.client("grace").get(url).status == 404
    for client in (nginx.client("grace"), nginx.client("ada")):
        assert client.get(internal).status == 404
    assert "X-Accel-Redirect" not in nginx.client().get(url, Range="bytes=0-1").headers
    path.unlink()
    assert nginx.client().get(url).status == 410


def test_a_file_of_any_name_is_sent(site: Site, nginx: Nginx) -> None:
    client = nginx.client()
    nasty = [name for name in file_names.NASTY if name.strip() and "\ud800" not in name]
    names = [name for name in nasty if name.isprintable()] + ["a\nb %0a?#;&+é.csv", *LONG]
    keys = named_downloads(site, names)
    rows = {key: site.row(key) for key in keys}
    for key in keys:
        answer = client.get(f"/async_downloads/download/{key}/")
        assert answer.status == 200, rows[key]
        assert answer.body == (site.media / rows[key]["filepath"]).read_bytes()
        name = shortened(rows[key]["filename"], MAX_NAME_BYTES)
        assert header_name(answer.headers["Content-Disposition"]) == name


def test_django_is_free_at_once_while_a_slow_client_still_downloads(
    site: Site, nginx: Nginx
) -> None:
    """The only thread of Django serves other requests long before the file has arrived."""
    client = nginx.client()
    url, _ = large_file(site)
    with SlowClient(client, url) as slow:
        slow.read(MEGABYTE)
        assert [client.update()["downloads"][0]["complete"] for _ in range(5)] == [True] * 5
        assert slow.length == LARGE
        assert slow.received < LARGE / 4
        # The connection was not closed either.
        slow.read(4 * MEGABYTE)


def test_without_nginx_a_slow_client_keeps_the_only_thread_busy(site: Site) -> None:
    """The reason for nginx: a thread of Django that sends a file serves no other request."""
    url, _ = large_file(site)
    with site.server(kind="one thread") as server:
        client: Any = server.client()
        with SlowClient(client, url) as slow:
            slow.read(MEGABYTE)
            with pytest.raises(TimeoutError):
                client.get("/async_downloads/ajax_update/", timeout=1)
        assert client.get("/async_downloads/ajax_update/").status == 200
