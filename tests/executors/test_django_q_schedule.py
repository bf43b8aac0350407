"""The periodic jobs as schedules of django-q2."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, models, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from async_downloads.executors import django_q_schedule
from async_downloads.models import Download
from tests import queues
from tests.attempts import long_ago
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.django_db(transaction=True)

#: Processes that migrate at the same time.
RACERS = 8


@pytest.fixture(autouse=True)
def as_migrate_leaves_it() -> Iterator[None]:
    """Begin with one schedule of each job, as every site does, and restore both at the end."""
    Schedule.objects.all().delete()
    django_q_schedule.install("default")
    yield
    Schedule.objects.all().delete()
    django_q_schedule.install("default")


#: The settings of both jobs, and a name and a path of each.
JOBS = {
    "clean-up": ("CLEANUP_SCHEDULE", django_q_schedule.CLEANUP_PATH),
    "rescue": ("RESCUE", django_q_schedule.RESCUE_PATH),
}

each_job = pytest.mark.parametrize("job", JOBS)


def ours(job: str = "clean-up") -> Any:
    return Schedule.objects.filter(func=JOBS[job][1])


def migrate() -> None:
    call_command("migrate", verbosity=0)


# Once


def test_migrate_installs_each_once() -> None:
    Schedule.objects.all().delete()
    for _ in range(3):
        migrate()
        assert [ours(job).count() for job in JOBS] == [1, 1]


def test_the_rescue_runs_every_minute_first_in_a_minute() -> None:
    schedule = ours("rescue").get()
    assert schedule.name == "async_downloads: rescue stalled downloads, every minute"
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 1)
    assert schedule.repeats == -1
    assert timedelta() < schedule.next_run - timezone.now() <= timedelta(minutes=1)
    schedule.full_clean()


def test_django_q_runs_the_rescue_and_keeps_no_result_of_it() -> None:
    """A result each minute would push out the results of the site's own tasks."""
    download = DownloadFactory(running=True, recorded=True, heard_at=long_ago())
    ours("rescue").update(next_run=timezone.now() - timedelta(seconds=1))
    scheduler()
    (done,) = queues.run_waiting()
    assert (done["success"], done["result"], done["save"]) == (True, None, False)
    download.refresh_from_db()
    assert download.state == "pending"
    assert ours("rescue").get().next_run > timezone.now()
    (queued,) = queues.waiting()
    assert download.download_key in queued["args"]


def test_it_runs_every_hour_first_in_an_hour() -> None:
    schedule = ours().get()
    assert schedule.name == "async_downloads: remove expired downloads, every 60 minutes"
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 60)
    assert schedule.repeats == -1
    wait = schedule.next_run - timezone.now()
    assert timedelta(minutes=59) < wait <= timedelta(minutes=60)
    assert not schedule.args
    assert not schedule.kwargs
    schedule.full_clean()


def test_django_q_runs_it(django_assert_max_num_queries: Any) -> None:
    DownloadFactory(expired=True, complete=True)
    ours().update(next_run=timezone.now() - timedelta(minutes=1))
    scheduler()
    assert OrmQ.objects.count() == 1
    (done,) = queues.run_waiting()
    assert (done["success"], done["result"]) == (True, None)
    assert not Download.objects.exists()


# Edits by an admin

EDITS = [
    {"name": "Nightly"},
    {"name": None},
    {"minutes": 5},
    {"kwargs": "q_options={'save': True}"},
    {"repeats": 0},
    {"repeats": 7},
    {"schedule_type": Schedule.DAILY, "minutes": None},
    {"schedule_type": Schedule.CRON, "cron": "0 3 * * *", "minutes": None},
    {"cluster": "elsewhere"},
    {"hook": "site.tasks.notify"},
    {"kwargs": "q_options={'timeout': 60}"},
    {"next_run": None},
]


# The tests below try most edits on each database.
@pytest.mark.any_database
@each_job
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_an_edited_row_stays(edit: dict[str, Any], job: str) -> None:
    ours(job).update(**edit)
    before = ours(job).values().get()
    migrate()
    assert list(ours(job).values()) == [before]


# An edit of next_run alone does not count: django-q2 changes it after each run.
@pytest.mark.parametrize("edit", EDITS[:-1], ids=str)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(30, marks=pytest.mark.any_database),
        "0 3 * * *",
        pytest.param(None, marks=pytest.mark.any_database),
    ],
)
def test_an_edited_row_stays_when_the_setting_changes(
    settings: Any, edit: dict[str, Any], value: Any
) -> None:
    ours().update(**edit)
    before = ours().values().get()
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = value
    django_q_schedule.install("default")
    assert list(ours().values()) == [before]


@pytest.mark.parametrize("edit", EDITS[:-1], ids=str)
def test_an_edited_rescue_stays_when_it_is_switched_off(
    settings: Any, edit: dict[str, Any]
) -> None:
    ours("rescue").update(**edit)
    before = ours("rescue").values().get()
    settings.ASYNC_DOWNLOADS_RESCUE = False
    django_q_schedule.install("default")
    assert list(ours("rescue").values()) == [before]


# The setting


@pytest.mark.parametrize("value", [1, 15, 32_767])
def test_it_runs_as_often_as_the_setting_says(settings: Any, value: int) -> None:
    Schedule.objects.all().delete()
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = value
    django_q_schedule.install("default")
    schedule = ours().get()
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, value)
    assert schedule.next_run - timezone.now() <= timedelta(minutes=value)
    schedule.full_clean()


def test_it_runs_when_a_cron_text_says(settings: Any) -> None:
    Schedule.objects.all().delete()
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = "15 3 * * *"
    django_q_schedule.install("default")
    schedule = ours().get()
    assert schedule.name == f"{django_q_schedule.CLEANUP_NAME}, at 15 3 * * *"
    assert (schedule.schedule_type, schedule.cron) == (Schedule.CRON, "15 3 * * *")
    assert (schedule.next_run.hour, schedule.next_run.minute) == (3, 15)
    assert timedelta() < schedule.next_run - timezone.now() <= timedelta(days=1)
    schedule.full_clean()
    # The scheduler can read it.
    schedule_run(schedule)
    assert ours().get().next_run > timezone.now()


def schedule_run(schedule: Schedule) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(next_run=timezone.now() - timedelta(minutes=1))
    DownloadFactory(expired=True, complete=True)
    scheduler()
    (done,) = queues.run_waiting()
    assert done["success"]
    assert not Download.objects.exists()


@pytest.mark.parametrize("value", [30, "0 3 * * *", "30 4 * * mon"])
def test_an_unedited_row_follows_the_setting(settings: Any, value: int | str) -> None:
    pk = ours().get().pk
    # The row after some runs, and after an admin has saved the form unchanged.
    ours().update(task="an id", next_run=timezone.now(), hook="", args="", kwargs="")
    for setting in (value, 45, value):
        settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = setting
        django_q_schedule.install("default")
        schedule = ours().get()
        assert schedule.pk == pk
        assert setting in (schedule.minutes, schedule.cron)
        assert str(setting) in schedule.name
        schedule.full_clean()
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = 60
    django_q_schedule.install("default")
    assert (ours().get().minutes, ours().get().cron) == (60, None)


@each_job
def test_an_unchanged_setting_keeps_the_next_run(job: str) -> None:
    before = ours(job).values().get()
    django_q_schedule.install("default")
    assert ours(job).values().get() == before


@pytest.mark.parametrize(("job", "off", "on"), [("clean-up", None, 60), ("rescue", False, True)])
def test_a_job_that_is_off_has_no_row_and_loses_an_unedited_one(
    settings: Any, job: str, off: Any, on: Any
) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{JOBS[job][0]}", off)
    for _ in range(2):
        migrate()
        assert not ours(job).exists()
        assert Schedule.objects.count() == 1
    setattr(settings, f"ASYNC_DOWNLOADS_{JOBS[job][0]}", on)
    migrate()
    assert ours(job).count() == 1


def test_a_rescue_that_an_admin_has_saved_unchanged_can_be_switched_off(settings: Any) -> None:
    # The form saves empty texts.
    ours("rescue").update(task="an id", hook="", args="", next_run=timezone.now())
    settings.ASYNC_DOWNLOADS_RESCUE = False
    django_q_schedule.install("default")
    assert not ours("rescue").exists()


def test_a_row_whose_name_lacks_its_interval_counts_as_edited(settings: Any) -> None:
    Schedule.objects.all().delete()
    text = f"{','.join(map(str, range(0, 60, 2)))} * * * *"
    assert 60 < len(text) <= 100
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = text
    django_q_schedule.install("default")
    assert (ours().get().name, ours().get().cron) == (django_q_schedule.CLEANUP_NAME, text)
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = 30
    django_q_schedule.install("default")
    assert ours().get().cron == text


@pytest.mark.parametrize(
    ("job", "value"),
    [
        *(("clean-up", value) for value in ("every day", "0 3 31 2 *", 0, 5.5)),
        *(("rescue", value) for value in ("off", 0, None)),
    ],
)
def test_an_invalid_setting_is_logged_and_changes_nothing(
    settings: Any, caplog: pytest.LogCaptureFixture, job: str, value: Any
) -> None:
    name = f"ASYNC_DOWNLOADS_{JOBS[job][0]}"
    before = ours(job).values().get()
    setattr(settings, name, value)
    django_q_schedule.install("default")
    assert ours(job).values().get() == before
    Schedule.objects.all().delete()
    django_q_schedule.install("default")
    assert not ours(job).exists()
    # The other job is scheduled all the same.
    assert Schedule.objects.count() == 1
    assert f"{name} is {value!r}." in caplog.text


@pytest.mark.parametrize(("job", "value"), [("clean-up", 30), ("rescue", False)])
def test_an_edit_at_the_same_moment_stays(settings: Any, job: str, value: Any) -> None:
    setattr(settings, f"ASYNC_DOWNLOADS_{JOBS[job][0]}", value)

    def edit_first(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("UPDATE", "DELETE")) and not edited:
            edited.append(True)
            ours(job).update(minutes=7)
        return execute(sql, *args)

    edited: list[bool] = []
    with connection.execute_wrapper(edit_first):
        django_q_schedule.install("default")
    assert (edited, ours(job).get().minutes) == ([True], 7)


@each_job
def test_several_rows_of_an_admin_stay(job: str) -> None:
    Schedule.objects.create(func=JOBS[job][1], name="Another", minutes=5)
    migrate()
    assert ours(job).count() == 2


def test_other_schedules_stay() -> None:
    Schedule.objects.create(func="site.tasks.report", name=django_q_schedule.CLEANUP_NAME)
    ours().delete()
    migrate()
    assert set(Schedule.objects.values_list("func", flat=True)) == {
        "site.tasks.report",
        django_q_schedule.CLEANUP_PATH,
        django_q_schedule.RESCUE_PATH,
    }


# Concurrent installs


def in_threads(work: Callable[[], None], count: int) -> None:
    """Run a function in several threads, each with its own connection."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        try:
            barrier.wait(timeout=LONGEST_WAIT)
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=LONGEST_WAIT)
    assert errors == []


@pytest.mark.parametrize("attempt", range(5))
def test_concurrent_installs_end_with_one_row(attempt: int) -> None:
    Schedule.objects.all().delete()
    in_threads(lambda: django_q_schedule.install("default"), RACERS)
    assert [ours(job).count() for job in JOBS] == [1, 1]


@each_job
def test_concurrent_installs_keep_an_existing_row(job: str) -> None:
    before = ours(job).values().get()
    in_threads(lambda: django_q_schedule.install("default"), RACERS)
    assert ours(job).values().get() == before


@each_job
def test_an_older_row_that_is_committed_late_is_not_lost(job: str) -> None:
    """Let two installs meet at the worst moment.

    The first takes the lower primary key but commits only after the second has
    looked for the oldest row, and before the second removes the others.
    """
    if connection.vendor == "sqlite":
        pytest.skip("SQLite allows one writer at a time")
    ours(job).delete()
    first_holds, second_looked, first_is_done = (threading.Event() for _ in range(3))

    def hold_the_insert(execute: Any, sql: str, *args: Any) -> Any:
        if not sql.startswith("INSERT"):
            return execute(sql, *args)
        with transaction.atomic():
            result = execute(sql, *args)
            first_holds.set()
            second_looked.wait(timeout=5)
        return result

    def wait_before_the_removal(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("DELETE"):
            second_looked.set()
            first_is_done.wait(timeout=5)
        return execute(sql, *args)

    def first() -> None:
        with connection.execute_wrapper(hold_the_insert):
            django_q_schedule.install("default")
        first_is_done.set()

    def second() -> None:
        first_holds.wait(timeout=LONGEST_WAIT)
        with connection.execute_wrapper(wait_before_the_removal):
            django_q_schedule.install("default")

    todo = [first, second]
    in_threads(lambda: todo.pop()(), 2)
    assert ours(job).count() == 1


def test_concurrent_installs_with_different_settings_end_with_one_row(settings: Any) -> None:
    # One machine has the new settings, another one has the old ones.
    Schedule.objects.all().delete()
    values = [30, 60, "0 3 * * *", 30, 60, "0 3 * * *"]

    class Settings:
        RESCUE = True

        def __getattr__(self, name: str) -> Any:
            return values[hash(threading.current_thread().name) % len(values)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(django_q_schedule, "settings", Settings())
        in_threads(lambda: django_q_schedule.install("default"), RACERS)
    assert ours().count() == 1


# Not installed


@pytest.mark.parametrize("model", [Schedule, Download])
def test_it_is_not_installed_while_a_table_is_missing(model: type[models.Model]) -> None:
    # The state after "migrate auth" on a new database, or after migrating an app back.
    table = model._meta.db_table
    if model is Download:
        Schedule.objects.all().delete()
    with connection.schema_editor() as editor:
        editor.alter_db_table(model, table, f"{table}_away")
    try:
        django_q_schedule.install("default")
        if model is Download:
            assert not ours().exists()
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(model, f"{table}_away", table)


def test_a_site_without_django_q_has_no_schedule(settings: Any) -> None:
    Schedule.objects.all().delete()
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    django_q_schedule.install("default")
    assert not ours().exists()


class SchedulesElsewhere:
    """A router for a site that keeps django-q2's tables in another database."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "elsewhere" if model is Schedule else None


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
def test_it_is_installed_only_in_the_database_that_django_q_reads(settings: Any) -> None:
    for using in ("default", "elsewhere"):
        Schedule.objects.using(using).all().delete()
    settings.DATABASE_ROUTERS = [f"{__name__}.{SchedulesElsewhere.__name__}"]
    # The two apps are migrated one database after the other, in either order.
    for using in ("default", "elsewhere", "default"):
        django_q_schedule.install(using)
    settings.DATABASE_ROUTERS = []
    installed = Schedule.objects.using("elsewhere").values_list("func", flat=True)
    assert sorted(installed) == [path for _, path in JOBS.values()]
    assert not Schedule.objects.using("default").exists()
