"""Downloads that go away: by every way there is, twice, and while somebody fetches them.

Cases 30 and 50.
"""

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

THERE, GONE = True, False


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_case_50_every_way_of_deleting_takes_the_file_along_after_the_commit(
    new_site: NewSite, database: str
) -> None:
    """Case 50: and keeps it on a rollback; one whose file is gone goes as well."""
    site = new_site(database)
    found: dict[str, dict[str, Any]] = json.loads(
        site.run("from tests.faults.site import deletions; deletions.try_all()").splitlines()[-1]
    )
    assert len(found) == 16
    for way, states in found.items():
        # What a clean-up removes, nobody can see any more: there the file goes first.
        is_cleanup = way in {"command", "scheduled", "of_one_collection"}
        assert states == {
            **({} if is_cleanup else {"inside": [THERE, GONE], "rolled back": [THERE, THERE]}),
            "inside again": [GONE if is_cleanup else THERE, GONE],
            "committed": [GONE, GONE],
            "without a file": GONE,
        }, way
    assert site.files() == []
    assert not list(Path(site.media, "downloads").iterdir())


@pytest.mark.parametrize("reading", ["only('name')", "defer('filepath')"])
def test_case_50_a_row_that_was_read_in_part_takes_its_file_along(
    new_site: NewSite, reading: str
) -> None:
    """Case 50: by an instance or a query that did not read where the file lies."""
    site = new_site("sqlite")
    for deletion in (f"{reading}.get().delete()", f"{reading}.filter(state='complete').delete()"):
        save(site, size=256)
        site.run(f"""
            from async_downloads.models import Download
            Download.objects.{deletion}
        """)
        assert (site.rows(), site.files()) == ([], [])


def save(site: Site, *, size: int) -> str:
    """Make a complete download of some bytes."""
    key = site.init()
    site.run(f"""
        import io
        from async_downloads import cache
        cache.save_download({key!r}, file=io.BytesIO(bytes(range(256)) * ({size} // 256)))
    """)
    return key


@contextmanager
def fetching(person: Client, key: str) -> Iterator[http.client.HTTPResponse]:
    """Fetch a file, as slowly as one reads."""
    connection = http.client.HTTPConnection(urlsplit(person.address).netloc, timeout=LONGEST_WAIT)
    cookie = f"sessionid={person.cookie('sessionid')}"
    try:
        connection.request("GET", f"/async_downloads/download/{key}/", headers={"Cookie": cookie})
        yield connection.getresponse()
    finally:
        connection.close()


@pytest.mark.parametrize("asgi", [False, True], ids=["wsgi", "asgi"])
def test_case_30_what_is_deleted_while_somebody_fetches_it_is_fetched_whole(
    new_site: NewSite, asgi: bool
) -> None:
    """Case 30: the open file stays until it is read; whoever comes later gets none."""
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


def test_case_30_a_download_that_is_deleted_twice_is_gone_once(new_site: NewSite) -> None:
    """Case 30: one after the other, and ten at once; a page gets its list either way."""
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


def test_case_30_what_is_missing_is_deleted_like_anything_else(new_site: NewSite) -> None:
    """Case 30: the file, its folder, the whole storage."""
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
