"""Queues that run a task at once, and arguments that a queue cannot carry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import celery
import pytest
from django.conf import settings as project_settings
from django.db import transaction
from django.utils.module_loading import import_string
from django_q.conf import Conf

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.executors import check_arguments
from async_downloads.models import Download
from async_downloads.shortcuts import (
    download_task,
    enqueue_download,
    init_generic_csv_download,
)
from tests import jobs
from tests.factories import UserFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

app = celery.Celery("eager", broker="memory://", set_as_current=False)
app.conf.task_always_eager = True


def fail(download_key: str) -> None:
    """Fail before anything is saved."""
    raise LookupError("no such table")


def bound_fail(self: Any, download_key: str) -> None:
    """Fail before anything is saved, as a bound task."""
    fail(download_key)


def fail_for_people(download_key: str) -> None:
    """Fail with a text for the owner."""
    raise DownloadError("Choose a shorter period.")


def save_and_fail(download_key: str) -> None:
    """Fail after the file is complete."""
    cache.save_download(download_key, [["row"]])
    raise LookupError("no such table")


supervised_fail = download_task(fail)
supervised_fail.__qualname__ = supervised_fail.__name__ = "supervised_fail"

celery_fail = app.task(fail, name="fail")
celery_fail_for_people = app.task(fail_for_people, name="fail_for_people")
celery_supervised_fail = app.task(supervised_fail, name="supervised_fail")
celery_bound_fail = app.task(bound_fail, name="bound_fail", bind=True)
celery_save_and_fail = app.task(save_and_fail, name="save_and_fail")


def django_task(function: Callable[..., None]) -> Any:
    """Return a Django task whose backend runs it at once."""
    if not getattr(project_settings, "TASKS_PACKAGE", ""):
        pytest.skip("there are no tasks of Django's")
    return import_string(f"{project_settings.TASKS_PACKAGE}.task")(function)


@contextmanager
def propagating(propagates: bool) -> Iterator[None]:
    app.conf.task_eager_propagates = propagates
    try:
        yield
    finally:
        app.conf.task_eager_propagates = False


@pytest.fixture(params=["in a transaction", "at once"])
def around(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """The transactions around the view."""
    return transaction.atomic if request.param == "in a transaction" else nullcontext


@pytest.mark.parametrize("propagates", [False, True], ids=["quiet", "propagates"])
@pytest.mark.parametrize(
    "task",
    [celery_fail, celery_supervised_fail, celery_bound_fail],
    ids=["bare", "supervised", "bound"],
)
def test_staff_see_the_error_of_an_eager_celery_task(
    user: Any, around: Callable[[], Any], task: Any, propagates: bool
) -> None:
    with propagating(propagates), around():
        init_generic_csv_download(task, user, "Orders")
    assert_is_the_tasks_own(Download.objects.get())


def test_the_owner_sees_the_download_error_of_an_eager_queue(
    user: Any, around: Callable[[], Any]
) -> None:
    for propagates in (False, True):
        with propagating(propagates), around():
            _, key = init_generic_csv_download(celery_fail_for_people, user, "Orders")
        assert Download.objects.get(pk=key).errors == "Choose a shorter period."


def test_a_complete_download_stays_complete(user: Any, around: Callable[[], Any]) -> None:
    for propagates in (False, True):
        with propagating(propagates), around():
            _, key = init_generic_csv_download(celery_save_and_fail, user, "Orders")
        assert Download.objects.get(pk=key).complete


@pytest.mark.parametrize("name", ["fail", "supervised_fail"])
def test_staff_see_the_error_of_django_q_in_sync_mode(
    user: Any, around: Callable[[], Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "SYNC", True)
    with around():
        init_generic_csv_download(f"{__name__}.{name}", user, "Orders")
    assert_is_the_tasks_own(Download.objects.get())


@pytest.mark.parametrize("function", [fail, supervised_fail], ids=["bare", "supervised"])
def test_staff_see_the_error_of_the_immediate_backend(
    user: Any, around: Callable[[], Any], function: Callable[[str], None]
) -> None:
    task = django_task(function)
    with around():
        init_generic_csv_download(task, user, "Orders")
    assert_is_the_tasks_own(Download.objects.get())


def assert_is_the_tasks_own(download: Download) -> None:
    assert download.failed
    assert (
        download.errors == "Something went wrong while creating the file. Please request it again."
    )
    assert "LookupError: no such table" in download.error_detail
    assert "in fail" in download.error_detail


# Arguments that a queue cannot carry


def unserialisable(queue: str) -> tuple[Any, Any]:
    """Return a task, and an argument that its queue cannot carry."""
    if queue == "django-q2":
        return "tests.jobs.remember", lambda: None
    if queue == "celery":
        return jobs.celery_remember, UserFactory()
    if queue == "celery, by path":
        return "tests.jobs.celery_remember", UserFactory()
    if queue == "celery, eager":
        return app.task(jobs.remember, name="anything"), UserFactory()
    if queue == "celery, signature":
        return celery_fail, "one argument too many"
    return django_task(jobs.remember), UserFactory()


QUEUES = [
    *("django-q2", "celery", "celery, by path", "celery, eager", "celery, signature"),
    "django's tasks",
]


@pytest.mark.parametrize("queue", QUEUES)
def test_invalid_arguments_are_an_error_in_the_view_before_anything_is_written(
    user: Any, around: Callable[[], Any], queue: str
) -> None:
    task, argument = unserialisable(queue)
    with pytest.raises(Exception, match=r"(?i)serial|pickle|json|type|argument"), around():
        init_generic_csv_download(task, user, "Orders", argument)
    assert not Download.objects.exists()


@pytest.mark.parametrize("queue", QUEUES)
def test_an_existing_record_is_failed_with_the_traceback(user: Any, queue: str) -> None:
    task, argument = unserialisable(queue)
    _, key = cache.init_download(user, "report.csv")
    with pytest.raises(Exception, match=r"(?i)serial|pickle|json|type|argument"):
        enqueue_download(task, key, argument)
    download = Download.objects.get()
    assert download.failed
    assert (
        download.errors == "Something went wrong while creating the file. Please request it again."
    )
    assert download.error_detail.startswith("Traceback")
    assert "check_arguments" in download.error_detail


def test_a_sites_own_queue_raises_in_the_view(user: Any) -> None:
    class Queue:
        def delay(self, *args: Any) -> None:
            raise TypeError("Object of type User is not JSON serializable")

    with pytest.raises(TypeError, match="not JSON"):
        init_generic_csv_download(Queue(), user, "Orders", user)
    download = Download.objects.get()
    assert download.failed
    assert "not JSON serializable" in download.error_detail


@pytest.mark.parametrize("argument", [1, "text", [1, {"a": None}], 1.5], ids=str)
def test_valid_arguments_pass(argument: Any) -> None:
    tasks = ("tests.jobs.remember", jobs.celery_remember, jobs.Backend(), jobs.in_thread)
    for task in (*tasks, django_task(jobs.remember)):
        check_arguments(task, ("key", argument), {"named": argument})


def test_threads_carry_anything(user: Any) -> None:
    check_arguments(jobs.in_thread, ("key", user), {"named": lambda: None})
