"""A site on 0.6.0 is filled, upgraded in place, and has everything that it had.

The site (``old_site``) gets an environment of its own with the published 0.6.0 and
a Django of its time. Ours is installed over it; folder, database, cache, media,
settings and templates stay as they are.
"""

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests import services
from tests.faults.conftest import needs
from tests.faults.processes import ROOT, Child, eventually
from tests.pace import LONGEST_WAIT

#: Bytes that have to be free in memory for the whole of it to be made there.
MEMORY_BYTES: Final = 1 << 30

WORKER: Final = (
    *("-m", "celery", "-A", "shop", "worker", "--pool", "solo", "--loglevel", "info"),
    *("--without-mingle", "--without-gossip", "--without-heartbeat"),
)

#: What is asked for once the rest is there, as somebody does who has read what was told.
LATER: Final = (
    *("--owner", "grace@example.org"),
    *("--collection", "async_downloads/the accounts team"),
)

#: What becomes of each download that 0.6 had, by what it is called in the site's ``begin``.
STATES: Final = {
    "csv": ("ada", "complete"),
    "utf-16": ("ada", "complete"),
    "broken off": ("ada", "pending"),
    "queued": ("ada", "complete"),
    "picture": ("grace@example.org", "complete"),
    "failed": ("grace@example.org", "failed"),
    "given up": ("josé.müller+1", "failed"),
    "jose's": ("josé.müller+1", "complete"),
    "zoe's": ("Zoë O'Brien / 北京 & co", "complete"),
    "twice": ("Zoë O'Brien / 北京 & co", "complete"),
    "two's": ("2", "complete"),
    "one's": ("1", "complete"),
    "lost from its list": ("1", "complete"),
    "label's": ("the accounts team", "complete"),
    "label's failed": ("the accounts team", "failed"),
    "flushed": ("grace@example.org", "complete"),
}


@dataclass
class Site:
    """The project's folder, and the environment that it runs in."""

    folder: Path
    venv: Path
    told: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the tests' own environment that Python or Django would look at."""
        ours = ("PYTHON", "DJANGO", "VIRTUAL_ENV")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def python(self, *arguments: str) -> str:
        """Run Python in the environment of the site, and return what it printed."""
        return self._run(str(self.venv / "bin/python"), *arguments)

    def manage(self, *arguments: str) -> str:
        """Run a command of the site; what it printed is kept under the command's first word."""
        printed = self.python("manage.py", *arguments)
        self.told[" ".join(arguments)] = printed
        return printed

    def install(self, *arguments: str) -> None:
        """Install something into the environment of the site."""
        pip = (sys.executable, "-m", "pip", "--python", str(self.venv / "bin/python"))
        options = ("-q", "--no-compile", "--disable-pip-version-check")
        self._run(*pip, "install", *options, *arguments)

    def installed(self) -> list[str]:
        """Return which versions of Django and of this package are installed."""
        found = self.venv.glob("lib/python*/site-packages/[dD]jango*.dist-info")
        names = (path.name.removesuffix(".dist-info").lower() for path in found)
        return sorted(name for name in names if re.match(r"django(_async_downloads)?-", name))

    def query(self, statement: str) -> list[Any]:
        """Ask the site's database."""
        with sqlite3.connect(self.folder / "db.sqlite3") as connection:
            found = connection.execute(statement).fetchall()
        connection.close()
        return found

    def contents(self, name: str) -> dict[str, bytes]:
        """Return the files in a folder of the site's."""
        root = self.folder / name
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }

    def work_off(self) -> str:
        """Let a worker of Celery do what is in the queue, and return its log."""
        log = self.folder / "worker.log"
        arguments = (str(self.venv / "bin/python"), *WORKER)
        with Child(arguments, env=self.environment, log=log, cwd=self.folder) as worker:
            why = "the end of the task that was queued before the upgrade"
            eventually(lambda: worker.lines("Task shop.tasks", "succeeded"), why=why)
        return log.read_text()

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_WAIT,
            check=False,
        )
        assert done.returncode == 0, f"{command} ended:\n{done.stdout}\n{done.stderr}"
        return done.stdout


@dataclass
class Moved:
    """What 0.6 said before, what was done, and what is there afterwards."""

    site: Site
    keys: dict[str, str]
    lists: dict[str, list[Any]]
    files: dict[str, bytes]
    cache: dict[str, bytes]
    rows_after_dry_run: int
    cache_after: dict[str, bytes]
    worker: str
    seen: dict[str, Any]

    def entry(self, called: str) -> dict[str, Any]:
        """Return what a download's owner sees of it."""
        found = self.seen["people"][STATES[called][0]]["downloads"]
        (entry,) = [entry for entry in found if entry["download_key"] == self.keys[called]]
        return dict(entry)

    def fetched(self, called: str) -> bytes:
        """Return a file as its owner fetches it."""
        files = self.seen["people"][STATES[called][0]]["files"]
        return base64.b64decode(files[self.keys[called]])

    def stored(self, called: str) -> bytes:
        """Return the file that 0.6 had stored."""
        (stored,) = [
            content
            for path, content in self.files.items()
            if self.keys[called] in path and not re.search(r"_\w{7}\.", path)
        ]
        return stored


def old_versions(installed: list[str]) -> bool:
    """Return whether this is the old package on the old Django, and both of them only."""
    found = [re.sub(r"(\d+\.\d+).*", r"\1", name) for name in installed]
    return found == ["django-4.2", "django_async_downloads-0.6"]


def roomy() -> str | None:
    """Return a folder in memory, if there is room: an environment is thousands of small files."""
    memory = Path("/dev/shm")  # noqa: S108 (only a new folder in it is used)
    free = shutil.disk_usage(memory).free if memory.is_dir() else 0
    return str(memory) if free > MEMORY_BYTES and os.access(memory, os.W_OK) else None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for the site and its environment."""
    needs("old-package", "proc")
    with tempfile.TemporaryDirectory(prefix="async-downloads-moving-", dir=roomy()) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def moved(folder: Path) -> Moved:
    """Make a site, fill it, upgrade it, adopt."""
    site = Site(folder / "project", folder / "venv")
    shutil.copytree(ROOT / "tests/faults/old_site", site.folder)
    for name in ("queue", "control", "templates"):
        (site.folder / name).mkdir()
    site._run(sys.executable, "-m", "venv", "--without-pip", str(site.venv))

    wheels = ("--no-index", "--find-links", str(services.old_wheels()))
    site.install(*wheels, *services.OLD_PACKAGE)
    (old,) = site.venv.glob("lib/python*/site-packages/async_downloads")
    shutil.copy(old / "templates/async_downloads/downloads.html", site.folder / "templates")
    (site.folder / "templates/downloads.html").rename(site.folder / "templates/old_list.html")
    assert old_versions(site.installed()), site.installed()
    site.manage("migrate")
    began = json.loads(site.manage("begin"))
    files, cache = site.contents("media"), site.contents("cache")

    site.install("--upgrade", str(ROOT))
    assert [name for name in site.installed() if re.search(r"-(0\.6|4\.2)", name)] == []
    assert len(site.installed()) == 2
    # It begins with the system checks, and would end with an error of theirs.
    site.manage("migrate")
    site.manage("adopt_downloads", "--dry-run")
    ((rows,),) = site.query("SELECT count(*) FROM async_downloads_download")
    site.manage("adopt_downloads")
    cache_after = site.contents("cache")
    site.manage("adopt_downloads", *LATER)
    worker = site.work_off()
    seen = json.loads(site.manage("look"))
    return Moved(
        site,
        **began,
        files=files,
        cache=cache,
        rows_after_dry_run=rows,
        cache_after=cache_after,
        worker=worker,
        seen=seen,
    )


def test_everything_is_there_with_its_owner_and_its_state(moved: Moved) -> None:
    rows = {called: tuple(moved.seen["rows"].get(key, ())) for called, key in moved.keys.items()}
    assert rows == STATES | {"expired": ()}


def test_each_list_shows_what_that_of_0_6_showed_in_the_same_order(moved: Moved) -> None:
    found_again = {"1": ["lost.csv"], "grace@example.org": ["flushed.csv"]}
    for person, shown in moved.lists.items():
        names = [entry["name"] for entry in moved.seen["people"][person]["downloads"]]
        besides = found_again.get(person, [])
        assert [name for name in names if name not in besides] == [name for name, *_ in shown]
        assert set(besides) <= set(names)
        assert "<b>A cat</b>" not in moved.seen["people"][person]["html"]


def test_each_file_is_fetched_by_its_owner_byte_for_byte(moved: Moved) -> None:
    for called, (owner, state) in STATES.items():
        if state == "complete" and owner in moved.lists and called != "queued":
            assert moved.fetched(called) == moved.stored(called), called
    assert len(moved.fetched("picture")) == 256 * 999
    assert moved.fetched("utf-16").decode("utf-16").startswith("Reference,Customer\n0,Zoë 0\n")
    assert moved.seen["foreign"] == 404


def test_a_task_that_was_queued_before_finishes_after(moved: Moved) -> None:
    assert moved.keys["queued"] not in "".join(moved.files)
    lines = ["Reference,Customer", *(f"{number},Zoë {number}" for number in range(21))]
    assert moved.fetched("queued").decode() == "".join(f"{line}\n" for line in lines)
    assert f"downloads/{moved.keys['queued']}/" in moved.entry("queued")["filepath"]
    # The entry for Celery beat that 0.6 documented names a task that is there.
    assert ". async_downloads.tasks.cleanup_expired_downloads" in moved.worker


def test_what_was_broken_off_has_kept_its_progress(moved: Moved) -> None:
    assert (moved.entry("broken off")["percentage"], moved.entry("broken off")["url"]) == (40, "")


def test_failures_say_what_a_person_may_read(moved: Moved) -> None:
    assert moved.entry("given up")["errors"] == "There are no orders in this month."
    failed = moved.entry("failed")
    assert (
        failed["errors"] == "Something went wrong while creating the file. Please request it again."
    )
    assert failed["url"] == ""
    (detail,) = moved.site.query(
        "SELECT error_detail FROM async_downloads_download WHERE name = 'Failed'"
    )
    assert detail == ("postgresql://shop:secret@db",)


def test_a_dry_run_says_what_will_be_done_and_does_nothing(moved: Moved) -> None:
    told = moved.site.told["adopt_downloads --dry-run"]
    assert moved.rows_after_dry_run == 0
    done = "14 downloads of 7 owners: 10 complete, 2 failed, 2 in progress."
    assert f"Would adopt {done}" in told
    assert f"Adopted {done}" in moved.site.told["adopt_downloads"]
    assert "ada: A long one (in progress)" in told


def test_a_file_without_an_owner_is_told_of_and_given_to_nobody_but_who_is_named(
    moved: Moved,
) -> None:
    path = f"downloads/{moved.keys['flushed']}/flushed.csv"
    assert f"without an owner: {path}" in moved.site.told["adopt_downloads"]
    again = moved.site.told[" ".join(("adopt_downloads", *LATER))]
    # The other one is in the list of a text that is no user, which had to be named as well.
    assert "Adopted 2 downloads of 2 owners: 1 complete, 1 failed." in again
    assert "14 downloads adopted before." in again


def test_what_had_expired_stays_so_whoever_is_named(moved: Moved) -> None:
    left = f"left alone: downloads/{moved.keys['expired']}/expired.csv of '2': It had expired"
    assert left in moved.site.told[" ".join(("adopt_downloads", *LATER))]


def test_nothing_in_the_cache_is_changed(moved: Moved) -> None:
    assert len(moved.cache) > 20
    assert {name: moved.cache_after.get(name) for name in moved.cache} == moved.cache


def test_the_settings_and_templates_of_the_site_still_serve(moved: Moved) -> None:
    ada = moved.seen["people"]["ada"]
    assert 'id="async-downloads-script"' in ada["page"]
    assert f'id="download-{moved.keys["csv"]}"' in ada["page"]
    assert "download-content ours" in ada["page"]
    # The list template of 0.6 itself, as a site may have copied it.
    assert '<span class="download-name">All orders</span>' in moved.seen["old_list"]
    assert f'data-url="{moved.entry("csv")["url"]}"' in moved.seen["old_list"]
