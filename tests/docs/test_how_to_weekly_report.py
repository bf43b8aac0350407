"""A report that a schedule starts."""

import configparser
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from async_downloads import cache
from async_downloads import settings as package_settings
from async_downloads.models import Download
from async_downloads.owners import resolve
from async_downloads.shortcuts import download_task, start_downloads
from tests import queues
from tests.docs.helpers import content, executed, problems
from tests.docs.people import person_who_may_view_orders
from tests.factories import OrderFactory, UserFactory
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/weekly-report.md"

REPORT = PAGES[PAGE]

COVERED = {
    "def start_weekly_reports": "test_the_schedule_builds_a_report_for_each_person_who_may_see_it",
    "def may_start": "test_a_worker_refuses_a_report_to_a_person_who_has_lost_the_permission",
    "ASYNC_DOWNLOADS_MAY_START": (
        "test_a_worker_refuses_a_report_to_a_person_who_has_lost_the_permission"
    ),
    "TIME_ZONE": "test_the_schedule_of_django_q_runs_at_eight_all_year",
    "django-async-downloads[cron]": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "Schedule the weekly": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "manage.py schedule_reports": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "ASYNC_DOWNLOADS_TIMEOUT": "test_a_report_is_kept_until_the_next_one",
    "crontab(": "test_the_beat_runs_it_at_eight_all_year",
    "Start the weekly reports.": "test_the_timer_calls_the_command_that_starts_the_reports",
    "[Timer]": "test_the_timer_calls_the_command_that_starts_the_reports",
    "Type=oneshot": "test_the_timer_calls_the_command_that_starts_the_reports",
}


@pytest.fixture
def reports(quick_start: Any) -> Any:
    module = quick_start("orders.reports", REPORT.placed("def start_weekly_reports"))
    # By which django-q2 finds a function.
    vars(sys.modules["orders"])["reports"] = module
    return module


@pytest.fixture
def command(quick_start: Any) -> Any:
    pytest.importorskip("croniter")
    module = quick_start(
        "orders.management.commands.schedule_reports", REPORT.placed("Schedule the weekly")
    )
    return module.Command()


@pytest.fixture
def readers(db: None) -> list[Any]:
    """Two people who may view orders, and two who get nothing: one may not, one has left."""
    UserFactory(username="eve")
    person_who_may_view_orders(username="gone", is_active=False)
    return [person_who_may_view_orders(username=name) for name in ("ada", "grace")]


@pytest.mark.django_db(transaction=True)
def test_the_schedule_is_made_once_and_runs_on_mondays(command: Any) -> None:
    call_command(command)
    schedule = Schedule.objects.get(name="Weekly reports")
    next_run = timezone.localtime(schedule.next_run)
    assert (next_run.isoweekday(), next_run.hour, next_run.minute) == (1, 8, 0)
    assert timezone.now() < schedule.next_run <= timezone.now() + timedelta(days=7)
    Schedule.objects.filter(pk=schedule.pk).update(cron="0 9 * * 1")
    call_command(command)
    assert Schedule.objects.get(name="Weekly reports").cron == "0 9 * * 1"
    path = f"orders/management/commands/{REPORT.snippet('manage.py schedule').split()[-1]}.py"
    assert path in {block.file for block in REPORT.blocks}


@pytest.mark.django_db(transaction=True)
def test_the_schedule_builds_a_report_for_each_person_who_may_see_it(
    reports: Any, command: Any, readers: list[Any]
) -> None:
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    Schedule.objects.all().delete()
    call_command(command)
    # A cluster that was away for three Mondays.
    Schedule.objects.update(next_run=timezone.now() - timedelta(days=20))
    scheduler()
    assert OrmQ.objects.count() == 1
    assert Schedule.objects.get().next_run > timezone.now()
    queues.run_waiting()
    queues.run_waiting()
    downloads = Download.objects.order_by("collection__user__username")
    assert [download.collection.user for download in downloads] == readers
    for download in downloads:
        assert content(download) == "Reference,Customer,Total\nR1,Ada,19.90\n"
        assert download.name.startswith("Open orders, week ")


@pytest.mark.django_db(transaction=True)
def test_a_second_delivery_makes_no_second_report(reports: Any, readers: list[Any]) -> None:
    reports.start_weekly_reports()
    reports.start_weekly_reports()
    assert Download.objects.count() == len(readers)
    # Nor does one that comes when the reports are complete.
    queues.run_waiting()
    reports.start_weekly_reports()
    assert Download.objects.count() == len(readers)
    # Those of the next Monday are others.
    two_days = timezone.now() - timedelta(days=2)
    Download.objects.update(finished_at=two_days)
    reports.start_weekly_reports()
    assert Download.objects.count() == 2 * len(readers)


@pytest.mark.django_db(transaction=True)
def test_a_person_above_the_limit_does_not_keep_the_others_from_theirs(
    reports: Any, readers: list[Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    cache.init_download(readers[0], "other.csv")
    reports.start_weekly_reports()
    started = Download.objects.filter(name__startswith="Open orders")
    assert [download.collection.user for download in started] == readers[1:]
    key = resolve(readers[0]).collection_key
    assert f"{key} has too many downloads" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_worker_refuses_a_report_to_a_person_who_has_lost_the_permission(
    reports: Any, readers: list[Any], quick_start: Any, settings: Any
) -> None:
    rights = quick_start("orders.rights", REPORT.placed("def may_start"))
    vars(sys.modules["orders"])["rights"] = rights
    documented = executed(REPORT.snippet("ASYNC_DOWNLOADS_MAY_START"))
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, ["ASYNC_DOWNLOADS_MAY_START"]) == []
    reports.start_weekly_reports()
    readers[0].user_permissions.clear()
    queues.run_waiting()
    refused, built = Download.objects.order_by("collection__user__username")
    assert (refused.state, built.state) == ("failed", "complete")
    assert f'"{refused.errors}"' in REPORT.text


#: A Monday before the clocks of Europe change, and the hours until the next one at eight.
MONDAYS = [(date(2026, 3, 23), 7 * 24 - 1), (date(2026, 10, 19), 7 * 24 + 1)]

ZONE = ZoneInfo("Europe/Berlin")


def at_eight(day: date) -> datetime:
    return datetime.combine(day, time(8), ZONE)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("monday", "hours"), MONDAYS)
def test_the_schedule_of_django_q_runs_at_eight_all_year(
    command: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    monday: date,
    hours: int,
) -> None:
    settings.TIME_ZONE = executed(REPORT.snippet("TIME_ZONE"))["TIME_ZONE"]
    assert ZoneInfo(settings.TIME_ZONE) == ZONE
    call_command(command)
    monkeypatch.setattr("django_q.models.localtime", lambda: at_eight(monday))
    next_run = Schedule.objects.get(name="Weekly reports").calculate_next_run()
    assert next_run == at_eight(monday + timedelta(days=7))
    assert next_run.astimezone(UTC) - at_eight(monday).astimezone(UTC) == timedelta(hours=hours)


def test_a_report_is_kept_until_the_next_one(as_documented: Any, settings: Any) -> None:
    documented = as_documented("ASYNC_DOWNLOADS_TIMEOUT")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, ["ASYNC_DOWNLOADS_TIMEOUT"]) == []
    assert timedelta(seconds=package_settings.TIMEOUT) > timedelta(days=7)
    # As the page says of what happens without it.
    assert timedelta(seconds=package_settings.DEFAULTS["TIMEOUT"]) == timedelta(days=1)


@pytest.mark.parametrize(("monday", "hours"), MONDAYS)
def test_the_beat_runs_it_at_eight_all_year(monday: date, hours: int) -> None:
    celery = pytest.importorskip("celery")
    app = celery.Celery("weekly", set_as_current=False)
    app.conf.beat_schedule = {}
    executed(REPORT.snippet("crontab("), app=app)
    entry = app.conf.beat_schedule["weekly_reports"]
    assert entry["task"] == "orders.reports.start_weekly_reports"
    schedule = entry["schedule"]
    # As the beat does.
    schedule.app, schedule.nowfun = app, lambda: at_eight(monday)
    assert schedule.remaining_estimate(at_eight(monday)) == timedelta(hours=hours)


@pytest.mark.django_db(transaction=True)
def test_the_timer_calls_the_command_that_starts_the_reports(
    reports: Any, readers: list[Any], quick_start: Any
) -> None:
    path = "orders/management/commands/start_weekly_reports.py"
    assert path in {block.file for block in REPORT.blocks}
    module = quick_start(
        path.removesuffix(".py").replace("/", "."), REPORT.placed("Start the weekly reports.")
    )
    call_command(module.Command())
    assert Download.objects.count() == len(readers)
    timer, service = configparser.ConfigParser(), configparser.ConfigParser()
    for parser in (timer, service):
        # Their names are not in lower case.
        parser.optionxform = str  # type: ignore[assignment, method-assign]
    timer.read_string(REPORT.snippet("[Timer]"))
    service.read_string(REPORT.snippet("Type=oneshot"))
    assert timer["Timer"]["OnCalendar"] == f"Mon 08:00 {ZONE.key}"
    assert service["Service"]["ExecStart"].endswith("manage.py start_weekly_reports")
    # A timer starts the service of its name.
    names = {block.file.rpartition("/")[2] for block in REPORT.blocks if block.language == "ini"}
    assert names == {"weekly-reports.timer", "weekly-reports.service"}


@pytest.mark.django_db(transaction=True)
def test_tasks_of_django_are_queued_as_well(readers: list[Any], settings: Any) -> None:
    pytest.importorskip("django_tasks_db")
    outcome = start_downloads(f"{__name__}.in_django", readers, "a.csv")
    assert len(outcome.started) == len(readers)
    assert {row.state for row in Download.objects.all()} == {"complete"}


if project_settings.TASKS_PACKAGE:

    @import_string(f"{project_settings.TASKS_PACKAGE}.task")
    @download_task
    def in_django(download_key: str) -> None:
        cache.save_download(download_key, [["row"]])
