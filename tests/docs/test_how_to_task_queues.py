"""The queues of the page, each with the task that the page writes for it.

Real workers of them are killed in tests/faults, and run the suite of tests/test_conformance.py.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command, get_commands
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from async_downloads.executors import dotted_path
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import services
from tests.docs.helpers import content, executed, problems, rows_of
from tests.factories import DownloadFactory, OrderFactory
from tests.faults.celery_workers import CAREFUL
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/task-queues.md"

QUEUES = PAGES[PAGE]

COVERED = {
    '"catch_up"': "test_the_settings_of_django_q_satisfy_the_checks",
    "ALT_CLUSTERS": "test_the_settings_of_django_q_satisfy_the_checks",
    "class OnCluster": "test_a_task_goes_to_the_cluster_by_its_name",
    "Q_CLUSTER_NAME=": "test_a_task_goes_to_the_cluster_by_its_name",
    "django-async-downloads[celery]": "test_celery_runs_its_task_with_the_tested_options",
    "beat_schedule": "test_celery_finds_the_tasks_of_the_beat",
    "from mysite.celery import app": "test_celery_finds_the_tasks_of_the_beat",
    "SURVIVES = {": "test_celery_runs_its_task_with_the_tested_options",
    "celery -A mysite worker": "test_celery_finds_the_tasks_of_the_beat",
    "celery -A mysite beat": "test_celery_finds_the_tasks_of_the_beat",
    "pip install django-tasks-db": "test_a_worker_of_django_tasks_db_runs_its_task",
    "TASKS = {": "test_a_worker_of_django_tasks_db_runs_its_task",
    "from django.tasks import task": "test_a_worker_of_django_tasks_db_runs_its_task",
    "manage.py db_worker": "test_a_worker_of_django_tasks_db_runs_its_task",
    "from rq import Retry": "test_a_worker_of_rq_runs_its_task",
    "from rq import Queue, Worker": "test_a_worker_of_rq_runs_its_task",
    "python -m mysite.rq_worker": "test_a_worker_of_rq_runs_its_task",
    "manage.py cleanup_downloads": "test_the_clean_up_runs_without_a_question",
}


def tasks_of(quick_start: Any, containing: str, **replaced: str) -> Any:
    """Return the module orders.tasks of a reader who has added a block."""
    body = QUEUES.placed(containing)
    for old, new in replaced.items():
        body = body.replace(old.replace("_", "."), new)
    return quick_start("orders.tasks", body)


def built(user: Any, task: Any, work: Callable[[], object], *, recorded: bool = True) -> list[str]:
    """Queue a task for the open orders, let a worker work, and return the lines of the file.

    Args:
        user: The owner of the download.
        task: The task.
        work: Lets a worker work.
        recorded: Whether the row records the call.
    """
    OrderFactory(status="shipped")
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    _, key = start_download(task, user, "orders.csv", kwargs={"status": "open"})
    if recorded:
        assert Download.objects.get(pk=key).call is not None
    work()
    return content(Download.objects.get(pk=key)).splitlines()


EXPECTED = ["Reference,Customer,Total", "R1,Ada,19.90"]


def test_the_settings_of_django_q_satisfy_the_checks(
    as_documented: Callable[..., dict[str, Any]], settings: Any
) -> None:
    documented = as_documented('"catch_up"', "ALT_CLUSTERS")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    ignored = ["W004"]
    assert problems(settings, documented, ["Q_CLUSTER"], ignored) == []
    # The second cluster, as a worker with its name sees it.
    cluster = documented["Q_CLUSTER"]
    (overnight,) = cluster["ALT_CLUSTERS"].values()
    assert problems(settings, {"Q_CLUSTER": cluster | overnight}, ["Q_CLUSTER"], ignored) == []
    assert overnight["timeout"] > cluster["timeout"]


@pytest.mark.django_db(transaction=True)
def test_a_task_goes_to_the_cluster_by_its_name(user: Any, quick_start: Any) -> None:
    assert tasks_of(quick_start, "class OnCluster").export_overnight.cluster == "overnight"
    (task,) = set(re.findall(r'"(orders\.tasks\.export_overnight)"', QUEUES.text))

    def work() -> None:
        package = OrmQ.objects.get(key="overnight")
        message = SignedPackage.loads(package.payload)
        import_string(message["func"])(*message["args"], **message["kwargs"])

    assert built(user, task, work) == EXPECTED
    assert "Q_CLUSTER_NAME=overnight " in QUEUES.snippet("Q_CLUSTER_NAME")
    assert '"overnight": {' in QUEUES.snippet("ALT_CLUSTERS")


def test_celery_finds_the_tasks_of_the_beat(quick_start: Any) -> None:
    celery = pytest.importorskip("celery")
    before = celery.current_app._get_current_object()
    app = quick_start("mysite.celery", QUEUES.placed("beat_schedule")).app
    before.set_current()
    __import__("async_downloads.tasks")
    named = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert len(named) == 2
    assert named <= app.tasks.keys()
    # Where "celery -A mysite" looks for it.
    assert executed(QUEUES.snippet("from mysite.celery import app"))["app"] is app


@pytest.mark.django_db(transaction=True)
def test_celery_runs_its_task_with_the_tested_options(quick_start: Any, run_download: Any) -> None:
    pytest.importorskip("celery")
    # Once in all: Celery refuses a second task of the same name.
    tasks = tasks_of(quick_start, "SURVIVES = {")
    # tests/faults/test_celery.py starts real workers with them.
    retried = tuple(map(import_string, CAREFUL["autoretry_for"]))
    limit = tasks.SURVIVES["soft_time_limit"]
    assert {**CAREFUL, "autoretry_for": retried, "soft_time_limit": limit} == tasks.SURVIVES
    task = tasks.export_with_celery
    assert dotted_path(task) == "orders.tasks.export_with_celery"
    assert (task.acks_late, task.soft_time_limit) == (True, limit)
    beat = QUEUES.snippet("beat_schedule")
    (seconds,) = re.findall(r'"visibility_timeout": ([\d *]+)', beat)
    assert eval(seconds) > limit  # noqa: S307 (our own text)
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    finished = run_download(task, status="open")
    assert finished.text.splitlines() == EXPECTED
    assert finished.raised is None
    assert finished.download.attempts == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "django_tasks_db" not in project_settings.INSTALLED_APPS,
    reason="django-tasks-db is not installed, or Django has no tasks and no backport of them",
)
def test_a_worker_of_django_tasks_db_runs_its_task(user: Any, quick_start: Any) -> None:
    package = project_settings.TASKS_PACKAGE
    tasks = tasks_of(quick_start, "from django.tasks import task", django_tasks=package)
    documented = executed(QUEUES.snippet("TASKS = {"), INSTALLED_APPS=[])
    assert documented["TASKS"]["default"] == project_settings.TASKS["database"]
    options = ("--backend", "database", "--batch", "--no-startup-delay", "--interval", "0")
    task = tasks.export_with_django.using(backend="database")

    def work() -> None:
        # It ends once there is nothing left to do.
        call_command("db_worker", *options)

    # A variant of the task, because it names a backend.
    assert built(user, task, work, recorded=False) == EXPECTED
    assert dotted_path(tasks.export_with_django) == "orders.tasks.export_with_django"


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_rq_runs_its_task(user: Any, quick_start: Any) -> None:
    rq = pytest.importorskip("rq")
    if not services.available("redis"):
        pytest.skip("no Redis answers")
    url = re.findall(r'from_url\("(.*?)"\)', QUEUES.text)[0]
    body = QUEUES.placed("from rq import Retry").replace(url, services.redis_url())
    tasks = quick_start("orders.tasks", body.replace('"exports"', '"async-downloads-tests"'))
    queue = rq.Queue("async-downloads-tests", connection=tasks.connection)
    queue.empty()
    worker = rq.SimpleWorker([queue], connection=tasks.connection)
    assert built(user, tasks.export_with_rq, lambda: worker.work(burst=True)) == EXPECTED
    assert callable(quick_start("mysite.rq_worker", QUEUES.snippet("rq import Queue, Worker")).main)
    (queued,) = re.findall(r'^@job\("(\w+)"', QUEUES.text, re.MULTILINE)
    assert f'Queue("{queued}"' in QUEUES.snippet("rq import Queue, Worker")


@pytest.mark.django_db(transaction=True)
def test_the_clean_up_runs_without_a_question() -> None:
    expired = DownloadFactory(complete=True, expired=True)
    (command,) = re.findall(r"manage\.py (.*)", QUEUES.snippet("manage.py cleanup_downloads"))
    call_command(*command.split(), verbosity=0)
    assert not Download.objects.filter(pk=expired.pk).exists()


def test_the_commands_exist() -> None:
    commands = re.findall(r"manage\.py (\w+)", "\n".join(QUEUES.snippets("console")))
    ours = {"qcluster", "cleanup_downloads"}
    assert ours <= set(commands) <= get_commands().keys() | {"db_worker"}


def test_both_tables_name_the_same_queues() -> None:
    first = {row[1] for row in rows_of(QUEUES.text, "| task | queue |")}
    assert "django-q2" in first
    survivors = [row[0] for row in rows_of(QUEUES.text, "| queue | a task waits")]
    for queue in ("django-q2", "Celery", "django-tasks-db", "RQ", "a thread"):
        assert any(row.startswith(queue) for row in survivors), queue
