"""A site with 0.6.0 is filled, upgraded in place, and keeps everything.

The site (``old_site``) gets a virtual environment with the published 0.6.0 and a
Django of that time. The new version is installed over it; folder, database, cache,
media, settings and templates stay unchanged.
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

#: Free bytes in memory that the site and its environment need.
MEMORY_BYTES: Final = 1 << 30

WORKER: Final = (
    *("-m", "celery", "-A", "shop", "worker", "--pool", "solo", "--loglevel", "info"),
    *("--without-mingle", "--without-gossip", "--without-heartbeat"),
)

#: The arguments of a second adoption, for the downloads that the first one has left.
LEFT_OVER: Final = (
    *("--owner", "grace@example.org"),
    *("--collection", "async_downloads/the accounts team"),
)

#: The owner and state of each download after the upgrade, by its name in ``begin``.
STATES: Final = {
    "csv": ("ada", "complete"),
    "utf-16": ("ada", "complete"),
    "interrupted": ("ada", "pending"),
    "queued": ("ada", "complete"),
    "picture": ("grace@example.org", "complete"),
    "failed": ("grace@example.org", "failed"),
    "given up": ("josé.müller+1", "failed"),
    "jose's": ("josé.müller+1", "complete"),
    "zoe's": ("Zoë O'Brien / 北京 & co", "complete"),
    "twice": ("Zoë O'Brien / 北京 & co", "complete"),
    "two's": ("2", "complete"),
    "one's": ("1", "complete"),
    "missing from its list": ("1", "complete"),
    "label's": ("the accounts team", "complete"),
    "label's failed": ("the accounts team", "failed"),
    "flushed": ("grace@example.org", "complete"),
}


@dataclass
class Site:
    """The folder of the project, its virtual environment, and the output of its commands."""

    folder: Path
    venv: Path
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the tests, without variables of Python and Django."""
        ours = ("PYTHON", "DJANGO", "VIRTUAL_ENV")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def python(self, *arguments: str) -> str:
        """Run Python in the environment of the site, and return its output."""
        return self._run(str(self.venv / "bin/python"), *arguments)

    def manage(self, *arguments: str) -> str:
        """Run a command of the site, and keep and return its output."""
        output = self.outputs[" ".join(arguments)] = self.python("manage.py", *arguments)
        return output

    def install(self, *arguments: str) -> None:
        """Install packages into the environment of the site."""
        pip = (sys.executable, "-m", "pip", "--python", str(self.venv / "bin/python"))
        options = ("-q", "--no-compile", "--disable-pip-version-check")
        self._run(*pip, "install", *options, *arguments)

    def installed(self) -> list[str]:
        """Return the installed versions of Django and of this package."""
        paths = self.venv.glob("lib/python*/site-packages/[dD]jango*.dist-info")
        names = (path.name.removesuffix(".dist-info").lower() for path in paths)
        return sorted(name for name in names if re.match(r"django(_async_downloads)?-", name))

    def query(self, statement: str) -> list[Any]:
        """Run a query on the database of the site, and return the rows."""
        with sqlite3.connect(self.folder / "db.sqlite3") as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    def contents(self, name: str) -> dict[str, bytes]:
        """Return the files in a folder of the site."""
        root = self.folder / name
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }

    def work_off(self) -> str:
        """Run a Celery worker until it has completed the queued task, and return its log."""
        log = self.folder / "worker.log"
        arguments = (str(self.venv / "bin/python"), *WORKER)
        with Child(arguments, env=self.environment, log=log, cwd=self.folder) as worker:
            why = "the end of the queued task"
            eventually(lambda: worker.lines("Task shop.tasks", "succeeded"), why=why)
        return log.read_text()

    def _run(self, *command: str) -> str:
        completed = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_WAIT,
            check=False,
        )
        output = f"{completed.stdout}\n{completed.stderr}"
        assert completed.returncode == 0, f"{command} failed:\n{output}"
        return completed.stdout


@dataclass
class Moved:
    """The site before and after the upgrade, and the output of the commands."""

    site: Site
    keys: dict[str, str]
    lists: dict[str, list[Any]]
    files: dict[str, bytes]
    cache: dict[str, bytes]
    rows_after_dry_run: int
    cache_after: dict[str, bytes]
    worker: str
    seen: dict[str, Any]

    def item(self, name: str) -> dict[str, Any]:
        """Return a download as its owner's list has it."""
        items = self.seen["people"][STATES[name][0]]["downloads"]
        (item,) = [item for item in items if item["download_key"] == self.keys[name]]
        return dict(item)

    def fetched(self, name: str) -> bytes:
        """Return a file as its owner fetches it."""
        files = self.seen["people"][STATES[name][0]]["files"]
        return base64.b64decode(files[self.keys[name]])

    def stored(self, name: str) -> bytes:
        """Return the file that 0.6 had stored."""
        (stored,) = [
            content
            for path, content in self.files.items()
            if self.keys[name] in path and not re.search(r"_\w{7}\.", path)
        ]
        return stored


def old_versions(installed: list[str]) -> bool:
    """Return whether 0.6 and a Django of its time are installed."""
    versions = [re.sub(r"(\d+\.\d+).*", r"\1", name) for name in installed]
    return versions == ["django-4.2", "django_async_downloads-0.6"]


def folder_in_memory() -> str | None:
    """Return a folder in memory if it has room: an environment has thousands of small files."""
    memory = Path("/dev/shm")  # noqa: S108 (only a new folder in it is used)
    free = shutil.disk_usage(memory).free if memory.is_dir() else 0
    return str(memory) if free > MEMORY_BYTES and os.access(memory, os.W_OK) else None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for the site and its environment."""
    needs("old-package", "proc")
    with tempfile.TemporaryDirectory(
        prefix="async-downloads-moving-", dir=folder_in_memory()
    ) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def moved(folder: Path) -> Moved:
    """Make a site, fill it, upgrade it, and adopt its downloads."""
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
    # It runs the system checks first.
    site.manage("migrate")
    site.manage("adopt_downloads", "--dry-run")
    ((rows,),) = site.query("SELECT count(*) FROM async_downloads_download")
    site.manage("adopt_downloads")
    cache_after = site.contents("cache")
    site.manage("adopt_downloads", *LEFT_OVER)
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


def test_every_download_has_its_owner_and_its_state(moved: Moved) -> None:
    rows = {name: tuple(moved.seen["rows"].get(key, ())) for name, key in moved.keys.items()}
    assert rows == STATES | {"expired": ()}


def test_each_list_shows_the_downloads_of_0_6_in_the_same_order(moved: Moved) -> None:
    recovered = {"1": ["lost.csv"], "grace@example.org": ["flushed.csv"]}
    for person, listed in moved.lists.items():
        names = [item["name"] for item in moved.seen["people"][person]["downloads"]]
        added = recovered.get(person, [])
        assert [name for name in names if name not in added] == [name for name, *_ in listed]
        assert set(added) <= set(names)
        assert "<b>A cat</b>" not in moved.seen["people"][person]["html"]


def test_each_owner_fetches_the_bytes_that_0_6_stored(moved: Moved) -> None:
    for name, (owner, state) in STATES.items():
        if state == "complete" and owner in moved.lists and name != "queued":
            assert moved.fetched(name) == moved.stored(name), name
    assert len(moved.fetched("picture")) == 256 * 999
    assert moved.fetched("utf-16").decode("utf-16").startswith("Reference,Customer\n0,Zoë 0\n")
    assert moved.seen["foreign"] == 404


def test_a_task_that_was_queued_before_the_upgrade_completes_after_it(moved: Moved) -> None:
    assert moved.keys["queued"] not in "".join(moved.files)
    lines = ["Reference,Customer", *(f"{number},Zoë {number}" for number in range(21))]
    assert moved.fetched("queued").decode() == "".join(f"{line}\n" for line in lines)
    assert f"downloads/{moved.keys['queued']}/" in moved.item("queued")["filepath"]
    # The Celery beat schedule that 0.6 documented names an existing task.
    assert ". async_downloads.tasks.cleanup_expired_downloads" in moved.worker


def test_an_interrupted_download_keeps_its_progress(moved: Moved) -> None:
    assert (moved.item("interrupted")["percentage"], moved.item("interrupted")["url"]) == (40, "")


def test_failed_downloads_show_only_safe_texts(moved: Moved) -> None:
    assert moved.item("given up")["errors"] == "There are no orders in this month."
    failed = moved.item("failed")
    assert (
        failed["errors"] == "Something went wrong while creating the file. Please request it again."
    )
    assert failed["url"] == ""
    (detail,) = moved.site.query(
        "SELECT error_detail FROM async_downloads_download WHERE name = 'Failed'"
    )
    assert detail == ("postgresql://shop:secret@db",)


def test_a_dry_run_lists_what_would_be_adopted_and_adopts_nothing(moved: Moved) -> None:
    output = moved.site.outputs["adopt_downloads --dry-run"]
    assert moved.rows_after_dry_run == 0
    summary = "14 downloads of 7 owners: 10 complete, 2 failed, 2 in progress."
    assert f"Would adopt {summary}" in output
    assert f"Adopted {summary}" in moved.site.outputs["adopt_downloads"]
    assert "ada: A long one (in progress)" in output


def test_a_file_without_an_owner_is_listed_and_adopted_for_the_owner_in_the_options(
    moved: Moved,
) -> None:
    path = f"downloads/{moved.keys['flushed']}/flushed.csv"
    assert f"without an owner: {path}" in moved.site.outputs["adopt_downloads"]
    second = moved.site.outputs[" ".join(("adopt_downloads", *LEFT_OVER))]
    # The other one belongs to a label, for which the options name the collection.
    assert "Adopted 2 downloads of 2 owners: 1 complete, 1 failed." in second
    assert "14 downloads adopted before." in second


def test_an_expired_download_is_not_adopted_even_for_a_named_owner(moved: Moved) -> None:
    left = f"left alone: downloads/{moved.keys['expired']}/expired.csv of '2': It had expired"
    assert left in moved.site.outputs[" ".join(("adopt_downloads", *LEFT_OVER))]


def test_adoption_does_not_change_the_cache(moved: Moved) -> None:
    assert len(moved.cache) > 20
    assert {name: moved.cache_after.get(name) for name in moved.cache} == moved.cache


def test_the_settings_and_templates_of_the_site_still_work(moved: Moved) -> None:
    ada = moved.seen["people"]["ada"]
    assert 'id="async-downloads-script"' in ada["page"]
    assert 'id="async-downloads"' in ada["page"]
    assert f'id="download-{moved.keys["csv"]}"' in ada["html"]
    assert "download-content ours" in ada["html"]
    # The list template of 0.6, which a site may have copied.
    assert '<span class="download-name">All orders</span>' in moved.seen["old_list"]
    assert f'data-url="{moved.item("csv")["url"]}"' in moved.seen["old_list"]
