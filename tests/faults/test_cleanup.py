"""Clean-ups: very large, killed, many at once, beside running exports. Cases 11, 47 and 49."""

import os
import re
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import Report
from tests.faults.harness import Child, NewSite, RedisServer, Site, cont, eventually, missing, stop
from tests.pace import stretched

pytestmark = pytest.mark.usefixtures("in_memory")

# Very large, and killed

#: Expired downloads that a clean-up is killed at.
DOWNLOADS: Final = int(os.environ.get("FAULTS_DOWNLOADS", "4000"))

#: Expired downloads that tell how much memory a clean-up takes at the least.
FEW: Final = 1000

#: Where Linux keeps files in memory.
MEMORY: Final = "/dev/shm"  # noqa: S108 (what is made there has a random name)

#: Those who own the downloads; each has one besides that waits, and has no file.
OWNERS: Final = 20

#: Makes complete downloads of many owners, each with a file in a folder of its own.
FILL: Final = """
from datetime import timedelta
from pathlib import Path
from django.conf import settings
from django.utils import timezone
from async_downloads import cache
from async_downloads.models import Download, DownloadCollection

folder = Path(settings.MEDIA_ROOT, "downloads")
folder.mkdir(parents=True, exist_ok=True)
if not DownloadCollection.objects.exists():
    for number in range({owners}):
        cache.init_download(f"owner {{number}}", "kept.csv")
collections = list(DownloadCollection.objects.all())
now = timezone.now()
for begin in range(0, {count}, 5000):
    rows = [
        Download(
            collection=collections[number % len(collections)],
            name="orders.csv",
            filename="orders.csv",
            state="complete",
            percentage=100,
            size=0,
            # Many share a moment.
            expires_at=now + timedelta(hours={hours}, seconds=number // 100),
        )
        for number in range(begin, min(begin + 5000, {count}))
    ]
    for row in rows:
        row.filepath = f"downloads/{{row.pk}}/orders.csv"
        (folder / str(row.pk)).mkdir()
        (folder / str(row.pk) / "orders.csv").touch()
    Download.objects.bulk_create(rows)
"""

#: The command, and at its end what it took.
CLEAN: Final = """
from pathlib import Path
from django.core.management import call_command
from django.db import connection

statements = 0

def count(execute, *arguments):
    global statements
    statements += 1
    return execute(*arguments)

print("began", flush=True)
with connection.execute_wrapper(count):
    call_command("cleanup_downloads")
# Not getrusage(), which counts what the process had before it became this program.
print(Path("/proc/self/status").read_text())
print(f"took {statements} statements")
"""


TITLE: Final = (
    f"{'':<10}{'rows':>8}{'files':>8}{'folders':>9}    {'rows':>8}{'files':>8}{'folders':>9}"
    f"{'memory':>12}{'time':>10}{'queries/500':>12}"
)


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is: rows, files, folders of downloads."""

    rows: int
    files: int
    folders: int

    @classmethod
    def of(cls, site: Site) -> "Stock":
        """Count."""
        return cls(count_rows(site), len(site.files()), len(folders(site)))

    def __str__(self) -> str:
        return f"{self.rows:>8,}{self.files:>8,}{self.folders:>9,}"


def fill(site: Site, count: int, *, hours: int) -> None:
    """Make downloads that expire in so many hours, or have."""
    with site.start(FILL.format(count=count, hours=hours, owners=OWNERS)) as child:
        assert child.wait() == 0, child.log


def count_rows(site: Site) -> int:
    return int(site.query("SELECT COUNT(*) AS n FROM async_downloads_download")[0]["n"])


def folders(site: Site) -> set[str]:
    """Return the names of the folders of downloads."""
    paths = Path(site.media, "downloads").iterdir()
    return {path.name for path in paths if len(path.name) == 36}


def keys(site: Site) -> set[str]:
    rows = site.query("SELECT id FROM async_downloads_download")
    # SQLite has them without dashes.
    return {str(uuid.UUID(str(row["id"]))) for row in rows}


def clean(site: Site, *, kill_below: int = 0) -> tuple[int, int, float]:
    """Run the command, killed amid a batch once there are no more rows than this.

    Returns:
        The most memory that it took, in MB; its statements; its seconds.
    """
    with site.start(CLEAN) as child:
        eventually(lambda: child.lines("began"), why="the start of the clean-up")
        began = time.monotonic()
        while kill_below and child.alive:
            if count_rows(site) <= kill_below:
                stop(child.pid)
                # Amid a batch: files of it are gone, and its rows are not yet.
                if count_rows(site) > len(folders(site)) + OWNERS:
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    child.kill()
                    return peak_in(status), 0, time.monotonic() - began
                cont(child.pid)
            time.sleep(0.02)
        assert child.wait() == 0, child.log
        seconds = time.monotonic() - began
        (statements,) = re.findall(r"took (\d+) statements", child.log)
        assert not child.lines("ERROR")
        return peak_in(child.log), int(statements), seconds


def peak_in(status: str) -> int:
    """Return the most memory that a process has taken, in MB, from its status in /proc."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sites where removing a folder does not wait for a disk, unless told otherwise."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", MEMORY)


def test_case_47_a_clean_up_that_is_killed_half_way_is_finished_by_the_next(
    new_site: NewSite, report: Report
) -> None:
    """Case 47: constant memory, a steady number of queries, no orphan either way."""
    site = new_site("sqlite" if missing("postgres") else "postgres")
    fill(site, 50, hours=1)
    strangers = [site.media / name for name in ("logo.png", "downloads/readme.txt")]
    for path in strangers:
        path.write_bytes(b"a stranger's")
    left, kept = Stock.of(site), set(site.files())
    lines = []

    def note(name: str, before: Stock, took: tuple[int, int, float]) -> None:
        peak, statements, seconds = took
        after = Stock.of(site)
        batch = f"{statements * 500 / (before.rows - after.rows):>12.1f}" if statements else ""
        lines.append(f"{name:<10}{before}  ->{after}{peak:>9} MB{seconds:>8.1f} s{batch:>12}")

    fill(site, FEW, hours=-1)
    before, few = Stock.of(site), clean(site)
    note("a few", before, few)
    assert Stock.of(site) == left
    fill(site, DOWNLOADS, hours=-1)
    before, killed = Stock.of(site), clean(site, kill_below=DOWNLOADS // 2)
    note("killed", before, killed)
    before = Stock.of(site)
    assert before.folders + OWNERS < before.rows <= DOWNLOADS // 2
    # What the next one could not find: a file without a row, or an empty folder without one.
    assert folders(site) <= keys(site)
    rest = clean(site)
    note("the rest", before, rest)
    report(TITLE, lines)
    assert Stock.of(site) == left
    assert set(site.files()) == kept
    assert max(killed[0], rest[0]) <= few[0] * 1.2


# Many at once

#: Cleans up again and again until the test says go, and tells what it removed.
CLEANER: Final = """
import time
from async_downloads import store
from tests.faults.site import steering
steering.tell("ready.log", "ready")
steering.wait_for("begin")
downloads = collections = 0
while not steering.told("end"):
    done = store.clean_up()
    downloads, collections = downloads + done.downloads, collections + done.collections
    time.sleep(0.02)
print(downloads, collections)
"""

#: Makes expired downloads, some without their files: of owners who have nothing else,
#: and of owners who have.
MIXED: Final = """
from datetime import timedelta
from django.core.files.storage import default_storage
from django.utils import timezone
from async_downloads import cache
from async_downloads.models import Download
for owner in range(6):
    for number in range(8):
        _, key = cache.init_download(f"owner {owner}", "orders.csv")
        cache.save_download(key, [["id"], [1]])
        if number % 4 == 0:
            default_storage.delete(Download.objects.get(pk=key).filepath)
Download.objects.update(expires_at=timezone.now() - timedelta(hours=1))
for owner in range(3):
    _, key = cache.init_download(f"owner {owner}", "kept.csv")
    cache.save_download(key, [["id"], [1]])
    Download.objects.filter(pk=key).update(expires_at=timezone.now() + timedelta(hours=1))
"""

#: Exports, in a transaction if it is told so, where the row is let alone until the end.
EXPORT: Final = """
from contextlib import nullcontext
from django.db import transaction
from async_downloads import cache
from tests.faults.site import tasks, steering
_, key = cache.init_download("ada", "orders.csv")
steering.tell("keys.log", key)
with {context}:
    tasks.steady(key)
"""


@pytest.mark.parametrize(
    ("database", "context"),
    [
        ("postgres", "nullcontext()"),
        ("postgres", "transaction.atomic()"),
        ("mariadb", "transaction.atomic()"),
        ("sqlite", "nullcontext()"),
    ],
)
def test_case_49_four_clean_ups_at_once_leave_a_running_export_alone(
    new_site: NewSite, database: str, context: str
) -> None:
    """Case 49: it outlasts its own expiry; absent files count as done; each row goes once."""
    # The export lives on by its signs of life alone.
    site = new_site(database, ASYNC_DOWNLOADS_TIMEOUT=2, ASYNC_DOWNLOADS_STALLED_AFTER=1)
    site.run(MIXED)
    export = site.start(EXPORT.format(context=context))
    cleaners = [site.start(CLEANER) for _ in range(4)]
    ready = site.steering / "ready.log"
    eventually(lambda: ready.exists() and len(ready.read_text().split()) == 4, why="all four")
    eventually((site.steering / "keys.log").exists, why="a record")
    key = (site.steering / "keys.log").read_text().strip()
    site.started(key)
    site.go("begin")
    eventually(lambda: count_rows(site) == 4, why="nothing but what is alive")
    time.sleep(stretched(3))
    assert site.row(key)["state"] in {"pending", "running"}
    site.go()
    row = site.until(key, state="complete")
    site.go("end")
    assert export.wait() == 0, export.log
    removed = [end_of(cleaner) for cleaner in cleaners]
    assert [sum(each) for each in zip(*removed, strict=True)] == [6 * 8, 3]
    assert len(site.rows()) == len(site.files()) == 4
    assert row["filepath"] in site.files()
    owners = site.query("SELECT label FROM async_downloads_downloadcollection ORDER BY label")
    assert [owner["label"] for owner in owners] == ["ada", "owner 0", "owner 1", "owner 2"]


def end_of(cleaner: Child) -> tuple[int, int]:
    """Wait for the end of a clean-up, and return what it removed."""
    assert cleaner.wait() == 0, cleaner.log
    assert not cleaner.lines("ERROR")
    downloads, collections = cleaner.log.split()[-2:]
    return int(downloads), int(collections)


#: Runs the task of the schedule in as many threads at once.
SCHEDULED: Final = """
import threading
from django.db import connection
from async_downloads import tasks

def run():
    tasks.cleanup_expired_downloads()
    connection.close()

threads = [threading.Thread(target=run) for _ in range({number})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

HELD: Final = {
    "default": {"BACKEND": "tests.faults.site.odd_storages.HeldStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


@pytest.mark.parametrize("shared_by", ["redis", "database"])
def test_case_11_of_thirty_one_clean_ups_one_works_and_thirty_stand_back(
    new_site: NewSite, redis_server: RedisServer, shared_by: str
) -> None:
    """Case 11: while one is at it, however long it takes; the next one is free to start."""
    cache = redis_server.url if shared_by == "redis" else shared_by
    site = new_site("postgres", cache=cache, STORAGES=HELD)
    fill(site, 5, hours=-1)
    site.go("hold")
    first = site.start(SCHEDULED.format(number=1))
    deleting = site.steering / "deleting.log"
    eventually(deleting.exists, why="a clean-up that has begun")
    others = [site.start(SCHEDULED.format(number=15)) for _ in range(2)]
    for other in others:
        assert other.wait() == 0, other.log
        assert len(other.lines("Another process is cleaning up")) == 15
    assert len(deleting.read_text().splitlines()) == 1
    if shared_by == "redis":
        # Should it be killed, the next one need not wait for ever.
        with redis_server.client() as client:
            (key,) = client.scan_iter(match="*cleanup*")
            assert 0 < client.ttl(key) <= 60
    site.go("release")
    assert first.wait() == 0, first.log
    assert first.lines("Removed 5 expired downloads")
    fill(site, 5, hours=-1)
    with site.start(SCHEDULED.format(number=1)) as last:
        assert last.wait() == 0
        assert last.lines("Removed 5 expired downloads")


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_case_11_thirty_one_clean_ups_that_cannot_see_each_other_are_harmless(
    new_site: NewSite, database: str
) -> None:
    """Case 11: with a cache that they do not share, all of them work at once."""
    site = new_site(database, cache="locmem")
    fill(site, 400, hours=-1)
    fill(site, 10, hours=1)
    children = [site.start(SCHEDULED.format(number=number)) for number in (16, 15)]
    for child in children:
        assert child.wait() == 0, child.log
        assert not child.lines("ERROR")
        assert "Traceback" not in child.log
    # A row that one of them had only looked at may have been skipped by the others.
    with site.start(SCHEDULED.format(number=1)) as last:
        assert last.wait() == 0, last.log
    told: Any = re.findall(r"Removed (\d+) expired downloads", site.logs())
    assert (len(told), sum(map(int, told))) == (32, 400)
    assert len(site.files()) == 10
