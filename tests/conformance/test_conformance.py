"""The conformance suite with real workers of each executor; it prints a table at the end."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings

from async_downloads.testing.conformance import ExecutorConformance, Worker
from tests import services
from tests.conformance import workers

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Path:
    """Return the folder for the logs of the workers, once their database exists."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(autouse=True)
def same_as_in_the_workers(settings: Any, shared_cache: str) -> None:
    settings.ASYNC_DOWNLOADS_STALLED_AFTER = workers.STALLED_AFTER


@pytest.fixture(scope="class")
def worker(request: pytest.FixtureRequest, folder: Path) -> Iterator[Worker]:
    """Start a worker for all cases of a class."""
    with request.cls.run(folder) as worker:
        yield worker


class TestThreads(ExecutorConformance):
    executor_name = "threads"
    run = staticmethod(workers.threads)


class TestDjangoQ(ExecutorConformance):
    executor_name = "django-q2 on the ORM broker"
    run = staticmethod(workers.django_q)


@pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")
@pytest.mark.skipif(not services.available("redis"), reason="no Redis answers")
class TestCelery(ExecutorConformance):
    executor_name = "Celery on Redis"
    run = staticmethod(workers.celery)


@pytest.mark.skipif(
    "django_tasks_db" not in project_settings.INSTALLED_APPS,
    reason="django-tasks-db is not installed, or Django has no tasks and no backport of them",
)
class TestOwnTasks(ExecutorConformance):
    executor_name = f"{project_settings.TASKS_PACKAGE or 'django.tasks'} on django-tasks-db"
    run = staticmethod(workers.own_tasks)
