"""The tools for the tests of a site: ``run_download``, and the conformance suite."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.utils.module_loading import import_string

from async_downloads import testing
from async_downloads.executors.threads import thread_task
from async_downloads.models import Download
from async_downloads.testing import conformance
from async_downloads.testing.conformance import ExecutorConformance, Worker
from async_downloads.testing.performing import BEHAVIOURS, perform
from async_downloads.testing.running import RunDownload
from tests import jobs, queues

pytestmark = pytest.mark.any_database


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    yield from jobs.forget()


def django_task(function: Callable[..., object]) -> Any:
    if not project_settings.TASKS_PACKAGE:
        pytest.skip("Django has no tasks, and django-tasks is not installed")
    return import_string(f"{project_settings.TASKS_PACKAGE}.task")(function)


KINDS: dict[str, Callable[[Callable[..., object]], Any]] = {
    "function": lambda function: function,
    "path": lambda function: f"{function.__module__}.{function.__qualname__}",
    "celery": lambda function: jobs.celery_app.task(function),
    "celery without a broker": lambda function: jobs.dead_celery_app.task(function),
    "django": django_task,
    "thread": thread_task,
}


@pytest.fixture(params=KINDS)
def task_of(request: pytest.FixtureRequest) -> Callable[[Callable[..., object]], Any]:
    """Make a task of each kind from a function."""
    return KINDS[request.param]


# run_download


def test_a_task_of_any_kind_is_run_and_nothing_is_queued(
    run_download: RunDownload, task_of: Any
) -> None:
    finished = run_download(task_of(jobs.decorated), filename="rows.csv")
    assert (finished.state, finished.raised, finished.errors) == ("complete", None, "")
    assert finished.content == b"row\n"
    assert finished.text == "row\n"
    assert finished.rows == [["row"]]
    assert finished.download.filename == "rows.csv"
    assert queues.waiting() == []


def test_the_arguments_arrive_and_the_owner_sees_the_error(
    run_download: RunDownload, task_of: Any, user: Any
) -> None:
    finished = run_download(task_of(jobs.remember), 1, "ä", user=user, period=[2026])
    key = finished.download.download_key
    assert jobs.calls == [((key, 1, "ä"), {"period": [2026]})]
    assert finished.download.collection.user == user


@pytest.mark.parametrize("kind", ["function", "path", "thread"])
def test_a_failure_has_a_text_for_the_owner_staff_and_the_queue(
    run_download: RunDownload, kind: str
) -> None:
    finished = run_download(KINDS[kind](jobs.fail))
    assert finished.state == "failed"
    assert "secret" not in finished.errors
    assert "LookupError" in finished.error_detail
    assert "LookupError" in str(finished.raised)


@pytest.mark.parametrize("kind", ["celery", "django"])
def test_a_failure_outside_download_task_is_seen_by_the_queue_alone(
    run_download: RunDownload, kind: str
) -> None:
    finished = run_download(KINDS[kind](jobs.fail))
    assert (finished.state, finished.errors) == ("pending", "")
    assert "LookupError" in str(finished.raised)


def test_files_are_removed_with_their_rows(transactional_db: None) -> None:
    runner = RunDownload()
    folders = [Path(runner(jobs.decorated).download.filepath).parent for _ in range(2)]
    there = [Path(project_settings.MEDIA_ROOT) / folder for folder in folders]
    assert all(folder.exists() for folder in there)
    runner.remove_files()
    assert not any(folder.exists() for folder in there)


def test_a_refusal_is_a_success_for_the_queue(run_download: RunDownload) -> None:
    finished = run_download(jobs.fail_for_people)
    assert (finished.state, finished.errors) == ("failed", "Choose a shorter period.")
    assert finished.raised is None


def test_a_failed_download_has_a_reason_instead_of_content(run_download: RunDownload) -> None:
    finished = run_download(jobs.fail)
    with pytest.raises(AssertionError, match=r"(?s)not complete but failed.*LookupError"):
        _ = finished.content


def test_arguments_that_a_queue_cannot_carry_are_an_error(run_download: RunDownload) -> None:
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local object"):
        run_download(jobs.remember, lambda: None)
    with pytest.raises(Exception, match="serializable"):
        run_download(jobs.celery_remember, object())
    with pytest.raises(TypeError, match=r"Unsupported|serializable"):
        run_download(django_task(jobs.remember), object())


def test_the_settings_of_celery_are_restored(run_download: RunDownload) -> None:
    run_download(jobs.celery_remember)
    assert not jobs.celery_app.conf.task_always_eager


@pytest.mark.parametrize(
    "task", [jobs.Backend(), 5, jobs.generator], ids=["a stranger", "5", "generator"]
)
def test_another_object_than_a_task_is_an_error_before_anything_is_written(
    run_download: RunDownload, task: Any
) -> None:
    with pytest.raises(TypeError):
        run_download(task)
    assert not Download.objects.exists()


# The suite

#: Functions that make a worker that breaks a rule.
Breaking = Callable[[Callable[..., object]], Any]


def forgetful(function: Callable[..., object]) -> Any:
    return thread_task(lambda key, what, folder, *args, **kwargs: function(key, what, folder))


def unsupervised(function: Callable[..., object]) -> Any:
    return SimpleNamespace(enqueue=lambda *args, **kwargs: _swallowing(function, *args, **kwargs))


def lazy(function: Callable[..., object]) -> Any:
    return SimpleNamespace(enqueue=lambda *args, **kwargs: None)


def repeating(function: Callable[..., object]) -> Any:
    def twice(key: str, *args: Any, **kwargs: Any) -> None:
        _swallowing(function, key, *args, **kwargs)
        Download.objects.filter(pk=key).update(state="pending")
        _swallowing(function, key, *args, **kwargs)

    return SimpleNamespace(enqueue=twice)


def _swallowing(function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    try:
        function(*args, **kwargs)
    except BaseException:
        return


BROKEN: dict[str, tuple[Breaking, str]] = {
    "a worker that is not there": (lazy, "test_the_file_is_whole"),
    "arguments that are lost": (forgetful, "test_arguments_arrive"),
    "a failure without a record": (unsupervised, "test_a_failure_is_recorded"),
    "a refusal without a record": (
        unsupervised,
        "test_a_refusal_is_shown_to_the_owner",
    ),
    "no file, without a failure": (unsupervised, "test_no_file_is_a_failure"),
    "an exit without a record": (unsupervised, "test_an_exit_does_not_end_the_worker"),
    "a task that is run twice": (repeating, "test_the_file_is_whole"),
}


@pytest.mark.parametrize(("breaking", "case"), BROKEN.values(), ids=BROKEN)
@pytest.mark.django_db(transaction=True)
def test_the_suite_fails_for_an_executor_that_breaks_a_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, breaking: Breaking, case: str
) -> None:
    monkeypatch.setattr(conformance, "TIMEOUT", 0.5)
    suite = ExecutorConformance()
    suite.worker = Worker(breaking(perform))
    suite.notes = conformance.Notes(str(tmp_path))
    suite.task = conformance._Observed(suite.worker.task)
    with pytest.raises(AssertionError):
        getattr(suite, case)()


@pytest.mark.django_db(transaction=True)
def test_the_suite_fails_for_a_queue_that_takes_a_refusal_for_a_failure(tmp_path: Path) -> None:
    suite = ExecutorConformance()
    suite.worker = Worker(thread_task(perform), endings=lambda key: [False])
    suite.notes = conformance.Notes(str(tmp_path))
    suite.task = conformance._Observed(suite.worker.task)
    with pytest.raises(AssertionError):
        suite.test_a_refusal_is_shown_to_the_owner()


def test_the_table_has_a_column_for_each_executor_and_a_line_for_each_case() -> None:
    lines: list[str] = []

    def report(executor: str, line: int, case: str) -> Any:
        return SimpleNamespace(user_properties=[(testing.PROPERTY, [executor, line, case])])

    reports = {
        "passed": [report("ours", 1, "one"), report("theirs", 1, "one"), report("ours", 2, "two")],
        "error": [report("ours", 2, "two")],
        "skipped": [report("theirs", 2, "two")],
    }
    reporter = SimpleNamespace(
        getreports=lambda outcome: reports.get(outcome, []),
        section=lambda title, mark: lines.append(title),
        write_line=lines.append,
    )
    testing.pytest_terminal_summary(reporter)
    assert [line.split() for line in lines[1:]] == [
        ["ours", "theirs"],
        ["one", "ok", "ok"],
        ["two", "FAILED", "skipped"],
    ]


def test_the_suite_has_each_behaviour_that_it_uses() -> None:
    source = Path(conformance.__file__).read_text()
    assert [name for name in BEHAVIOURS if f'"{name}"' not in source] == []
