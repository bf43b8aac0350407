"""Files that a real Apache sends, with the configuration of the documentation."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.apache import Apache
from tests.faults.conftest import needs
from tests.faults.harness import NewSite, Server, Site
from tests.faults.served_files import fetch_whole, large_file, named_downloads

X_SENDFILE: Final = {"ASYNC_DOWNLOADS_SERVE": "x-sendfile"}

#: Names with a percent sign, a text that decoding twice changes, and letters beyond Latin-1.
NAMES: Final = ["100 %.csv", "100%25.csv", "Größe;#&+.csv", "注文.csv.gz", "plain.csv"]


@pytest.fixture
def site(new_site: NewSite) -> Site:
    needs("apache")
    return new_site("sqlite")


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with site.server(kind="one thread", **X_SENDFILE) as server:
        yield server


@pytest.fixture
def apache(site: Site, server: Server) -> Iterator[Apache]:
    # If root starts the server, its workers run as another user.
    site.folder.chmod(0o755)
    with Apache(server.address, site.media) as apache:
        yield apache


def test_the_owner_gets_the_file_whole_or_in_part(site: Site, apache: Apache) -> None:
    client = apache.client()
    url, path = large_file(site)
    whole = fetch_whole(client, url, path)
    assert "X-Sendfile" not in whole.headers
    part = client.get(url, Range="bytes=1000-1009")
    assert (part.status, part.body) == (206, whole.body[1000:1010])


def test_only_the_owner_gets_the_file(site: Site, apache: Apache) -> None:
    url, path = large_file(site)
    assert apache.client("grace").get(url).status == 404
    path.unlink()
    assert apache.client().get(url).status == 410


def test_a_file_of_any_name_is_sent(site: Site, apache: Apache) -> None:
    client = apache.client()
    for key in named_downloads(site, NAMES):
        row = site.row(key)
        answer = client.get(f"/async_downloads/download/{key}/")
        assert answer.status == 200, row
        assert answer.body == (site.media / row["filepath"]).read_bytes()
