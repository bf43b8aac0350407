"""Fixtures of the fault tests; what the machine lacks skips a test by name."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.database_servers import SERVERS, DatabaseServer
from tests.faults.databases import Database
from tests.faults.harness import NewSite, RedisServer, Site, missing

if TYPE_CHECKING:
    from tests.faults.running import Running


def needs(*names: str) -> None:
    """Skip the test if this machine lacks something, and say what."""
    lacking = [reason for name in names if (reason := missing(name))]
    if lacking:
        pytest.skip("; ".join(lacking))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Add to the report of a failed test what its sites have to tell."""
    report = yield
    if report.when == "call" and report.failed:
        for site in Site.open:
            report.sections.append((f"site {site.name}", site.account()))
    return report


@pytest.fixture(scope="session", autouse=True)
def templates() -> Iterator[None]:
    """Remove at the end what the databases of the sites were copied from."""
    yield
    Site.close_templates()


@pytest.fixture
def new_site() -> Iterator[NewSite]:
    """Make sites, as many as a test likes."""
    with ExitStack() as stack:

        def make(database: str | type[Database] = "sqlite", **options: Any) -> Site:
            uses_redis = "redis" in (options.get("cache"), options.get("broker"))
            named = [database] if isinstance(database, str) else []
            needs("proc", *named, *(["redis"] if uses_redis else []))
            return stack.enter_context(Site(database, **options))

        yield make


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis to be stopped, filled and killed."""
    needs("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def database_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """Run a PostgreSQL and a MariaDB to be stopped and killed; a test leaves it running."""
    if reason := SERVERS[request.param].missing():
        pytest.skip(reason)
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def running(module_running: "Running") -> "Running":
    """The site that a module shares, with nothing left that would steer this test."""
    for path in module_running.site.steering.iterdir():
        path.unlink()
    return module_running


@pytest.fixture
def key(running: "Running") -> str:
    """A download of that site that waits for its task."""
    return running.init()
