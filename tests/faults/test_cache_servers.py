"""A cache server that fails in the middle of an export and of a poll."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.conftest import Report
from tests.faults.harness import Child, NewSite, RedisServer, Server, Site, eventually, missing
from tests.faults.pages import Page

ROWS: Final = 200_000

#: Without them, redis-py waits 5 s for a server that hangs, and before version 8 without end.
TIMEOUTS: Final = {"socket_timeout": 1, "socket_connect_timeout": 1}

#: Exports slowly; reports when a quarter of the rows is written, and at the end the seconds.
EXPORT: Final = f"""
import time
from async_downloads import cache
from tests.faults.site import steering
_, key = cache.init_download("ada", "orders.csv")
steering.append("keys.log", key)

def rows():
    yield ["id", "name"]
    for index in range({ROWS}):
        if not index % 100:
            time.sleep(0.001)
        if index == {ROWS} // 4:
            steering.append("quarter.log", key)
        yield [index, f"name {{index}}"]
        cache.update_percentage(key, {ROWS}, index, resolution=5)

began = time.monotonic()
cache.save_download(key, rows())
steering.append("took.log", str(time.monotonic() - began))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The seconds of one export, and what users noticed of the fault.

    Attributes:
        seconds: The duration of the export.
        page: The page that was open meanwhile.
        delay: Seconds from the end of the export until the page showed it.
        slowest: Seconds of the slowest request of another user.
    """

    seconds: float
    page: Page
    delay: float
    slowest: float

    def line(self, name: str, healthy: float) -> str:
        """Return a line of the table."""
        return (
            f"{name:<12}{self.seconds:>7.2f} s{self.seconds / healthy:>7.2f}"
            f"{len(self.page.polls):>7}{self.page.unchanged:>6}"
            f"{statistics.median(poll.seconds for poll in self.page.polls) * 1000:>9.0f} ms"
            f"{self.page.slowest:>8.2f} s{self.slowest:>9.2f} s{self.delay:>8.1f} s"
        )


DATABASE: Final = "sqlite" if missing("postgres") else "postgres"

TITLE: Final = (
    f"{ROWS:,} rows     export  ratio  polls   204   median   slowest   requests   right after"
)


def export(site: Site, fault: Callable[[], object], repair: Callable[[], object]) -> Measured:
    """Export while a page is open; the fault begins after a quarter of the rows."""
    for name in ("keys.log", "quarter.log", "took.log"):
        site.halt(name)
    with site.server() as server, Page(server.client()) as page, site.start(EXPORT) as child:
        eventually(lambda: site.messages("quarter.log") or not child.alive, why="rows")
        fault()
        try:
            slowest = use_as_another_user(server)
            assert child.wait() == 0, child.log
            ended = time.monotonic()
            (key,) = site.messages("keys.log")
            shown = f'id="download-{key}"'
            eventually(
                lambda: any(
                    shown in line and 'data-state="complete"' in line
                    for line in page.html.splitlines()
                ),
                why="an open page that shows the file",
            )
            delay = time.monotonic() - ended
        finally:
            repair()
        check(site, key, page, server, child)
        return Measured(float(site.messages("took.log")[0]), page, delay, slowest)


def use_as_another_user(server: Server) -> float:
    """Load a page, start an export and clear it; return the seconds of the slowest request."""
    person, seconds = server.client("grace"), []
    for request in (
        lambda: person.get("/"),
        lambda: person.post("/start/rows/"),
        lambda: person.clear(next(iter(person.shown()))),
    ):
        began = time.monotonic()
        assert request().status == 200
        seconds.append(time.monotonic() - began)
    assert person.shown() == {}
    return max(seconds)


def check(site: Site, key: str, page: Page, server: Server, child: Child) -> None:
    """Check that the file is complete, no user saw an error, and the logs are short."""
    row = site.row(key)
    assert (row["state"], row["percentage"], row["attempts"]) == ("complete", 100, 1)
    with site.media.joinpath(row["filepath"]).open("rb") as file:
        assert sum(1 for _ in file) == ROWS + 1
    assert page.statuses <= {200, 204}
    for process in (server, child):
        assert not process.lines("ERROR")
        assert "Traceback" not in process.log
        assert len(process.lines("left alone")) <= 2


def table(measured: dict[str, Measured]) -> list[str]:
    """Return the lines of the table, each compared with the healthy server."""
    healthy = measured["healthy"].seconds
    return [result.line(name, healthy) for name, result in measured.items()]


def nothing() -> None:
    """Do nothing: the server is healthy, or repairs itself."""


def test_a_redis_that_fails_loses_nothing_and_delays_little(
    new_site: NewSite, redis_server: RedisServer, report: Report
) -> None:
    """It refuses connections, hangs, is full, flushed or replaced, during export and poll."""
    redis_server.maxmemory = "3mb"
    redis_server.restart()
    cache = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_server.url,
        "OPTIONS": TIMEOUTS,
    }
    site = new_site(DATABASE, cache=cache)
    faults: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "healthy": (nothing, nothing),
        "refused": (redis_server.kill, redis_server.start),
        "hung": (redis_server.stop, redis_server.resume),
        "full": (redis_server.fill, redis_server.flush),
        "flushed": (redis_server.flush, nothing),
        "failed over": (redis_server.restart, nothing),
    }
    measured = {name: export(site, fault, repair) for name, (fault, repair) in faults.items()}
    report(TITLE, table(measured))
    assert measured["healthy"].page.unchanged


def test_a_dropped_cache_table_loses_nothing(new_site: NewSite, report: Report) -> None:
    """The cache is in the database; its table is dropped during export and poll."""
    site = new_site(DATABASE, cache="database")
    measured = {"healthy": export(site, nothing, nothing)}
    measured["dropped"] = export(site, lambda: site.query("DROP TABLE faults_cache"), nothing)
    report(TITLE, table(measured))
    assert measured["healthy"].page.unchanged


#: An export that reports progress and ends when the test sets a flag.
STEPS: Final = """
from async_downloads import cache
from tests.faults.site import steering
_, key = cache.init_download("ada", "orders.csv")
steering.append("keys.log", key)

def rows():
    steering.wait_for("go-30")
    cache.set_percentage(key, 30)
    yield [30]
    steering.wait_for("go-100")

cache.save_download(key, rows())
"""


def test_a_page_shows_progress_of_a_worker_that_cannot_reach_the_cache(
    new_site: NewSite, redis_server: RedisServer
) -> None:
    """The web process reads a healthy Redis, which the worker cannot update."""
    site = new_site("sqlite", cache=redis_server.url)
    with RedisServer() as dead:
        unreachable = {"default": site.settings["CACHES"]["default"] | {"LOCATION": dead.url}}
    with site.server() as server, Page(server.client()) as page:
        child = site.start(STEPS, CACHES=unreachable)
        for step, seen in ((30, 'value="30"'), (100, 'data-state="complete"')):
            count = page.unchanged
            eventually(lambda count=count: page.unchanged > count + 1, why="a page at rest")
            site.go(f"go-{step}")
            # The version token of the cache expires after a while.
            eventually(lambda seen=seen: seen in page.html, why=f"{seen} on the page")
        assert child.wait() == 0, child.log
        assert len(child.lines("left alone")) == 1
        assert page.statuses <= {200, 204}
