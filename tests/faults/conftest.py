"""Fixtures of the fault tests. A test is skipped if the machine lacks a part that it needs."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.database_servers import SERVERS, DatabaseServer
from tests.faults.databases import Database
from tests.faults.followed import Readers
from tests.faults.harness import NewSite, RedisServer, Site, missing

if TYPE_CHECKING:
    from tests.faults.running import Running


def needs(*names: str) -> None:
    """Skip the test, with the reasons, if this machine lacks any of these parts."""
    reasons = [reason for name in names if (reason := missing(name))]
    if reasons:
        pytest.skip("; ".join(reasons))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Add rows, files and logs of its sites to the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        for site in Site.open:
            report.sections.append((f"site {site.name}", site.diagnostics()))
    return report


@pytest.fixture(scope="session", autouse=True)
def templates() -> Iterator[None]:
    """Remove the template databases at the end."""
    yield
    Site.close_templates()


@pytest.fixture
def new_site() -> Iterator[NewSite]:
    """Return a function that makes sites, which are removed after the test."""
    with ExitStack() as stack:

        def make(database: str | type[Database] = "sqlite", **options: Any) -> Site:
            uses_redis = "redis" in (options.get("cache"), options.get("broker"))
            named = [database] if isinstance(database, str) else []
            needs("proc", *named, *(["redis"] if uses_redis else []))
            return stack.enter_context(Site(database, **options))

        yield make


@pytest.fixture(scope="session")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Readers:
    """Readers of the documentation, for all processes of the tests."""
    needs("proc")
    folder = tmp_path_factory.getbasetemp()
    # Below the folder of the whole run, each process of pytest-xdist has one of its own.
    return Readers(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A private Redis that the test may stop, fill and kill."""
    needs("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def database_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A private PostgreSQL or MariaDB that tests may kill, and have to start again."""
    if reason := SERVERS[request.param].missing():
        pytest.skip(reason)
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def running(module_running: "Running") -> "Running":
    """The site that the tests of a module share, without the flags of earlier tests."""
    module_running.site.reset_steering()
    return module_running


@pytest.fixture
def key(running: "Running") -> str:
    """The key of a pending download of that site."""
    return running.init()
