"""The schedules of the periodic jobs: how they are made, and clean-ups that start at once."""

from typing import Any

import pytest

from tests.faults.harness import NewSite, Site, eventually

RACERS = 4

#: Migrates when the test sets ``go``; a process that loses a race for a table retries, as a
#: deployment would.
MIGRATE = """
    from django.core.management import call_command
    from django.db import DatabaseError, connection
    from tests.faults.site import steering
    steering.append("ready.log", "ready")
    steering.wait_for("go")
    while True:
        try:
            call_command("migrate", verbosity=0)
            break
        except DatabaseError:
            connection.close()
"""

EXPIRED = """
    from datetime import timedelta
    from django.utils import timezone
    from async_downloads import cache
    from async_downloads.models import Download
    keys = [cache.init_download("ada", "orders.csv")[1] for _ in range(40)]
    for key in keys:
        cache.save_download(key, [["id"], [1]])
    Download.objects.filter(pk__in=keys[:30]).update(expires_at=timezone.now() - timedelta(hours=1))
"""


CLEANUP = "async_downloads.tasks.cleanup_expired_downloads"
RESCUE = "async_downloads.tasks.rescue_stalled_downloads"


def schedules(site: Site, path: str = CLEANUP) -> list[dict[str, Any]]:
    rows = site.query("SELECT * FROM django_q_schedule ORDER BY id")
    return [row for row in rows if row["func"] == path]


def race(site: Site, **settings: Any) -> None:
    """Run several processes that migrate at the same time."""
    site.halt()
    site.halt("ready.log")
    racers = [site.start(MIGRATE, **settings) for _ in range(RACERS)]
    site.until_messages("ready.log", RACERS)
    site.go()
    for racer in racers:
        assert racer.wait() == 0, racer.log


@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_processes_that_migrate_an_empty_database_leave_one_schedule_of_each_job(
    new_site: NewSite, database: str
) -> None:
    """All of them start on a database without tables."""
    site = new_site(database, migrated=False)
    race(site)
    assert [len(schedules(site, path)) for path in (CLEANUP, RESCUE)] == [1, 1]


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_processes_that_migrate_at_once_make_one_missing_schedule_of_each_job(
    new_site: NewSite, database: str
) -> None:
    """As in an upgrade on several machines: only the schedules are missing."""
    site = new_site(database)
    site.query("DELETE FROM django_q_schedule")
    race(site)
    assert [len(schedules(site, path)) for path in (CLEANUP, RESCUE)] == [1, 1]


def test_the_setting_changes_the_schedule_until_an_admin_edits_it(
    new_site: NewSite,
) -> None:
    """After that, its name, its interval and its pause survive every deployment."""
    site = new_site("postgres")
    (before,), (rescue,) = schedules(site), schedules(site, RESCUE)
    race(site, ASYNC_DOWNLOADS_CLEANUP_SCHEDULE=30)
    (after,) = schedules(site)
    assert (after["id"], after["minutes"]) == (before["id"], 30)
    site.query("UPDATE django_q_schedule SET name = 'Nightly', minutes = 7, repeats = 0")
    edited = schedules(site)
    race(site, ASYNC_DOWNLOADS_CLEANUP_SCHEDULE=45)
    assert schedules(site) == edited
    # The same edit of the other job.
    race(site, ASYNC_DOWNLOADS_RESCUE=False)
    (still,) = schedules(site, RESCUE)
    assert (still["id"], still["minutes"]) == (rescue["id"], 7)


@pytest.mark.parametrize("cache", ["file", "locmem"])
def test_a_schedule_that_catches_up_is_harmless_beside_a_running_export(
    new_site: NewSite, cache: str
) -> None:
    """Three workers make up for 31 clean-ups, with a shared cache and without."""
    site = new_site("postgres", cache=cache, q={"workers": 4, "catch_up": True})
    site.run(EXPIRED)
    kept = {row["filepath"] for row in site.rows()[30:]}
    running = site.begin("steady")
    with site.cluster() as cluster:
        site.until_started(running)
        site.run(
            """
            from datetime import timedelta
            from django.utils import timezone
            from django_q.models import Schedule
            from django_q.scheduler import scheduler
            Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=31 * 60 - 5))
            for _ in range(31):
                scheduler()
            """
        )
        eventually(lambda: len(site.results()) == 31, why="31 clean-ups")
        assert not cluster.lines("ERROR")
        assert {row["filepath"] for row in site.rows()} > kept
        assert set(site.files()) == kept
        site.go()
        row = site.until(running, state="complete", attempts=1)
    assert all(result["success"] for result in site.results())
    assert set(site.files()) == kept | {row["filepath"]}
    (schedule,) = schedules(site)
    assert schedule["repeats"] == -1
