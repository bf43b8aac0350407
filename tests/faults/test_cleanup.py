"""Clean-ups that are large, killed, many at once, or beside running exports."""

import os
import re
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.faults.harness import (
    Child,
    NewSite,
    RedisServer,
    Site,
    eventually,
    missing,
    resume,
    stop,
    storages,
)
from tests.faults.processes import peak_bytes, status
from tests.pace import stretched

pytestmark = pytest.mark.usefixtures("in_memory")

# Large, and killed

#: The expired downloads of the clean-up that is killed.
DOWNLOADS: Final = int(os.environ.get("FAULTS_DOWNLOADS", "4000"))

#: Expired downloads of a small clean-up, to compare the memory with.
FEW: Final = 1000

#: The folder of Linux whose files are in memory.
MEMORY: Final = "/dev/shm"  # noqa: S108 (the files there have random names)

#: The owners of the downloads; each also has a pending download, without a file.
OWNERS: Final = 20

#: Makes complete downloads of many owners, each with a file in its own folder.
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
            # Many expire at the same time.
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

#: Runs the command, and prints its memory and the number of its statements.
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
# Not getrusage(), which includes the memory of the process before exec().
print(Path("/proc/self/status").read_text())
print(f"took {statements} statements")
"""


TITLE: Final = (
    f"{'':<10}{'rows':>8}{'files':>8}{'folders':>9}    {'rows':>8}{'files':>8}{'folders':>9}"
    f"{'memory':>12}{'time':>10}{'queries/500':>12}"
)


@dataclass(frozen=True, slots=True)
class Stock:
    """The numbers of rows, files, and folders of downloads."""

    rows: int
    files: int
    folders: int

    @classmethod
    def of(cls, site: Site) -> "Stock":
        """Count them in a site."""
        return cls(count_rows(site), len(site.files()), len(folders(site)))

    def __str__(self) -> str:
        return f"{self.rows:>8,}{self.files:>8,}{self.folders:>9,}"


def fill(site: Site, count: int, *, hours: int) -> None:
    """Make downloads that expire in so many hours; negative if they have expired."""
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
    # SQLite stores them without dashes.
    return {str(uuid.UUID(str(row["id"]))) for row in rows}


def clean(site: Site, *, kill_below: int = 0) -> tuple[int, int, float]:
    """Run the command; kill it within a batch once there are no more rows than this.

    Returns:
        Its peak memory in bytes, its statements, its seconds.
    """
    with site.start(CLEAN, forked=False) as child:
        eventually(lambda: child.lines("began"), why="the start of the clean-up")
        began = time.monotonic()
        while kill_below and child.alive:
            if count_rows(site) <= kill_below:
                stop(child.pid)
                # Within a batch: some of its files are deleted, and its rows are not yet.
                if count_rows(site) > len(folders(site)) + OWNERS:
                    peak = peak_bytes(status(child.pid))
                    child.kill()
                    return peak, 0, time.monotonic() - began
                resume(child.pid)
            time.sleep(0.02)
        assert child.wait() == 0, child.log
        seconds = time.monotonic() - began
        (statements,) = re.findall(r"took (\d+) statements", child.log)
        assert not child.lines("ERROR")
        return peak_bytes(child.log), int(statements), seconds


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sites in memory, so that deleting a folder is quick, unless ``TMPDIR`` is set."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", MEMORY)


def test_the_next_clean_up_finishes_one_that_was_killed(new_site: NewSite, report: Report) -> None:
    """Memory is constant, queries are few per batch, and no file is orphaned."""
    site = new_site("sqlite" if missing("postgres") else "postgres")
    fill(site, 50, hours=1)
    foreign = [site.media / name for name in ("logo.png", "downloads/readme.txt")]
    for path in foreign:
        path.write_bytes(b"not ours")
    initial, kept = Stock.of(site), set(site.files())
    lines = []

    def note(name: str, before: Stock, cost: tuple[int, int, float]) -> None:
        peak, statements, seconds = cost
        after = Stock.of(site)
        batch = f"{statements * 500 / (before.rows - after.rows):>12.1f}" if statements else ""
        lines.append(f"{name:<10}{before}  ->{after}{peak >> 20:>9} MB{seconds:>8.1f} s{batch:>12}")

    fill(site, FEW, hours=-1)
    before, few = Stock.of(site), clean(site)
    note("a few", before, few)
    assert Stock.of(site) == initial
    fill(site, DOWNLOADS, hours=-1)
    before, killed = Stock.of(site), clean(site, kill_below=DOWNLOADS // 2)
    note("killed", before, killed)
    before = Stock.of(site)
    assert before.folders + OWNERS < before.rows <= DOWNLOADS // 2
    # The next clean-up could not find a folder without a row.
    assert folders(site) <= keys(site)
    rest = clean(site)
    note("the rest", before, rest)
    report(TITLE, lines)
    assert Stock.of(site) == initial
    assert set(site.files()) == kept
    assert max(killed[0], rest[0]) <= few[0] * 1.2


# Many at once

#: Cleans up repeatedly until the test sets ``end``, and prints how much it removed.
CLEANER: Final = """
import time
from async_downloads import store
from tests.faults.site import steering
steering.append("ready.log", "ready")
steering.wait_for("begin")
downloads = collections = 0
while not steering.is_set("end"):
    done = store.clean_up()
    downloads, collections = downloads + done.downloads, collections + done.collections
    time.sleep(0.02)
print(downloads, collections)
"""

#: Makes expired downloads, some without their files; half of the owners have others, too.
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

#: Exports; inside a transaction, the row is not written before the end.
EXPORT: Final = """
from contextlib import nullcontext
from django.db import transaction
from async_downloads import cache
from tests.faults.site import tasks, steering
_, key = cache.init_download("ada", "orders.csv")
steering.append("keys.log", key)
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
def test_four_clean_ups_at_once_leave_a_running_export_alone(
    new_site: NewSite, database: str, context: str
) -> None:
    """The export outlasts its expiry, missing files are ignored, each row is counted once."""
    # Only its heartbeats keep the export alive.
    site = new_site(database, ASYNC_DOWNLOADS_TIMEOUT=2, ASYNC_DOWNLOADS_STALLED_AFTER=1)
    site.run(MIXED)
    export = site.start(EXPORT.format(context=context))
    cleaners = [site.start(CLEANER) for _ in range(4)]
    site.until_messages("ready.log", 4)
    (key,) = site.until_messages("keys.log")
    site.until_started(key)
    site.go("begin")
    eventually(lambda: count_rows(site) == 4, why="only live downloads")
    time.sleep(stretched(3))
    assert site.row(key)["state"] in {"pending", "running"}
    site.go()
    row = site.until(key, state="complete")
    site.go("end")
    assert export.wait() == 0, export.log
    removed = [end_of(cleaner) for cleaner in cleaners]
    assert [sum(counts) for counts in zip(*removed, strict=True)] == [6 * 8, 3]
    assert len(site.rows()) == len(site.files()) == 4
    assert row["filepath"] in site.files()
    owners = site.query("SELECT label FROM async_downloads_downloadcollection ORDER BY label")
    assert [owner["label"] for owner in owners] == ["ada", "owner 0", "owner 1", "owner 2"]


def end_of(cleaner: Child) -> tuple[int, int]:
    """Wait for the end of a cleaner, and return how many downloads and collections it removed."""
    assert cleaner.wait() == 0, cleaner.log
    assert not cleaner.lines("ERROR")
    downloads, collections = cleaner.log.split()[-2:]
    return int(downloads), int(collections)


#: Runs the task of the schedule in several threads at once.
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


@pytest.mark.parametrize("shared_by", ["redis", "database"])
def test_only_one_of_thirty_one_clean_ups_works_at_a_time(
    new_site: NewSite, redis_server: RedisServer, shared_by: str
) -> None:
    """The others return at once, however long it takes; a later one may start."""
    cache = redis_server.url if shared_by == "redis" else shared_by
    site = new_site("postgres", cache=cache, STORAGES=storages("SlowlyDeletingStorage"))
    fill(site, 5, hours=-1)
    site.go("hold")
    first = site.start(SCHEDULED.format(number=1))
    site.until_messages("deleting.log")
    others = [site.start(SCHEDULED.format(number=15)) for _ in range(2)]
    for other in others:
        assert other.wait() == 0, other.log
        assert len(other.lines("Another process is cleaning up")) == 15
    assert len(site.messages("deleting.log")) == 1
    if shared_by == "redis":
        # The lock expires, in case its process is killed.
        with redis_server.client() as client:
            (key,) = client.scan_iter(match="*:job:*")
            assert 0 < client.ttl(key) <= 60
    site.go("release")
    assert first.wait() == 0, first.log
    assert first.lines("Removed 5 expired downloads")
    fill(site, 5, hours=-1)
    with site.start(SCHEDULED.format(number=1)) as last:
        assert last.wait() == 0
        assert last.lines("Removed 5 expired downloads")


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_thirty_one_clean_ups_without_a_shared_cache_are_harmless(
    new_site: NewSite, database: str
) -> None:
    """All of them work at the same time."""
    site = new_site(database, cache="locmem")
    fill(site, 400, hours=-1)
    fill(site, 10, hours=1)
    children = [site.start(SCHEDULED.format(number=number)) for number in (16, 15)]
    for child in children:
        assert child.wait() == 0, child.log
        assert not child.lines("ERROR")
        assert "Traceback" not in child.log
    # The others may have skipped a row that one of them had locked without deleting it.
    with site.start(SCHEDULED.format(number=1)) as last:
        assert last.wait() == 0, last.log
    counts = re.findall(r"Removed (\d+) expired downloads", site.logs())
    assert (len(counts), sum(map(int, counts))) == (32, 400)
    assert len(site.files()) == 10
