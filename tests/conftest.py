"""Fixtures and hooks for all tests."""

import gc
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as project_settings
from django.contrib import admin
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.db import connections
from django.test import Client, modify_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from async_downloads.building import progress
from async_downloads.formats import rows as format_rows
from async_downloads.store import (
    attempt,
    cache_entries,
    claiming,
    listing,
    queue_position,
    removal,
    rescue,
)
from tests import flushing, pace, services
from tests.factories import UserFactory

pytest_plugins = ["async_downloads.testing"]

#: The kinds of cache that the package must work with.
CACHES = ("default", "dummy", "database", "file", "redis")

NEEDS = {"redis": "redis"}

#: The modules whose tests take longest. What the first one makes, others wait for.
LONGEST = ("tests/faults/test_tutorial.py", "tests/faults/test_rescues.py")

#: Parts that the tests of a module share.
SHARED_PARTS = re.compile(r'scope="module"|\bdatabase_server\b')

#: Folders whose tests all take long.
LONG = ("tests/browser/", "tests/faults/")


def pytest_configure(config: pytest.Config) -> None:
    """Require the services, and allow the ORM beside the event loop of Playwright."""
    missing = sorted(name for name in services.required() if not services.available(name))
    if missing:
        pytest.exit(f"These services are required and do not answer: {', '.join(missing)}", 3)
    # Playwright's synchronous API keeps an event loop in the thread of the tests.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    # On a busy machine, the examples of Hypothesis take as long as they take.
    unhurried = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    hypothesis_settings.register_profile("unhurried", **unhurried)
    hypothesis_settings.load_profile("unhurried")


#: The fixtures that give a test a database.
DATABASE_FIXTURES = frozenset(("db", "transactional_db", "django_db_setup"))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests without a database, and those in folders of long tests."""
    fixtures = DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    if not fixtures and item.get_closest_marker("django_db") is None:
        item.add_marker("any_database")
    if item.nodeid.startswith(LONG):
        item.add_marker("long")


#: A mark of all tests of a module, in one line.
EACH_TEST_ANY_DATABASE = re.compile(r"^pytestmark = .*\bany_database\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip modules of which ``-m`` chooses nothing, as importing them takes long."""
    if not collection_path.name.startswith("test_") or collection_path.is_dir():
        return None
    marks = config.option.markexpr
    if marks == "long" and not _only_long(collection_path, config):
        return "mark.long" not in collection_path.read_text() or None
    if "not any_database" in marks:
        return bool(EACH_TEST_ANY_DATABASE.search(collection_path.read_text())) or None
    return None


def _only_long(path: Path, config: pytest.Config) -> bool:
    return any(path.is_relative_to(config.rootpath / folder) for folder in LONG)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without garbage collection, which would visit thousands of new tests over and over.

    They stay until the end, so it never visits them later either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long tests first, so that no process is left alone with one at the end."""

    def order(item: pytest.Item) -> tuple[bool, bool, bool]:
        one_by_one = runs_alone(item.nodeid, item.config)
        short = item.get_closest_marker("long") is None
        return not item.nodeid.startswith(LONGEST), short, one_by_one

    items.sort(key=order)


def runs_alone(nodeid: str, config: pytest.Config) -> bool:
    """Return whether a fault test may run in another process than the others of its module."""
    path = nodeid.partition("::")[0]
    return path.startswith("tests/faults/") and not _shares_parts(config.rootpath / path)


@cache
def _shares_parts(path: Path) -> bool:
    return SHARED_PARTS.search(path.read_text()) is not None


class FaultTestsAlone(LoadScopeScheduling):
    """Assigns modules to processes; fault tests one by one, so that none is left with many."""

    def _split_scope(self, nodeid: str) -> str:
        alone = runs_alone(nodeid, self.config)
        return nodeid if alone else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Assign fault tests one by one."""
    return FaultTestsAlone(config, log) if config.option.dist == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in logs, which cannot be sent to another process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_report_header(config: pytest.Config) -> str:
    """Return the databases and the services of this run."""
    answers = [name for name in services.SERVICES if services.available(name)]
    # ``nox -s tests`` names the processes after their databases.
    named = re.findall(r"//id=(\w+)", " ".join(config.getoption("tx", None) or ()))
    engine = project_settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    return f"database: {', '.join(named) or engine}; services: {', '.join(answers) or 'nothing'}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Create the table of the database cache too, and flush quickly."""
    with django_db_blocker.unblock():
        call_command("createcachetable", verbosity=0)
        initial = flushing.contents()
    with flushing.replaced(initial):
        yield


@pytest.fixture(autouse=True)
def clean_slate(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty every cache and the storage."""
    fixtures = {"db", "transactional_db"} & set(request.fixturenames)
    if not fixtures and request.node.get_closest_marker("django_db") is None:
        # Closing a response uses the open connections, so a test without a database must not find
        # one of an earlier test.
        connections.close_all()
    cache_entries._breakers.clear()
    progress._steps.clear()
    queue_position.forget()
    listing._last_lists.clear()
    for alias in ("default", "file"):
        caches[alias].clear()
    shutil.rmtree(project_settings.MEDIA_ROOT, ignore_errors=True)
    yield
    cache_entries._breakers.clear()


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give "Clear finished" and rescues time for everything, however busy the machine is."""
    monkeypatch.setattr(removal, "CLEAR_SECONDS", pace.LONGEST_WAIT)
    monkeypatch.setattr(rescue, "LOOK_SECONDS", pace.LONGEST_WAIT)


@pytest.fixture(
    params=[
        # One that is in the database, and one that processes share, are enough for each database.
        name
        if name in {"database", "redis"}
        else pytest.param(name, marks=pytest.mark.any_database)
        for name in CACHES
    ]
)
def any_cache(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """Run the test with each kind of cache in turn."""
    name: str = request.param
    if name in NEEDS and not services.available(NEEDS[name]):
        pytest.skip(f"{NEEDS[name]} does not answer at {services.redis_url()}")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = name
    yield name
    if name == "redis":
        # Not clear(), which would flush the whole Redis.
        client = redis.Redis.from_url(services.redis_url())
        prefix = project_settings.CACHES["redis"]["KEY_PREFIX"]
        for key in client.scan_iter(match=f"{prefix}:*"):
            client.delete(key)
        client.close()


@pytest.fixture
def dead_cache(settings: Any) -> str:
    """Use a Redis that does not answer."""
    settings.CACHES = settings.CACHES | {
        "dead": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "dead"
    return "dead"


@pytest.fixture
def shared_cache(settings: Any) -> str:
    """Use a cache that other processes share."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    return "file"


@pytest.fixture
def round_trips(shared_cache: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each call to the cache."""
    calls: list[str] = []
    backend: BaseCache = caches[shared_cache]

    def spy(name: str) -> None:
        real = getattr(backend, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            # A call inside a call (some backends build get_many() from get()) is one trip.
            before = len(calls)
            answer = real(*args, **kwargs)
            del calls[before:]
            return answer

        monkeypatch.setattr(backend, name, call)

    for name in ("get", "get_many", "set", "add", "delete"):
        spy(name)
    return calls


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a heartbeat at every row, and wait only briefly between rows."""
    monkeypatch.setattr(attempt, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(format_rows, "MAX_UNTIMED_ROWS", 1)
    monkeypatch.setattr(claiming, "BLIND_ROW_WAIT_SECONDS", 0.05)


@pytest.fixture
def user(db: None) -> Any:
    """Return a user who has downloads."""
    return UserFactory(username="ada")


@pytest.fixture
def other_user(db: None) -> Any:
    """Return another user."""
    return UserFactory(username="grace")


@pytest.fixture
def staff_user(db: None) -> Any:
    """Return a superuser."""
    return UserFactory(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def signed_in(client: Client, user: Any) -> Client:
    """Return a client that is signed in as ``user``."""
    client.force_login(user)
    return client


#: The property of a test report with the measurements.
MEASURED = "measured"


#: A function that takes a title and lines.
Report = Callable[[str, list[str]], None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Return a function that prints measurements at the end of the run."""
    return lambda title, lines: record_property(MEASURED, "\n".join([title, *lines]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the measurements of all processes."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in getattr(report, "user_properties", ()):
            if name == MEASURED and report.when == "call":
                terminalreporter.section(report.nodeid.rpartition("::")[2], "-")
                terminalreporter.write_line(text)


@pytest.fixture
def sites_app() -> Iterator[None]:
    """Install Django's sites for one test."""
    registered = set(admin.site._registry)
    with modify_settings(INSTALLED_APPS={"append": "django.contrib.sites"}):
        yield
    # The admin registers the models of an app as soon as it is installed, and keeps them.
    admin.site.unregister(set(admin.site._registry) - registered)
