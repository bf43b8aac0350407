"""Times without time zones, and daylight-saving changes."""

import ast
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.harness import NewSite, eventually
from tests.faults.running import outcomes, run_site

WITHOUT_TIME_ZONES = """
from django.db import transaction
from django.db.models import F
from async_downloads import cache, store
from async_downloads.models import Download
print(Download.objects.stalled().count(), store.clean_up().downloads)
Download.objects.filter(pk={complete!r}).update(expires_at=F("timestamp"))
with transaction.atomic():
    cache.set_percentage({key!r}, 40)
print(store.clean_up().downloads)
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_without_time_zones_downloads_expire_and_stall_in_time(database: str) -> None:
    """With ``USE_TZ = False``, neither earlier nor later."""
    with run_site(
        database, USE_TZ=False, TIME_ZONE="Europe/Berlin", ASYNC_DOWNLOADS_STALLED_AFTER=2
    ) as running:
        person = running.person
        complete, key = running.init(), running.init()
        assert set(person.shown().values()) == {"pending"}
        with running.call(("tasks.rows", complete)) as child:
            assert child.wait() == 0, child.log
        stalled = {complete: "complete", key: "stalled"}
        eventually(lambda: person.shown() == stalled, why="a stalled download")
        code = WITHOUT_TIME_ZONES.format(complete=complete, key=key)
        assert running.site.run(code).splitlines() == ["1 0", "1"]
        # Progress inside a transaction is newer than the row.
        (shown,) = person.update()["downloads"]
        assert (shown["download_key"], shown["percentage"]) == (key, 40)
        assert running.site.files() == []


def clock_changes(direction: str, after: float) -> str:
    """Return a value of ``TZ`` whose clocks change in so many seconds.

    The offsets are those of Berlin: an hour from UTC in winter, and two in summer.
    """
    hours = 1 if direction == "forward" else 2
    change = datetime.now(UTC) + timedelta(hours=hours, seconds=after)
    day = change.timetuple().tm_yday - 1
    here, far = f"{day}/{change:%H:%M:%S}", f"{(day + 120) % 365}/3"
    spring, autumn = (here, far) if direction == "forward" else (far, here)
    return f"CET-1CEST,{spring},{autumn}"


#: Runs an export during a change of the clocks, beside a pending and a complete download.
THROUGH_A_CHANGE = """
import os, time
from tests.faults.test_database_times import clock_changes

def change_clocks(after):
    os.environ["TZ"] = clock_changes({direction!r}, after)
    time.tzset()

# The change is far away until all rows are made, and earlier than their expiry.
change_clocks(after=1500)

from django.contrib.auth import get_user_model
from async_downloads import cache, owners, store
from async_downloads.tasks import run_task
from tests.faults.site import steering
from tests.faults.site.forks import run_in_forks
from tests.pace import stretched

get_user_model().objects.create(username="ada")
keys = {{}}
for name in ("complete", "pending", "running"):
    _, keys[name] = cache.init_download("ada", name)
run_task("tests.faults.site.transactions.plain", keys["complete"])
# From here on it is a race: the export has to begin before the clocks change.
change_clocks(after=stretched(2.5))
before = time.localtime().tm_gmtoff

def watch():
    seen, changed = set(), 0
    while not changed or time.monotonic() < changed + 0.6:
        if time.localtime().tm_gmtoff != before:
            changed = changed or time.monotonic()
        listing = store.read_listing(owners.resolve("ada")).downloads
        seen.add(tuple(sorted((row.name, row.state, row.stalled) for row in listing)))
        time.sleep(0.005)
    (steering.folder() / "go").touch()
    return sorted(seen)

def deliver_again():
    while time.localtime().tm_gmtoff == before:
        time.sleep(0.005)
    run_task("tests.faults.site.tasks.steady", keys["running"])

run_in_forks({{
    "first": lambda: run_task("tests.faults.site.tasks.steady", keys["running"]),
    "watch": watch,
    "again": deliver_again,
}})
"""


@pytest.mark.parametrize("direction", ["forward", "back"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_daylight_saving_change_neither_stalls_nor_expires_a_download(
    new_site: NewSite, use_tz: bool, direction: str
) -> None:
    """An hour is skipped or repeated during an export."""
    site = new_site(
        "sqlite", USE_TZ=use_tz, TIME_ZONE="Europe/Berlin", ASYNC_DOWNLOADS_TIMEOUT=1800
    )
    with site.start(THROUGH_A_CHANGE.format(direction=direction)) as child:
        ended = outcomes(child)
    assert ended["first"] == ended["again"] == "None", child.log
    seen = ast.literal_eval(ended["watch"])
    assert [len(rows) for rows in seen] == [3] * len(seen), seen
    states = {row for rows in seen for row in rows}
    assert ("running", "running", False) in states
    assert states <= {
        ("complete", "complete", False),
        ("pending", "pending", False),
        ("running", "pending", False),
        ("running", "running", False),
    }
    (row,) = (row for row in site.rows() if row["name"] == "running")
    assert (row["state"], row["attempts"]) == ("complete", 1), child.log
    assert len(site.starts(row["id"])) == 1
