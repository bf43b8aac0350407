"""A report that a schedule starts."""

import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from async_downloads import cache
from async_downloads import settings as package_settings
from async_downloads.models import Download
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
    "django-async-downloads[cron]": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "class Command": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "manage.py schedule_reports": "test_the_schedule_is_made_once_and_runs_on_mondays",
    "ASYNC_DOWNLOADS_TIMEOUT": "test_a_report_is_kept_until_the_next_one",
    "crontab(": "test_the_beat_runs_it_at_the_same_time",
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
        "orders.management.commands.schedule_reports", REPORT.placed("class Command")
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
    assert (next_run.isoweekday(), next_run.hour, next_run.minute) == (1, 6, 0)
    assert timezone.now() < schedule.next_run <= timezone.now() + timedelta(days=7)
    Schedule.objects.filter(pk=schedule.pk).update(cron="0 7 * * 1")
    call_command(command)
    assert Schedule.objects.get(name="Weekly reports").cron == "0 7 * * 1"
    path = f"orders/management/commands/{REPORT.snippet('manage.py').split()[-1]}.py"
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


@pytest.mark.django_db(transaction=True)
def test_a_person_above_the_limit_does_not_keep_the_others_from_theirs(
    reports: Any, readers: list[Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    cache.init_download(readers[0], "other.csv")
    reports.start_weekly_reports()
    owners = Download.objects.filter(name__startswith="Open orders")
    assert [download.collection.user for download in owners] == readers[1:]
    assert "ada has too many downloads" in caplog.text


def test_a_report_is_kept_until_the_next_one(as_documented: Any, settings: Any) -> None:
    documented = as_documented("ASYNC_DOWNLOADS_TIMEOUT")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, ["ASYNC_DOWNLOADS_TIMEOUT"]) == []
    assert timedelta(seconds=package_settings.TIMEOUT) > timedelta(days=7)
    # As the page says of what happens without it.
    assert timedelta(seconds=package_settings.DEFAULTS["TIMEOUT"]) == timedelta(days=1)


def test_the_beat_runs_it_at_the_same_time() -> None:
    celery = pytest.importorskip("celery")
    app = celery.Celery("weekly", set_as_current=False)
    app.conf.beat_schedule = {}
    executed(REPORT.snippet("crontab("), app=app)
    entry = app.conf.beat_schedule["weekly_reports"]
    assert (entry["schedule"].day_of_week, entry["schedule"].hour) == ({1}, {6})
    module, _, function = entry["task"].rpartition(".")
    (block,) = [block for block in REPORT.blocks if f"def {function}(" in block.body]
    assert block.file == f"{module.replace('.', '/')}.py"
    assert celery.Celery("without", set_as_current=False).conf.timezone in {None, "UTC"}
