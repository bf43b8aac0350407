"""Downloads that are deleted: in every way, twice, and while a user fetches them."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.client import Client
from tests.faults.harness import NewSite, Site
from tests.pace import LONGEST_WAIT

EXISTS, GONE = True, False


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_every_way_of_deleting_a_download_deletes_its_file_on_commit(
    new_site: NewSite, database: str
) -> None:
    """A rollback keeps the file. A download whose file is missing is deleted as well."""
    site = new_site(database)
    results: dict[str, dict[str, Any]] = json.loads(
        site.run("from tests.faults.site import deletions; deletions.try_all()").splitlines()[-1]
    )
    assert len(results) == 16
    for way, states in results.items():
        # A clean-up deletes the file first, as no user can see the download any more.
        is_cleanup = way in {"command", "scheduled", "of_one_collection"}
        assert states == {
            **({} if is_cleanup else {"inside": [EXISTS, GONE], "rolled back": [EXISTS, EXISTS]}),
            "inside again": [GONE if is_cleanup else EXISTS, GONE],
            "committed": [GONE, GONE],
            "without a file": GONE,
        }, way
    assert site.files() == []
    assert not list(Path(site.media, "downloads").iterdir())


@pytest.mark.parametrize("reading", ["only('name')", "defer('filepath')"])
def test_deleting_a_row_with_deferred_fields_deletes_its_file(
    new_site: NewSite, reading: str
) -> None:
    """The instance or the query did not read the path of the file."""
    site = new_site("sqlite")
    for deletion in (f"{reading}.get().delete()", f"{reading}.filter(state='complete').delete()"):
        save(site, size=256)
        site.run(f"""
            from async_downloads.models import Download
            Download.objects.{deletion}
        """)
        assert (site.rows(), site.files()) == ([], [])


def save(site: Site, *, size: int) -> str:
    """Make a complete download of this size; return the download key."""
    key = site.init()
    site.run(f"""
        import io
        from async_downloads import cache
        cache.save_download({key!r}, file=io.BytesIO(bytes(range(256)) * ({size} // 256)))
    """)
    return key


@contextmanager
def fetching(person: Client, key: str) -> Iterator[http.client.HTTPResponse]:
    """Request a file, and yield the response before its body is read."""
    connection = http.client.HTTPConnection(urlsplit(person.address).netloc, timeout=LONGEST_WAIT)
    cookie = f"sessionid={person.cookie('sessionid')}"
    try:
        connection.request("GET", f"/async_downloads/download/{key}/", headers={"Cookie": cookie})
        yield connection.getresponse()
    finally:
        connection.close()


@pytest.mark.parametrize("asgi", [False, True], ids=["wsgi", "asgi"])
def test_a_file_that_is_deleted_during_a_fetch_arrives_complete(
    new_site: NewSite, asgi: bool
) -> None:
    """The open file can be read to its end; later requests get 404."""
    site = new_site("sqlite")
    size = 16 << 20
    key = save(site, size=size)
    with site.server(asgi=asgi) as server:
        person = server.client()
        url = person.update()["downloads"][0]["url"]
        with fetching(person, key) as response:
            assert response.status == 200
            beginning = response.read(1 << 16)
            assert person.clear(key).status == 200
            assert site.files() == []
            content = beginning + response.read()
        assert content == bytes(range(256)) * (size // 256)
        assert person.get(url).status == 404
        assert person.shown() == {}
        assert not server.lines("ERROR")


def test_a_download_is_cleared_once_however_many_requests_clear_it(new_site: NewSite) -> None:
    """One after the other, and ten at once; htmx gets the list in any case."""
    site = new_site("postgres")
    one, other = save(site, size=256), save(site, size=256)
    with site.server() as server:
        person = server.client()
        assert [person.clear(one).status for _ in range(3)] == [200, 404, 404]
        path = "/async_downloads/ajax_clear_download/"
        answer = person.post(path, {"download_key": one}, HX_Request="true")
        assert (answer.status, one in answer.text) == (200, False)
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(person.clear(other).status))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(statuses) == 10
        assert set(statuses) <= {200, 404}
        assert statuses.count(200) == 1
        assert not server.lines("ERROR")
    assert (site.rows(), site.files()) == ([], [])


def test_a_download_is_cleared_though_its_file_is_missing(new_site: NewSite) -> None:
    """Also if its folder or the whole storage is missing."""
    site = new_site("sqlite")
    keys = [save(site, size=256) for _ in range(3)]
    folders = [site.media / "downloads" / key for key in keys]
    (folders[0] / "orders.csv").unlink()
    with site.server() as server:
        person = server.client()
        assert person.clear(keys[0]).status == 200
        assert not folders[0].exists()
        (folders[1] / "orders.csv").unlink()
        folders[1].rmdir()
        assert person.clear(keys[1]).status == 200
        site.media.rename(site.folder / "elsewhere")
        assert person.clear(keys[2]).status == 200
        assert person.shown() == {}
        assert not server.lines("ERROR")
    assert site.rows() == []
