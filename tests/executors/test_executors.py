"""How a task gets to a worker."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError
from django.utils.module_loading import import_string
from django_q.tasks import async_task

from async_downloads import cache
from async_downloads.executors import check_arguments, enqueuer_for
from async_downloads.executors.django_q import RUNNER_PATH
from async_downloads.executors.threads import thread_task
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.shortcuts import init_generic_csv_download
from tests import jobs, queues
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.any_database

#: Options of django-q2, which it would take from the task's keyword arguments.
QUEUE_OPTIONS = {
    "hook": "a.b",
    "group": "my group",
    "save": False,
    "sync": True,
    "cached": 60,
    "ack_failure": True,
    "iter_count": 2,
    "iter_cached": 3,
    "chain": [("a.b", ())],
    "broker": "mine",
    "cluster": "elsewhere",
    "timeout": 5,
    "task_name": "named",
    "q_options": {"group": "theirs", "timeout": 1},
}

#: Names of arguments of the package's own functions on the way.
OUR_NAMES = {"path": "orders/2026", "args": [1], "kwargs": {"a": 1}, "function": "f", "using": "u"}


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    yield from jobs.forget()


def no_module_level() -> Any:
    def nested(download_key: str) -> None:
        """Do nothing."""

    return nested


@pytest.fixture
def key(transactional_db: None) -> str:
    """Return the key of a download that waits for its task, committed for a worker."""
    return DownloadFactory().download_key


# Kinds of tasks


def test_a_celery_task_goes_to_celery_eagerly_or_not() -> None:
    with jobs.eager_celery():
        enqueuer_for(jobs.celery_remember)("key", 1, period="2026")
    assert jobs.calls == [(("key", 1), {"period": "2026"})]


def test_a_celery_task_waits_on_the_broker_for_a_worker() -> None:
    enqueuer_for(jobs.celery_remember)("key", 1, period="2026")
    assert jobs.calls == []
    with jobs.celery_app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        message = queue.get(timeout=LONGEST_WAIT)
        message.ack()
        queue.close()
    assert message.headers["task"] == "tests.jobs.celery_remember"
    assert message.payload[:2] == [["key", 1], {"period": "2026"}]


def test_the_path_of_a_celery_task_goes_to_celery_too() -> None:
    # Without this, a worker of django-q2 would run it.
    path = "tests.jobs.celery_remember"
    assert enqueuer_for(path) == enqueuer_for(jobs.celery_remember)


def test_an_object_with_enqueue_is_queued_by_it() -> None:
    enqueuer_for(jobs.Backend())("key", 1, period="2026")
    assert jobs.Backend.enqueued == [(("key", 1), {"period": "2026"})]


@pytest.mark.parametrize("package", ["django.tasks", "django_tasks"])
def test_a_django_task_goes_to_its_backend(package: str) -> None:
    if package != project_settings.TASKS_PACKAGE:
        pytest.skip(f"Django's tasks are those of {project_settings.TASKS_PACKAGE or 'no package'}")
    task = import_string(f"{package}.task")(jobs.remember)
    enqueuer_for(task)("key", 1, period="2026")
    assert jobs.calls == [(("key", 1), {"period": "2026"})]


@pytest.mark.parametrize("takes_context", [True, False])
def test_the_arguments_of_a_django_task_must_fit(takes_context: bool) -> None:
    if not project_settings.TASKS_PACKAGE:
        pytest.skip("No package has Django's tasks")
    decorator = import_string(f"{project_settings.TASKS_PACKAGE}.task")
    function = jobs.in_context if takes_context else jobs.fail
    task = decorator(takes_context=takes_context)(function)
    check_arguments(task, ("key",), {})
    for args, kwargs in ((("key", 1), {}), (("key",), {"month": 5}), ((), {})):
        with pytest.raises(TypeError, match="argument"):
            check_arguments(task, args, kwargs)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [jobs.in_thread, "tests.jobs.in_thread"], ids=["task", "path"])
def test_a_thread_task_gets_a_thread(user: Any, task: Any) -> None:
    _, key = cache.init_download(user, "orders.csv")
    future: Any = enqueuer_for(task)(key, 1, period="2026")
    assert future.result(timeout=LONGEST_WAIT) is None
    assert jobs.calls == [((key, 1), {"period": "2026"})]
    assert jobs.threads == [f"download {key}"]


@pytest.mark.django_db(transaction=True)
def test_the_error_of_a_thread_is_recorded_and_in_its_future(user: Any) -> None:
    _, key = cache.init_download(user, "orders.csv")
    with pytest.raises(LookupError):
        thread_task(jobs.fail).enqueue(key).result(timeout=LONGEST_WAIT)
    assert Download.objects.get().failed


@pytest.mark.parametrize("function", [jobs.async_generator, jobs.generator, 5])
def test_a_thread_task_must_be_a_function_that_runs(function: Any) -> None:
    with pytest.raises(TypeError):
        thread_task(function)


@pytest.mark.parametrize("task", [jobs.remember, "tests.jobs.remember"], ids=["function", "path"])
def test_a_function_or_its_path_waits_for_django_q(key: str, task: Any) -> None:
    enqueuer_for(task)(key, 1, period="2026")
    assert jobs.calls == []
    assert [task["func"] for task in queues.waiting()] == [RUNNER_PATH]
    done = queues.run_waiting()
    assert jobs.calls == [((key, 1), {"period": "2026"})]
    assert [(task["success"], task["result"]) for task in done] == [(True, None)]


def test_a_function_is_imported_by_its_own_name(key: str) -> None:
    enqueuer_for(jobs.remember_too)(key)
    queues.run_waiting()
    assert jobs.calls == [((key,), {})]


@pytest.mark.django_db
def test_the_group_in_django_q_is_the_path() -> None:
    enqueuer_for(jobs.remember)("key")
    assert queues.waiting()[0]["group"] == "tests.jobs.remember"


# Objects that are not tasks


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (lambda key: None, ValueError, "<lambda>.*module level"),
        (no_module_level(), ValueError, "<locals>.*module level"),
        (jobs.async_generator, TypeError, "generator"),
        ("tests.jobs.async_generator", TypeError, "generator"),
        (jobs.generator, TypeError, "generator"),
        ("tests.jobs.not_callable", TypeError, "not callable"),
        ("tests.jobs", TypeError, "not callable"),
        (5, TypeError, "must be a Celery task.* not 5"),
        (None, TypeError, "must be a Celery task.* not None"),
        (object(), TypeError, "must be a Celery task"),
        (functools.partial(jobs.remember, 1), TypeError, "must be a Celery task"),
        ("tests.jobs.no_such_function", ImportError, "no_such_function"),
        ("tests.no_such_module.function", ImportError, "no_such_module"),
        ("function", ImportError, "function"),
        ("", ImportError, ""),
        (jobs.Jobs().method, (ImportError, ValueError), "tests.jobs.Jobs"),
        (jobs.Jobs.method, (ImportError, ValueError), "tests.jobs.Jobs"),
    ],
)
@pytest.mark.django_db
def test_an_invalid_task_is_an_error_before_anything_is_written(
    user: Any, task: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message or None):
        init_generic_csv_download(task, user, "Orders")
    assert not Download.objects.exists()
    assert queues.waiting() == []


@pytest.mark.django_db
def test_a_plain_function_without_django_q_is_an_error_before_anything_is_written(
    user: Any, settings: Any
) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    with pytest.raises(ImproperlyConfigured, match="Add django_q to INSTALLED_APPS"):
        init_generic_csv_download(jobs.remember, user, "Orders")
    assert not Download.objects.exists()


def test_a_function_with_the_name_of_another_is_refused() -> None:
    @functools.wraps(jobs.remember)
    def wrapper(download_key: str) -> None:
        """Do something else."""

    # A worker would import the other function.
    with pytest.raises(ValueError, match=r"tests\.jobs\.remember is not the function"):
        enqueuer_for(wrapper)


# Arguments


@pytest.mark.django_db
def test_django_q_takes_some_arguments_for_its_options() -> None:
    # The premise of the next test.
    async_task("tests.jobs.remember", "key", group="my group", hook="a.b", timeout=5)
    assert queues.waiting()[0]["kwargs"] == {}


@pytest.mark.parametrize("name", QUEUE_OPTIONS)
def test_an_argument_named_like_an_option_of_the_queue_arrives_at_the_task(
    key: str, name: str
) -> None:
    enqueuer_for(jobs.remember)(key, **{name: QUEUE_OPTIONS[name]})
    queues.run_waiting()
    assert jobs.calls == [((key,), {name: QUEUE_OPTIONS[name]})]


def test_all_of_them_arrive_together(key: str) -> None:
    enqueuer_for(jobs.remember)(key, 1, **QUEUE_OPTIONS)
    queues.run_waiting()
    assert jobs.calls == [((key, 1), QUEUE_OPTIONS)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OUR_NAMES)
def test_an_argument_named_like_an_internal_one_arrives_at_the_task(user: Any, name: str) -> None:
    _, key = init_generic_csv_download(jobs.remember, user, "Orders", **{name: OUR_NAMES[name]})
    queues.run_waiting()
    assert jobs.calls == [((key,), {name: OUR_NAMES[name]})]
    assert Download.objects.get(pk=key).errors == ""


@pytest.mark.parametrize(
    "argument", [None, [], {"a": [1]}, ("x",), "ü\x00", 10**30, 1.5, b"\xff", {1, 2}], ids=ascii
)
def test_any_serialisable_value_arrives(key: str, argument: Any) -> None:
    enqueuer_for(jobs.remember)(key, argument, named=argument)
    queues.run_waiting()
    assert jobs.calls == [((key, argument), {"named": argument})]


@pytest.mark.django_db
def test_an_unserialisable_value_is_an_error_at_once() -> None:
    with pytest.raises(Exception, match=r"pickle|local object"):
        enqueuer_for(jobs.remember)("key", no_module_level())
    assert queues.waiting() == []


# Ends


@pytest.mark.django_db(transaction=True)
def test_a_failure_of_a_task_is_recorded_and_raised_for_the_queue(user: Any) -> None:
    _, key = init_generic_csv_download(jobs.fail, user, "Orders")
    (done,) = queues.run_waiting()
    assert not done["success"]
    download = Download.objects.get(pk=key)
    assert download.failed
    assert "secret" not in download.errors
    assert "LookupError" in download.error_detail


@pytest.mark.django_db(transaction=True)
def test_a_task_that_succeeds_leaves_a_complete_download(user: Any) -> None:
    _, key = init_generic_csv_download(jobs.export, user, "Orders", [1, "Ada"])
    queues.run_waiting()
    download = Download.objects.get(pk=key)
    assert download.complete
    with storage.storage().open(download.filepath) as stored:
        assert stored.read() == b"id,name\n1,Ada\n"


@pytest.mark.django_db(transaction=True)
def test_a_long_path_does_not_break_the_queue(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The group is a column of 100 characters; some databases refuse a longer one.
    name = "x" * 150
    monkeypatch.setattr(jobs, name, jobs.remember, raising=False)
    try:
        init_generic_csv_download(f"tests.jobs.{name}", user, "Orders")
    except IntegrityError:
        pytest.fail("the group is too long for its column")
    assert len(queues.waiting()[0]["group"]) <= 100
