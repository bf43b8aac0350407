"""A download is created with its call, which can be made again."""

import functools
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.db import transaction
from django.utils.module_loading import import_string

from async_downloads import cache
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.executors import dotted_path, starting
from async_downloads.executors.threads import thread_task
from async_downloads.models import Call, Download
from async_downloads.shortcuts import enqueue_download
from async_downloads.store import RequestedFile
from tests import jobs, queues
from tests.attempts import stall_all
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

NOT_QUEUED = "The download could not be queued. Please request it again later."


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    yield from jobs.forget()


def start(task: Any, user: Any, *args: Any, join: bool = False, **kwargs: Any) -> Download:
    requested = RequestedFile.of(user, "orders.csv", "Orders")
    starting.start(task, requested, args, kwargs, join=join)
    return Download.objects.latest("timestamp")


class TestRecording:
    def test_the_row_has_the_call(self, user: Any) -> None:
        download = start(jobs.remember, user, [1, "ä"], since="2026")
        assert download.call == Call("tests.jobs.remember", [[1, "ä"]], {"since": "2026"})
        assert download.times_queued == 1

    @pytest.mark.parametrize("value", [date(2026, 1, 31), (1, 2), {1: "a"}], ids=str)
    def test_a_task_with_other_arguments_runs_and_is_not_recorded(
        self, user: Any, value: Any
    ) -> None:
        download = start(jobs.remember, user, value)
        assert (download.call, download.times_queued, download.retryable) == (None, 0, False)
        queues.run_waiting()
        assert jobs.calls == [((download.download_key, value), {})]

    @pytest.mark.parametrize(
        "task", [jobs.Backend(), jobs.celery_remember.s], ids=["object", "signature"]
    )
    def test_a_task_without_a_path_of_its_own_has_none(self, task: Any) -> None:
        assert dotted_path(task) == ""

    def test_an_object_of_a_site_runs_and_is_not_recorded(self, user: Any) -> None:
        download = start(jobs.Backend(), user)
        assert download.call is None
        assert jobs.Backend.enqueued == [((download.download_key,), {})]

    def test_a_thread_task_that_is_not_in_its_module_is_not_recorded(self) -> None:
        # A later process would find the plain function under that path.
        assert dotted_path(thread_task(jobs.export)) == ""
        assert dotted_path(jobs.in_thread) == "tests.jobs.in_thread"

    def test_with_arguments_that_the_queue_refuses_nothing_is_written(self, user: Any) -> None:
        with pytest.raises(Exception, match=r"lambda|pickle"):
            start(jobs.export, user, lambda: None)
        assert not Download.objects.exists()

    @pytest.mark.parametrize("task", [5, functools.partial(jobs.export), jobs.generator])
    def test_with_another_object_than_a_task_nothing_is_written(self, user: Any, task: Any) -> None:
        with pytest.raises(TypeError):
            start(task, user)
        assert not Download.objects.exists()


class TestJoining:
    def test_a_joined_download_is_not_queued_again(self, user: Any) -> None:
        first = start(jobs.export, user, [1], join=True)
        assert start("tests.jobs.export", user, [1], join=True) == first
        assert len(queues.waiting()) == 1

    def test_without_join_it_is_built_twice(self, user: Any) -> None:
        assert start(jobs.export, user) != start(jobs.export, user)
        assert len(queues.waiting()) == 2

    def test_a_call_that_cannot_be_recorded_joins_nothing(self, user: Any) -> None:
        first = start(jobs.remember, user, (1, 2), join=True)
        assert start(jobs.remember, user, (1, 2), join=True) != first


class TestRepeating:
    def test_it_is_a_new_row_with_the_same_call_and_names(self, user: Any) -> None:
        download = start(jobs.export, user, [1])
        queues.run_waiting()
        download.refresh_from_db()
        assert download.repeatable
        repeated = starting.repeat(download)
        assert repeated is not None
        assert repeated.pk != download.pk
        names = ("name", "filename", "task", "arguments", "collection_id")
        for name in names:
            assert getattr(repeated, name) == getattr(download, name)
        queues.run_waiting()
        assert [row.state for row in Download.objects.all()] == ["complete", "complete"]

    def test_without_a_call_there_is_none(self) -> None:
        download = DownloadFactory(complete=True)
        assert not download.repeatable
        assert starting.repeat(download) is None

    def test_a_task_that_no_longer_exists_raises_and_writes_nothing(self) -> None:
        download = DownloadFactory(complete=True, recorded=True, task="tests.jobs.removed")
        with pytest.raises(ImportError):
            starting.repeat(download)
        assert Download.objects.count() == 1

    def test_the_limit_of_the_owner_counts(self, user: Any, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
        download = DownloadFactory(complete=True, recorded=True, collection__user=user)
        DownloadFactory(collection=download.collection)
        with pytest.raises(TooManyDownloadsError):
            starting.repeat(download)


#: How each kind of queue is named by a recorded path.
PATHS = ["tests.jobs.remember", "tests.jobs.celery_remember"]

if project_settings.TASKS_PACKAGE:
    PATHS.append(f"{__name__}.in_django")

    @import_string(f"{project_settings.TASKS_PACKAGE}.task")
    def in_django(*args: Any, **kwargs: Any) -> None:
        jobs.calls.append((args, kwargs))


class TestQueueingAgain:
    @pytest.mark.parametrize("path", PATHS)
    def test_the_recorded_path_leads_to_its_own_queue(self, path: str) -> None:
        assert dotted_path(import_string(path)) == path
        download = DownloadFactory(task=path, arguments='[[1], {"since": "2026"}]')
        with jobs.eager_celery():
            starting.queue_again(download)
        queues.run_waiting()
        assert jobs.calls == [((download.download_key, 1), {"since": "2026"})]

    def test_a_thread_task_runs_in_this_process(self) -> None:
        download = DownloadFactory(recorded=True, task="tests.jobs.in_thread")
        starting.queue_again(download)
        for thread in jobs.running_threads(download.download_key):
            thread.join()
        download.refresh_from_db()
        assert download.complete

    def test_without_a_call_nothing_is_queued(self) -> None:
        starting.queue_again(DownloadFactory())
        assert queues.waiting() == []

    @pytest.mark.parametrize("path", ["tests.jobs.celery_remember_dead", "tests.jobs.removed"])
    @pytest.mark.parametrize(("rescue", "state"), [(True, "pending"), (False, "failed")])
    def test_if_it_cannot_be_queued_a_rescue_tries_again_or_it_fails(
        self, settings: Any, path: str, rescue: bool, state: str
    ) -> None:
        settings.ASYNC_DOWNLOADS_RESCUE = rescue
        download = DownloadFactory(recorded=True, task=path)
        starting.queue_again(download)
        download.refresh_from_db()
        assert (download.state, download.errors) == (state, "" if rescue else NOT_QUEUED)

    def test_a_failure_in_an_eager_queue_is_recorded(self) -> None:
        download = DownloadFactory(recorded=True, task="tests.jobs.celery_fail")
        with jobs.eager_celery():
            starting.queue_again(download)
        download.refresh_from_db()
        assert download.failed
        assert "LookupError" in download.error_detail


def test_a_call_is_recorded_with_its_row_or_not_at_all(user: Any) -> None:
    with transaction.atomic():
        start(jobs.export, user, [1])
        transaction.set_rollback(True)
    assert not Download.objects.exists()
    assert queues.waiting() == []


def test_a_task_that_was_passed_to_enqueue_download_is_recorded_too(user: Any) -> None:
    _, key = cache.init_download(user, "orders.csv")
    enqueue_download(jobs.export, key, [1])
    download = Download.objects.get(pk=key)
    assert (download.call, download.times_queued) == (Call("tests.jobs.export", [[1]], {}), 1)
    stall_all()
    assert Download.objects.get(pk=key).rescuable
