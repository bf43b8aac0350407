"""``cleanup_downloads --orphans``: files without rows, and files that only look like them."""

import os
import time
import uuid
from pathlib import Path
from typing import Final

import pytest

from tests.faults.harness import NewSite, Site, storages

DAY: Final = 86_400


def manage(site: Site, *arguments: str, code: int = 0) -> str:
    """Run the command as an operator does, and return its output."""
    completed = site.run_python("-m", "django", "cleanup_downloads", *arguments)
    assert completed.returncode == code, completed.stderr
    assert "Traceback" not in completed.stderr, completed.stderr
    return completed.stdout


def put(site: Site, path: str, *, days: float = 3) -> str:
    """Store a file that, like its folders, is some days old; return its path."""
    file = site.media / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"left over")
    make_old(site, path, days)
    return path


def make_old(site: Site, path: str, days: float = 3) -> None:
    """Make a file or a link, and the folders around it, look some days old."""
    moment = time.time() - days * DAY
    for parent in (site.media / path, *(site.media / path).parents):
        if parent == site.media:
            break
        os.utime(parent, (moment, moment), follow_symlinks=False)


def tree(site: Site) -> set[str]:
    """Return all paths in the storage, empty folders and links included."""
    return {path.relative_to(site.media).as_posix() for path in site.media.rglob("*")}


def orphan(name: str = "orders.csv") -> str:
    """Return the path of a file in the folder of a download without a row."""
    return f"downloads/{uuid.uuid4()}/{name}"


def test_only_old_folders_of_downloads_without_rows_are_removed(
    new_site: NewSite,
) -> None:
    """Only on request; foreign files, files of rows and recent files stay."""
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
    partly_recent = uuid.uuid4()
    kept |= {put(site, f"downloads/{partly_recent}/{name}", days=0) for name in "ab"}
    make_old(site, f"downloads/{partly_recent}/a")
    gone = {orphan(), f"downloads/{key}/orders.csv", f"downloads/{key}/orders_1.csv"}
    for path in gone:
        put(site, path)
    before = tree(site)
    manage(site)
    assert tree(site) == before
    output = manage(site, "--orphans", "--dry-run")
    assert tree(site) == before
    assert listed(output) == gone
    assert "Would remove 3 orphan files." in output
    output = manage(site, "--orphans")
    assert listed(output) == gone
    assert "Removed 3 orphan files." in output
    assert set(site.files()) == kept
    folders = {os.path.dirname(path) for path in gone}  # noqa: PTH120 (paths in the storage, not on this machine)
    assert tree(site) == before - gone - folders
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    assert len(site.rows()) == 2


def listed(output: str) -> set[str]:
    """Return the paths that the output lists."""
    return {line.strip() for line in output.splitlines() if line.startswith("  ")}


def test_min_age_sets_the_age_in_hours(new_site: NewSite) -> None:
    """It accepts any number of hours, and refuses other values."""
    site = new_site("sqlite")
    recent, old = put(site, orphan(), days=0.1), put(site, orphan(), days=2)
    assert listed(manage(site, "--orphans", "--min-age", "72")) == set()
    assert listed(manage(site, "--orphans", "--dry-run", "--min-age", "1.5")) == {recent, old}
    assert listed(manage(site, "--orphans")) == {old}
    for invalid in ("-1", "nan"):
        manage(site, "--orphans", f"--min-age={invalid}", code=2)
    assert site.files() == [recent]
    assert listed(manage(site, "--orphans", "--min-age", "0")) == {recent}
    assert tree(site) == {"downloads"}


def test_a_folder_that_is_a_link_is_left_alone(new_site: NewSite) -> None:
    """So are the files that it leads to."""
    site = new_site("sqlite")
    foreign = put(site, "archive/2019.csv")
    gone = put(site, orphan())
    link = site.media / "downloads" / str(uuid.uuid4())
    link.symlink_to(site.media / "archive")
    make_old(site, f"downloads/{link.name}")
    assert listed(manage(site, "--orphans")) == {gone}
    assert site.files() == [foreign]
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["archive/2019.csv", "nowhere"])
def test_the_target_of_a_link_in_an_orphan_folder_is_not_removed(
    new_site: NewSite, target: str
) -> None:
    """A link without a target does not stop the removal of other orphans."""
    site = new_site("sqlite")
    foreign = put(site, "archive/2019.csv")
    paths = {put(site, orphan()) for _ in range(2)}
    neighbour = min(paths)
    link = (site.media / neighbour).with_name("latest.csv")
    link.symlink_to(site.media / target)
    make_old(site, link.relative_to(site.media).as_posix())
    assert listed(manage(site, "--orphans")) >= paths - {neighbour}
    assert set(site.files()) <= {foreign, neighbour}
    assert (site.media / foreign).read_bytes() == b"left over"


@pytest.mark.parametrize("storage", ["FlatStorage", "ScatteringStorage"])
def test_a_file_that_the_storage_put_into_another_folder_is_not_an_orphan(
    new_site: NewSite, storage: str
) -> None:
    """The path in the row counts, not the name of the folder."""
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


def test_several_commands_at_once_remove_each_orphan_without_an_error(new_site: NewSite) -> None:
    """They ignore a folder that another one removes meanwhile."""
    site = new_site("postgres")
    paths = {put(site, orphan()) for _ in range(300)}
    searchers = [
        site.start(
            """
            from datetime import timedelta
            from async_downloads import store
            from tests.faults.site import steering
            steering.append("ready.log", "ready")
            steering.wait_for("go")
            for path in store.remove_orphans(min_age=timedelta(hours=1)):
                steering.append("removed.log", path)
            """
        )
        for _ in range(3)
    ]
    site.until_messages("ready.log", 3)
    site.go()
    for searcher in searchers:
        assert searcher.wait() == 0, searcher.log
    assert set(site.messages("removed.log")) == paths
    assert tree(site) == {"downloads"}


def test_without_a_folder_of_downloads_nothing_is_removed(new_site: NewSite) -> None:
    """Also if that is a file."""
    site = new_site("sqlite")
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    site.media.mkdir()
    Path(site.media, "downloads").write_bytes(b"not ours")
    assert "Removed 0 orphan files." in manage(site, "--orphans")
    assert site.files() == ["downloads"]


def test_the_file_of_a_row_that_sql_deleted_is_an_orphan(new_site: NewSite) -> None:
    """It stays until the command removes it."""
    site = new_site("postgres")
    key = site.init()
    site.run(f"from async_downloads import cache; cache.save_download({key!r}, [[1]])")
    path = site.row(key)["filepath"]
    site.query("DELETE FROM async_downloads_download")
    assert site.files() == [path]
    make_old(site, path)
    assert listed(manage(site, "--orphans")) == {path}
    assert site.files() == []
