"""The tasks of a worker."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from django.conf import settings as project_settings
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.exceptions import TimeoutException

from async_downloads import cache, tasks
from async_downloads.executors import django_q_schedule
from async_downloads.models import Download
from async_downloads.store.jobs import alone as jobs_alone
from tests import jobs, queues
from tests.attempts import long_ago, stalled
from tests.factories import DownloadFactory

pytestmark = pytest.mark.any_database

CLEANUP = "async_downloads.tasks.cleanup_expired_downloads"
RESCUE = "async_downloads.tasks.rescue_stalled_downloads"


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    yield from jobs.forget()


@pytest.fixture
def download(db: None) -> Download:
    return DownloadFactory()


def now(download: Download) -> Download:
    return Download.objects.get(pk=download.pk)


def stored_files() -> list[str]:
    return [path.name for path in Path(project_settings.MEDIA_ROOT).rglob("*") if path.is_file()]


# run_task


def test_the_task_is_found_by_its_path_and_called_with_everything(download: Download) -> None:
    tasks.run_task("tests.jobs.remember", download.download_key, (1, 2), {"period": "2026"})
    assert jobs.calls == [((download.download_key, 1, 2), {"period": "2026"})]


def test_without_arguments_it_is_called_with_the_key_alone(download: Download) -> None:
    tasks.run_task("tests.jobs.remember", download.download_key)
    assert jobs.calls == [((download.download_key,), {})]


def test_its_result_is_dropped(download: Download) -> None:
    # The queue would have to store it, and may not be able to.
    assert jobs.remember() is not None
    result = tasks.run_task("tests.jobs.remember", download.download_key)  # type: ignore[func-returns-value]
    assert result is None


def test_a_file_that_the_task_saves_is_stored(download: Download) -> None:
    tasks.run_task("tests.jobs.export", download.download_key, ([1, "Ada"],))
    assert now(download).complete


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("tests.jobs.fail", LookupError),
        ("tests.jobs.leave", RuntimeError),
        ("tests.jobs.time_out", TimeoutException),
        ("tests.jobs.async_generator", TypeError),
        ("tests.jobs.generator", TypeError),
        ("tests.jobs.interrupt", KeyboardInterrupt),
        ("tests.jobs.no_such_function", ImportError),
        ("tests.no_such_module.function", ImportError),
        ("tests.jobs.not_callable", TypeError),
    ],
)
def test_a_failure_of_any_kind_is_recorded_and_raised_again(
    download: Download, path: str, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        tasks.run_task(path, download.download_key)
    download = now(download)
    assert download.failed
    assert download.errors != ""
    raised = "SystemExit" if path.endswith("leave") else error.__name__
    assert raised in download.error_detail or "Error" in download.error_detail
    # The owner must not see text that may hold names, hosts and passwords.
    assert "secret" not in download.errors
    assert "tests." not in download.errors


def test_sys_exit_in_a_task_does_not_end_the_worker(download: Download) -> None:
    with pytest.raises(RuntimeError, match=r"sys.exit\(3\)"):
        tasks.run_task("tests.jobs.leave", download.download_key)


def test_a_download_error_is_shown_to_the_owner_and_not_raised(
    download: Download,
) -> None:
    tasks.run_task("tests.jobs.fail_for_people", download.download_key)
    assert now(download).errors == "Choose a shorter period."


def test_a_complete_download_is_not_built_again(db: None) -> None:
    download = DownloadFactory(complete=True)
    tasks.run_task("tests.jobs.fail", download.download_key)
    assert now(download).complete


@pytest.mark.django_db(transaction=True)
def test_a_task_that_passes_its_download_on_leaves_it_waiting() -> None:
    download = DownloadFactory()
    tasks.run_task("tests.jobs.remember", download.download_key)
    download = now(download)
    assert (download.state, download.attempts, download.claim) == ("pending", 0, None)


@pytest.mark.django_db(transaction=True)
def test_each_call_is_an_attempt_and_after_the_limit_the_task_is_not_called() -> None:
    key = DownloadFactory().download_key
    for attempt in (1, 2, 3):
        with pytest.raises(LookupError):
            tasks.run_task("tests.jobs.fail", key)
        assert Download.objects.get().attempts == attempt
    tasks.run_task("tests.jobs.fail", key)
    download = Download.objects.get()
    assert (download.attempts, download.failed) == (3, True)
    assert "LookupError" in download.error_detail


def test_a_cancelled_task_raises_nothing(download: Download) -> None:
    tasks.run_task("tests.jobs.cancel", download.download_key)
    assert now(download).errors == "The task ended without a file. Please request it again."


def test_a_task_whose_download_was_cleared_does_nothing(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.run_task("tests.jobs.export", "0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e")
    assert "does not exist; nothing was written" in caplog.text
    assert stored_files() == []


@pytest.mark.usefixtures("db")
def test_without_a_download_the_task_is_not_called() -> None:
    tasks.run_task("tests.jobs.fail", "no key at all")


# cleanup_expired_downloads


@pytest.mark.django_db(transaction=True)
def test_the_clean_up_deletes_only_expired_downloads() -> None:
    kept = [DownloadFactory(complete=True), DownloadFactory(), DownloadFactory(failed=True)]
    kept.append(DownloadFactory(complete=True, expires_at=None))
    for state in ({"complete": True}, {"failed": True}):
        DownloadFactory(expired=True, **state)
    # Unfinished downloads do not expire.
    kept.append(DownloadFactory(expired=True, heard_at=long_ago()))
    assert len(stored_files()) == 3
    for _ in range(2):
        tasks.cleanup_expired_downloads()
        assert set(Download.objects.all()) == set(kept)
        assert len(stored_files()) == 2


@pytest.mark.django_db
def test_the_clean_up_without_downloads_returns_none() -> None:
    assert tasks.cleanup_expired_downloads() is None  # type: ignore[func-returns-value]


def test_the_clean_up_is_a_plain_function_under_its_documented_path() -> None:
    assert import_string(CLEANUP) is tasks.cleanup_expired_downloads
    assert isinstance(tasks.cleanup_expired_downloads, types.FunctionType)
    assert tasks.cleanup_expired_downloads.__qualname__ == "cleanup_expired_downloads"


@pytest.mark.django_db(transaction=True)
def test_celery_finds_the_clean_up_by_its_dotted_name() -> None:
    app = celery.Celery("site", set_as_current=False)
    app.finalize()
    DownloadFactory(expired=True, complete=True)
    app.tasks[CLEANUP].apply(throw=True)
    assert not Download.objects.exists()
    assert stored_files() == []


def test_a_celery_beat_entry_as_documented_names_a_task_that_exists() -> None:
    app = celery.Celery("site", set_as_current=False)
    app.conf.beat_schedule = {"cleanup": {"task": CLEANUP, "schedule": 60}}
    app.finalize()
    assert app.conf.beat_schedule["cleanup"]["task"] in app.tasks


def test_the_schedule_of_django_q_runs_the_clean_up() -> None:
    assert import_string(django_q_schedule.CLEANUP_PATH) is tasks.cleanup_expired_downloads


# rescue_stalled_downloads


@pytest.mark.django_db(transaction=True)
def test_the_rescue_queues_what_has_stalled_and_logs_the_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "async_downloads")
    rescued, used_up, alive = stalled(), stalled(attempts=3), stalled(heard_at=timezone.now())
    tasks.rescue_stalled_downloads()
    assert [now(row).state for row in (rescued, used_up, alive)] == ["pending", "failed", "running"]
    (queued,) = queues.waiting()
    assert rescued.download_key in queued["args"]
    assert "Queued 1 stalled downloads again" in caplog.text
    assert "Failed 1 downloads whose last attempt has stalled" in caplog.text
    queues.run_waiting()
    assert now(rescued).complete


@pytest.mark.django_db(transaction=True)
def test_two_rescues_at_once_are_one(shared_cache: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "async_downloads")
    download = stalled()
    with jobs_alone("rescue"):
        tasks.rescue_stalled_downloads()
    assert now(download).state == "running"
    assert "Another process is rescuing stalled downloads" in caplog.text


def test_celery_finds_the_rescue_by_its_dotted_name(db: None) -> None:
    app = celery.Celery("site", set_as_current=False)
    app.finalize()
    app.tasks[RESCUE].apply(throw=True)
    assert import_string(RESCUE) is tasks.rescue_stalled_downloads
    assert isinstance(tasks.rescue_stalled_downloads, types.FunctionType)


def test_the_schedule_of_django_q_runs_the_rescue() -> None:
    assert import_string(django_q_schedule.RESCUE_PATH) is tasks.rescue_stalled_downloads


def test_the_list_shows_a_recorded_failure(user: Any) -> None:
    _, key = cache.init_download(user, "a.csv")
    with pytest.raises(LookupError):
        tasks.run_task("tests.jobs.fail", key)
    assert Download.objects.get(pk=key).status_text == "Failed"
