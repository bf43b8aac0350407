"""Files without rows, and files that look so: ``cleanup_downloads --orphans``. Case 48."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.harness import NewSite, Site, eventually
from tests.faults.processes import ROOT
from tests.pace import LONGEST_WAIT

DAY: Final = 86_400

STATIC: Final = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


def storages(name: str) -> dict[str, Any]:
    """Return settings with one of the storages of the site."""
    return {
        "default": {"BACKEND": f"tests.faults.site.odd_storages.{name}"},
        "staticfiles": STATIC,
    }


def manage(site: Site, *arguments: str, code: int = 0) -> str:
    """Run the command as an operator does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "cleanup_downloads", *arguments],
        env=site.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def put(site: Site, path: str, *, days: float = 3) -> str:
    """Put a file into the storage that is some days old, its folders as well."""
    file = site.media / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"left over")
    make_old(site, path, days)
    return path


def make_old(site: Site, path: str, days: float = 3) -> None:
    """Let a file, or a link, and the folders around it look some days old."""
    moment = time.time() - days * DAY
    for one in (site.media / path, *(site.media / path).parents):
        if one == site.media:
            break
        os.utime(one, (moment, moment), follow_symlinks=False)


def tree(site: Site) -> set[str]:
    """Return everything in the storage, empty folders and links included."""
    return {path.relative_to(site.media).as_posix() for path in site.media.rglob("*")}


def orphan(name: str = "orders.csv") -> str:
    """Return the path of a file in a folder of a download that there is not."""
    return f"downloads/{uuid.uuid4()}/{name}"


def test_case_48_only_old_folders_of_downloads_that_there_are_not_are_removed(
    new_site: NewSite,
) -> None:
    """Case 48: on request, and then neither a stranger's file nor a row's nor a young one."""
    site = new_site("sqlite")
    key = uuid.uuid4()
    live = site.init()
    waiting = site.init()
    site.run(f"from async_downloads import cache; cache.save_download({live!r}, [[1]])")
    make_old(site, site.row(live)["filepath"])
    kept = {
        put(site, f"downloads/{waiting}/beginning.csv"),
        put(site, orphan(), days=0.9),
        put(site, f"downloads/{str(uuid.uuid4()).upper()}/orders.csv"),
        put(site, f"downloads/{uuid.uuid4().hex}/orders.csv"),
        put(site, f"downloads/{{{uuid.uuid4()}}}/orders.csv"),
        put(site, f"downloads/urn:uuid:{uuid.uuid4()}/orders.csv"),
        put(site, f"downloads/{uuid.uuid4()} (copy)/orders.csv"),
        put(site, "downloads/reports/orders.csv"),
        put(site, f"downloads/reports/{uuid.uuid4()}/orders.csv"),
        put(site, f"downloads/{uuid.uuid4()}"),
        put(site, "downloads/readme.txt"),
        put(site, f"downloads-of-others/{uuid.uuid4()}/orders.csv"),
        put(site, f"{uuid.uuid4()}/orders.csv"),
        put(site, f"downloads/{uuid.uuid4()}/a folder/orders.csv"),
        site.row(live)["filepath"],
    }
    half_young = uuid.uuid4()
    kept |= {put(site, f"downloads/{half_young}/{name}", days=0) for name in "ab"}
    make_old(site, f"downloads/{half_young}/a")
    gone = {orphan(), f"downloads/{key}/orders.csv", f"downloads/{key}/orders_1.csv"}
    for path in gone:
        put(site, path)
    before = tree(site)
    manage(site)
    assert tree(site) == before
    told = manage(site, "--orphans", "--dry-run")
    assert tree(site) == before
    assert listed(told) == gone
    assert "Would remove 3 orphan files." in told
    told = manage(site, "--orphans")
    assert listed(told) == gone
    assert "Removed 3 orphan files." in told
    assert set(site.files()) == kept
    folders = {os.path.dirname(path) for path in gone}  # noqa: PTH120 (they are no paths here)
    assert tree(site) == before - gone - folders
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    assert len(site.rows()) == 2


def listed(output: str) -> set[str]:
    """Return the paths that the command has listed."""
    return {line.strip() for line in output.splitlines() if line.startswith("  ")}


def test_case_48_an_age_in_hours_is_what_the_operator_says(new_site: NewSite) -> None:
    """Case 48: ``--min-age`` takes any number of hours, and refuses what is none."""
    site = new_site("sqlite")
    young, old = put(site, orphan(), days=0.1), put(site, orphan(), days=2)
    assert listed(manage(site, "--orphans", "--min-age", "72")) == set()
    assert listed(manage(site, "--orphans", "--dry-run", "--min-age", "1.5")) == {young, old}
    assert listed(manage(site, "--orphans")) == {old}
    for wrong in ("-1", "nan"):
        manage(site, "--orphans", f"--min-age={wrong}", code=2)
    assert site.files() == [young]
    assert listed(manage(site, "--orphans", "--min-age", "0")) == {young}
    assert tree(site) == {"downloads"}


def test_case_48_a_folder_that_is_a_link_is_not_ours(new_site: NewSite) -> None:
    """Case 48: nor is anything that it leads to."""
    site = new_site("sqlite")
    strange = put(site, "archive/2019.csv")
    gone = put(site, orphan())
    link = site.media / "downloads" / str(uuid.uuid4())
    link.symlink_to(site.media / "archive")
    make_old(site, f"downloads/{link.name}")
    assert listed(manage(site, "--orphans")) == {gone}
    assert site.files() == [strange]
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["archive/2019.csv", "nowhere"])
def test_case_48_what_a_link_in_a_folder_leads_to_survives(new_site: NewSite, target: str) -> None:
    """Case 48: nor does one that leads nowhere keep other orphans from being removed."""
    site = new_site("sqlite")
    strange = put(site, "archive/2019.csv")
    paths = {put(site, orphan()) for _ in range(2)}
    beside = min(paths)
    link = (site.media / beside).with_name("latest.csv")
    link.symlink_to(site.media / target)
    make_old(site, link.relative_to(site.media).as_posix())
    assert listed(manage(site, "--orphans")) >= paths - {beside}
    assert set(site.files()) <= {strange, beside}
    assert (site.media / strange).read_bytes() == b"left over"


@pytest.mark.parametrize("storage", ["FlatStorage", "ScatteringStorage"])
def test_case_48_a_file_that_the_storage_put_elsewhere_is_not_an_orphan(
    new_site: NewSite, storage: str
) -> None:
    """Case 48: the row says where it lies, and not the name of the folder."""
    site = new_site("sqlite", STORAGES=storages(storage))
    key = site.init()
    site.run(f"from async_downloads import cache; cache.save_download({key!r}, [[1]])")
    row = site.row(key)
    assert row["state"] == "complete"
    assert site.files() == [row["filepath"]]
    assert key not in row["filepath"]
    make_old(site, row["filepath"])
    assert listed(manage(site, "--orphans")) == set()
    assert site.files() == [row["filepath"]]


def test_case_48_many_searches_at_once_do_not_trip_over_each_other(new_site: NewSite) -> None:
    """Case 48: a folder that vanishes while it is looked at is somebody else's work."""
    site = new_site("postgres")
    paths = {put(site, orphan()) for _ in range(300)}
    searchers = [
        site.start(
            """
            from datetime import timedelta
            from async_downloads import store
            from tests.faults.site import steering
            steering.tell("ready.log", "ready")
            steering.wait_for("go")
            for path in store.remove_orphans(min_age=timedelta(hours=1)):
                steering.tell("removed.log", path)
            """
        )
        for _ in range(3)
    ]
    ready = site.steering / "ready.log"
    eventually(lambda: ready.exists() and len(ready.read_text().split()) == 3, why="all three")
    site.go()
    for searcher in searchers:
        assert searcher.wait() == 0, searcher.log
    assert set((site.steering / "removed.log").read_text().split()) == paths
    assert tree(site) == {"downloads"}


def test_case_48_without_a_folder_of_downloads_there_is_nothing_to_do(new_site: NewSite) -> None:
    """Case 48: nor if that is a file."""
    site = new_site("sqlite")
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    site.media.mkdir()
    Path(site.media, "downloads").write_bytes(b"a stranger's")
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    assert site.files() == ["downloads"]


def test_case_48_a_file_that_was_left_by_sql_is_found(new_site: NewSite) -> None:
    """Case 48: rows that were deleted past Django leave their files behind until then."""
    site = new_site("postgres")
    key = site.init()
    site.run(f"from async_downloads import cache; cache.save_download({key!r}, [[1]])")
    path = site.row(key)["filepath"]
    site.query("DELETE FROM async_downloads_download")
    assert site.files() == [path]
    make_old(site, path)
    assert listed(manage(site, "--orphans")) == {path}
    assert site.files() == []
