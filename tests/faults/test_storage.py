"""Storages that choose other names, S3, and full disks."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests import s3
from tests.faults.conftest import needs
from tests.faults.harness import NewSite, Server, Site, storages
from tests.pace import LONGEST_WAIT

WRONG: Final = "Something went wrong while creating the file. Please request it again."

#: Storages by the way in which they change names.
STORAGES: Final[dict[str, dict[str, Any]]] = {
    "flat": storages("FlatStorage"),
    "scattering": storages("ScatteringStorage"),
    "overwriting": storages("django.core.files.storage.FileSystemStorage", allow_overwrite=True),
}

#: Two exports of one name. The first attempt of one fails, and may leave a file of that name.
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
def test_the_row_keeps_the_name_that_the_storage_returns(new_site: NewSite, storage: str) -> None:
    """For two exports of one name, one of which is built again after a failure."""
    site = new_site("sqlite", STORAGES=STORAGES[storage])
    with site.server() as server:
        person = server.client()
        one, other = site.run(TWO.format(overwriting=storage == "overwriting")).split()
        rows = {key: site.row(key) for key in (one, other)}
        assert sorted(site.files()) == sorted(row["filepath"] for row in rows.values())
        urls = {item["download_key"]: item["url"] for item in person.update()["downloads"]}
        assert [person.get(urls[key]).text for key in (one, other)] == ["id\n0\n", "id\n1\n"]
        assert person.clear(one).status == 200
        assert site.files() == [rows[other]["filepath"]]
        site.query("UPDATE async_downloads_download SET expires_at = '2001-01-01 00:00:00'")
        site.run("from async_downloads import tasks; tasks.cleanup_expired_downloads()")
        assert (site.rows(), site.files()) == ([], [])
        assert not server.lines("ERROR")


def test_a_worker_and_a_web_process_share_s3(new_site: NewSite) -> None:
    """The file is built, fetched by a signed link, and deleted."""
    with s3.running() as address:
        site = new_site(
            "sqlite",
            STORAGES=s3.storages(address, querystring_expire=60),
            ASYNC_DOWNLOADS_STORAGE="s3",
            ASYNC_DOWNLOADS_SERVE="redirect",
        )
        with site.server() as server, site.cluster() as cluster:
            person = server.client()
            key = person.begin("/start/rows/")
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


# Full disks


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB; skip the test if that is not permitted."""
    needs("root")
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(
        mount, capture_output=True, text=True, timeout=LONGEST_WAIT, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily, as a process may still have a file open.
        subprocess.run(["umount", "--lazy", str(folder)], timeout=LONGEST_WAIT, check=True)


def fill(disk: Path) -> Path:
    """Fill a disk, and return the file that fills it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


#: Arguments of ``save_download``: rows or a file that do not fit on the disk, and few rows.
TOO_MUCH: Final = {
    "rows": "([index, 'x' * 1000] for index in range(3000))",
    "file": "file=io.BytesIO(bytes(3_000_000))",
}
FEW_ROWS: Final = "[['id'], [1]]"


def begin(site: Site, content: str) -> str:
    """Make a download and save this content; return the download key."""
    return site.run(f"""
        import io
        from async_downloads import cache
        _, key = cache.init_download("ada", "orders.csv")
        cache.save_download(key, {content})
        print(key)
    """)


def save(site: Site, key: str, content: str) -> None:
    """Save this content for an existing download."""
    site.run(f"from async_downloads import cache; cache.save_download({key!r}, {content})")


def check_failure(site: Site, server: Server, key: str, disk: Path, *kept: Path) -> None:
    """Check that the full disk failed a download, and that only staff see the reason."""
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
def test_a_full_disk_fails_the_export_and_keeps_no_partial_file(
    new_site: NewSite, kind: str
) -> None:
    """The disk has 1 MB; once it has room, a retry builds the file."""
    site = new_site("sqlite")
    with small_disk(site.media) as disk, site.server() as server:
        server.client()
        key = begin(site, TOO_MUCH[kind])
        check_failure(site, server, key, disk)
        save(site, key, FEW_ROWS)
        assert site.row(key)["state"] == "complete"
        assert server.client().get(f"/async_downloads/download/{key}/").text == "id\n1\n"


def test_a_disk_without_a_free_byte_fails_the_smallest_export(new_site: NewSite) -> None:
    """The download can still be cleared."""
    site = new_site("sqlite")
    with small_disk(site.media) as disk, site.server() as server:
        filler = fill(disk)
        server.client()
        key = begin(site, FEW_ROWS)
        check_failure(site, server, key, disk, filler)
        person = server.client()
        assert person.clear(key).status == 200
        assert person.shown() == {}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_a_full_disk_under_the_spool_fails_the_export(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The folder for temporary files is full, the storage is not."""
    site = new_site("sqlite", ASYNC_DOWNLOADS_IN_MEMORY_MAX_SIZE_BYTES=10_000)
    with small_disk(site.folder / "spool") as disk, site.server() as server:
        monkeypatch.setenv("TMPDIR", str(disk))
        server.client()
        key = begin(site, TOO_MUCH[kind])
        check_failure(site, server, key, disk)
        assert site.files() == []
        # An export that stays in memory still completes.
        fill(disk)
        save(site, key, FEW_ROWS)
        assert site.row(key)["state"] == "complete"


def test_a_file_cache_on_a_full_disk_fails_no_export(new_site: NewSite) -> None:
    """Every write to the cache fails."""
    site = new_site("sqlite")
    with small_disk(site.folder / "cache") as disk, site.server() as server:
        person = server.client()
        fill(disk)
        key = person.begin("/start/rows/")
        assert person.shown() == {key: "pending"}
        with site.cluster() as cluster:
            site.until(key, state="complete")
            assert not cluster.lines("ERROR")
        assert person.shown() == {key: "complete"}
        assert person.get(f"/async_downloads/download/{key}/").status == 200
        assert person.clear(key).status == 200
        assert not server.lines("ERROR")
    assert (site.rows(), site.files()) == ([], [])
