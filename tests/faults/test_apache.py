"""Files that a real Apache sends, with the configuration of the documentation."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.apache import Apache
from tests.faults.conftest import needs
from tests.faults.harness import NewSite, Server, Site
from tests.faults.test_nginx import EACH
from tests.faults.test_serving import large_file

X_SENDFILE: Final = {"ASYNC_DOWNLOADS_SERVE": "x-sendfile"}

#: A percent sign, what would be decoded twice, and letters that a header cannot hold.
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
    # A server that root starts works as another user.
    site.folder.chmod(0o755)
    with Apache(server.address, site.media) as apache:
        yield apache


def test_the_owner_gets_the_file_whole_or_in_part(site: Site, apache: Apache) -> None:
    person = apache.client()
    url, path = large_file(site)
    path.write_bytes(bytes(range(256)) * 1000)
    whole = person.get(url)
    assert (whole.status, whole.body) == (200, path.read_bytes())
    assert whole.headers["Content-Disposition"] == 'attachment; filename="large.csv"'
    assert whole.headers["Content-Type"] == "text/csv"
    assert whole.headers["Content-Length"] == "256000"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Cache-Control"] == "private, no-store"
    assert "X-Sendfile" not in whole.headers
    part = person.get(url, Range="bytes=1000-1009")
    assert (part.status, part.body) == (206, whole.body[1000:1010])


def test_no_other_person_gets_it(site: Site, apache: Apache) -> None:
    url, path = large_file(site)
    assert apache.client("grace").get(url).status == 404
    path.unlink()
    assert apache.client().get(url).status == 410


def test_any_name_gets_through(site: Site, apache: Apache) -> None:
    person = apache.client()
    for key in site.run(EACH.format(names=NAMES)).split():
        row = site.row(key)
        answer = person.get(f"/async_downloads/download/{key}/")
        assert answer.status == 200, row
        assert answer.body == (site.media / row["filepath"]).read_bytes()
