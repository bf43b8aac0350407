"""What every test can use."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as project_settings
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections
from django.test import Client

from async_downloads.building import progress
from async_downloads.store import attempt, cache_entries, claiming, removal
from tests import flushing, pace, services
from tests.factories import UserFactory

pytest_plugins = ["async_downloads.testing"]

#: The kinds of cache that the facade must work with.
CACHES = ("default", "dummy", "database", "file", "redis")

NEEDS = {"redis": "redis"}

#: Where all takes long.
LONG = ("tests/browser/", "tests/faults/")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without what must be there, and let Playwright's loop run beside the ORM."""
    missing = sorted(name for name in services.required() if not services.available(name))
    if missing:
        pytest.exit(f"These services are required and do not answer: {', '.join(missing)}", 3)
    # Playwright's synchronous interface keeps an event loop in the thread of the tests.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


#: What gives a test a database.
DATABASE_FIXTURES = frozenset(("db", "transactional_db", "django_db_setup"))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what uses no database, or lies where all takes long; the rest is marked by hand."""
    fixtures = DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    if not fixtures and item.get_closest_marker("django_db") is None:
        item.add_marker("any_database")
    if item.nodeid.startswith(LONG):
        item.add_marker("long")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send what was logged in a form that any process can be sent: half a character cannot."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_report_header() -> str:
    """Say what this run works with."""
    answers = [name for name in services.SERVICES if services.available(name)]
    engine = project_settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    return f"database: {engine}; there besides: {', '.join(answers) or 'nothing'}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the table of the database cache along with the rest, and flush quickly."""
    with django_db_blocker.unblock():
        call_command("createcachetable", verbosity=0)
        initial = flushing.contents()
    with flushing.replaced(initial):
        yield


@pytest.fixture(autouse=True)
def clean_slate(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty every cache and the storage."""
    asked = {"db", "transactional_db"} & set(request.fixturenames)
    if not asked and request.node.get_closest_marker("django_db") is None:
        # A response that is closed looks after the connections that are open; a test that may
        # not use a database must find none that an earlier one has left.
        connections.close_all()
    cache_entries._breakers.clear()
    progress._steps.clear()
    for alias in ("default", "file"):
        caches[alias].clear()
    shutil.rmtree(project_settings.MEDIA_ROOT, ignore_errors=True)
    yield
    cache_entries._breakers.clear()


@pytest.fixture(autouse=True)
def time_to_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "Clear finished" delete all there is, however busy the machine is."""
    monkeypatch.setattr(removal, "CLEAR_SECONDS", pace.LONGEST_WAIT)


@pytest.fixture(params=CACHES)
def any_cache(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """Run the test with each kind of cache in turn."""
    name: str = request.param
    if name in NEEDS and not services.available(NEEDS[name]):
        pytest.skip(f"{NEEDS[name]} does not answer at {services.redis_url()}")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = name
    yield name
    if name == "redis":
        # Not clear(): it would flush what else is in this Redis.
        client = redis.Redis.from_url(services.redis_url())
        prefix = project_settings.CACHES["redis"]["KEY_PREFIX"]
        for key in client.scan_iter(match=f"{prefix}:*"):
            client.delete(key)
        client.close()


@pytest.fixture
def shared_cache(settings: Any) -> str:
    """Use a cache that other processes see."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    return "file"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat at every row, and wait for no row for long."""
    monkeypatch.setattr(attempt, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(claiming, "BLIND_ROW_WAIT_SECONDS", 0.05)


@pytest.fixture
def user(db: None) -> Any:
    """Somebody who has downloads."""
    return UserFactory(username="ada")


@pytest.fixture
def other_user(db: None) -> Any:
    """Somebody else."""
    return UserFactory(username="grace")


@pytest.fixture
def staff_user(db: None) -> Any:
    """Somebody who may do anything in the admin."""
    return UserFactory(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def signed_in(client: Client, user: Any) -> Client:
    """A client that ``user`` is signed in with."""
    client.force_login(user)
    return client


#: The property of a report that holds what its test has measured.
MEASURED = "measured"


#: Takes a title and lines.
Report = Callable[[str, list[str]], None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Print at the end of the run what a test has measured and does not judge."""
    return lambda title, lines: record_property(MEASURED, "\n".join([title, *lines]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests have measured, also those of other processes."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in getattr(report, "user_properties", ()):
            if name == MEASURED and report.when == "call":
                terminalreporter.section(report.nodeid.rpartition("::")[2], "-")
                terminalreporter.write_line(text)
