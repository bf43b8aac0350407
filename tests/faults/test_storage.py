"""Storages that choose names of their own, S3, and disks that are full. Cases 22, 23, 27."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests import s3
from tests.faults.conftest import needs
from tests.faults.harness import NewSite, Server, Site

STATIC: Final = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}

WRONG: Final = "Something went wrong while creating the file. Please request it again."

#: Backends by what they do to names.
STORAGES: Final[dict[str, dict[str, Any]]] = {
    "flat": {"BACKEND": "tests.faults.site.odd_storages.FlatStorage"},
    "scattering": {"BACKEND": "tests.faults.site.odd_storages.ScatteringStorage"},
    "overwriting": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"allow_overwrite": True},
    },
}

#: Two exports of one name, of which one fails at first; what it leaves behind has the
#: name that it asks for next.
TWO: Final = """
from django.core.files.base import ContentFile
from async_downloads import cache
from async_downloads.files import storage
from async_downloads.models import Download
one, other = (cache.init_download("ada", "orders.csv")[1] for _ in range(2))
cache.save_download(one, (1 / 0 for _ in "x"))
row = Download.objects.get(pk=one)
assert row.failed
if {overwriting!r}:
    storage.save(row.filepath, ContentFile(b"left over"))
for value, key in enumerate((one, other)):
    cache.save_download(key, [["id"], [value]])
    print(key)
"""


@pytest.mark.parametrize("storage", STORAGES)
def test_case_22_the_name_that_the_storage_returns_leads_to_the_file(
    new_site: NewSite, storage: str
) -> None:
    """Case 22: two exports of one name, and one that is made again after a failure."""
    site = new_site("sqlite", STORAGES={"default": STORAGES[storage], "staticfiles": STATIC})
    with site.server() as server:
        person = server.client()
        one, other = site.run(TWO.format(overwriting=storage == "overwriting")).split()
        rows = {key: site.row(key) for key in (one, other)}
        assert sorted(site.files()) == sorted(row["filepath"] for row in rows.values())
        urls = {each["download_key"]: each["url"] for each in person.update()["downloads"]}
        assert [person.get(urls[key]).text for key in (one, other)] == ["id\n0\n", "id\n1\n"]
        assert person.clear(one).status == 200
        assert site.files() == [rows[other]["filepath"]]
        site.query("UPDATE async_downloads_download SET expires_at = '2001-01-01 00:00:00'")
        site.run("from async_downloads import tasks; tasks.cleanup_expired_downloads()")
        assert (site.rows(), site.files()) == ([], [])
        assert not server.lines("ERROR")


def test_case_27_a_worker_and_a_web_process_share_s3(new_site: NewSite) -> None:
    """Case 27: from the click to the file, a new link for each click, and all of it gone again."""
    with s3.running() as address:
        site = new_site(
            "sqlite",
            STORAGES=s3.storages(address, querystring_expire=60),
            ASYNC_DOWNLOADS_STORAGE="s3",
            ASYNC_DOWNLOADS_SERVE="redirect",
        )
        with site.server() as server, site.cluster() as cluster:
            person = server.client()
            key = person.post("/start/rows/").json["download_key"]
            row = site.until(key, state="complete")
            answer = person.get(f"/async_downloads/download/{key}/")
            assert (answer.status, len(answer.body)) == (200, row["size"])
            assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
            assert site.files() == []
            assert person.clear(key).status == 200
            assert person.get(f"/async_downloads/download/{key}/").status == 404
            assert s3.client(address).list_objects_v2(Bucket=s3.BUCKET)["KeyCount"] == 0
            assert not server.lines("ERROR")
            assert not cluster.errors


# Disks


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB; skip the test by name where that is not permitted."""
    needs("root")
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Even if somebody still has a file of it open.
        subprocess.run(["umount", "--lazy", str(folder)], timeout=30, check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk, and return what takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


#: What is saved: more than there is room for, in rows or as a file of its own; or little.
TOO_MUCH: Final = {
    "rows": "([index, 'x' * 1000] for index in range(3000))",
    "file": "file=io.BytesIO(bytes(3_000_000))",
}
LITTLE: Final = "[['id'], [1]]"


def begin(site: Site, what: str) -> str:
    """Make a record for somebody who is signed in, and save this; returns the download key."""
    return site.run(f"""
        import io
        from async_downloads import cache
        _, key = cache.init_download("ada", "orders.csv")
        cache.save_download(key, {what})
        print(key)
    """)


def save(site: Site, key: str, what: str) -> None:
    """Save this for a record that there is."""
    site.run(f"from async_downloads import cache; cache.save_download({key!r}, {what})")


def check_failure(site: Site, server: Server, key: str, disk: Path, *kept: Path) -> None:
    """See that a download has failed for want of room, and that only staff are told why."""
    row = site.row(key)
    assert (row["state"], row["errors"], row["size"]) == ("failed", WRONG, None)
    assert "No space left on device" in row["error_detail"]
    person = server.client()
    (shown,) = person.update()["downloads"]
    assert (shown["url"], shown["complete"], shown["errors"]) == ("", False, WRONG)
    for html in (person.update()["html"], person.poll().text):
        assert WRONG in html
        assert "No space left" not in html
        assert "/download/" not in html
    assert person.get(f"/async_downloads/download/{key}/").status == 404
    assert {path for path in disk.rglob("*") if path.is_file()} == set(kept)
    assert not (site.media / "downloads" / key).exists()
    assert not server.lines("ERROR")


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_case_23_a_disk_that_is_full_fails_the_export_and_keeps_no_part_of_it(
    new_site: NewSite, kind: str
) -> None:
    """Case 23: a real one of 1 MB; once there is room, a retry makes the file."""
    site = new_site("sqlite")
    with small_disk(site.media) as disk, site.server() as server:
        server.client()
        key = begin(site, TOO_MUCH[kind])
        check_failure(site, server, key, disk)
        save(site, key, LITTLE)
        assert site.row(key)["state"] == "complete"
        assert server.client().get(f"/async_downloads/download/{key}/").text == "id\n1\n"


def test_case_23_a_disk_without_any_room_fails_the_smallest_export(new_site: NewSite) -> None:
    """Case 23: not even a byte of it is stored, and clearing it is still possible."""
    site = new_site("sqlite")
    with small_disk(site.media) as disk, site.server() as server:
        filler = fill(disk)
        server.client()
        key = begin(site, LITTLE)
        check_failure(site, server, key, disk, filler)
        person = server.client()
        assert person.clear(key).status == 200
        assert person.shown() == {}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_case_23_a_full_disk_under_the_spool_fails_the_export(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Case 23: the folder for temporary files is full, the storage is not."""
    site = new_site("sqlite", ASYNC_DOWNLOADS_IN_MEMORY_MAX_SIZE_BYTES=10_000)
    with small_disk(site.folder / "spool") as disk, site.server() as server:
        monkeypatch.setenv("TMPDIR", str(disk))
        server.client()
        key = begin(site, TOO_MUCH[kind])
        check_failure(site, server, key, disk)
        assert site.files() == []
        # What needs no room there is made all the same.
        fill(disk)
        save(site, key, LITTLE)
        assert site.row(key)["state"] == "complete"


def test_case_31_a_cache_of_files_on_a_full_disk_costs_no_export(new_site: NewSite) -> None:
    """Case 31: it is a cache that fails at every write."""
    site = new_site("sqlite")
    with small_disk(site.folder / "cache") as disk, site.server() as server:
        person = server.client()
        fill(disk)
        key = person.post("/start/rows/").json["download_key"]
        assert person.shown() == {key: "pending"}
        with site.cluster() as cluster:
            site.until(key, state="complete")
            assert not cluster.lines("ERROR")
        assert person.shown() == {key: "complete"}
        assert person.get(f"/async_downloads/download/{key}/").status == 200
        assert person.clear(key).status == 200
        assert not server.lines("ERROR")
    assert (site.rows(), site.files()) == ([], [])
