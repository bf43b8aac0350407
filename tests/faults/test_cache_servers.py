"""A cache server that fails in the middle of an export and of a poll. Case 31."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.conftest import Report
from tests.faults.harness import Child, NewSite, RedisServer, Server, Site, eventually, missing
from tests.faults.pages import Page

ROWS: Final = 200_000

#: Without them a server that hangs is waited for by redis-py for 5 s, or before its version 8
#: for ever.
TIMEOUTS: Final = {"socket_timeout": 1, "socket_connect_timeout": 1}

#: Exports as many rows as there are, slowed down by a pause every so many of them, and
#: tells when it has begun in earnest, and at the end how long it took.
EXPORT: Final = f"""
import time
from async_downloads import cache
from tests.faults.site import steering
_, key = cache.init_download("ada", "orders.csv")
steering.tell("keys.log", key)

def rows():
    yield ["id", "name"]
    for index in range({ROWS}):
        if not index % 100:
            time.sleep(0.001)
        if index == {ROWS} // 4:
            steering.tell("amid.log", key)
        yield [index, f"name {{index}}"]
        cache.update_percentage(key, {ROWS}, index, resolution=5)

began = time.monotonic()
cache.save_download(key, rows())
steering.tell("took.log", str(time.monotonic() - began))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one export took, and the page that was open all along."""

    seconds: float
    page: Page
    late: float
    used_otherwise: float

    def line(self, name: str, healthy: float) -> str:
        """Return a line of the table."""
        return (
            f"{name:<12}{self.seconds:>7.2f} s{self.seconds / healthy:>7.2f}"
            f"{len(self.page.asked):>7}{self.page.unchanged:>6}"
            f"{statistics.median(asked.seconds for asked in self.page.asked) * 1000:>9.0f} ms"
            f"{self.page.slowest:>8.2f} s{self.used_otherwise:>9.2f} s{self.late:>8.1f} s"
        )


DATABASE: Final = "sqlite" if missing("postgres") else "postgres"

TITLE: Final = (
    f"{ROWS:,} rows     export  ratio  polls   204   median   slowest   requests   right after"
)


def words(site: Site, name: str) -> list[str]:
    path = site.steering / name
    return path.read_text().split() if path.exists() else []


def export(site: Site, fault: Callable[[], object], mend: Callable[[], object]) -> Measured:
    """Export while a page is open, with a fault from the first quarter of the rows on."""
    for name in ("keys.log", "amid.log", "took.log"):
        (site.steering / name).unlink(missing_ok=True)
    with site.server() as server, Page(server.client()) as page, site.start(EXPORT) as child:
        eventually(lambda: words(site, "amid.log") or not child.alive, why="the first rows")
        fault()
        try:
            otherwise = use_otherwise(server)
            assert child.wait() == 0, child.log
            ended = time.monotonic()
            key = words(site, "keys.log")[0]
            shown = f'id="download-{key}"'
            eventually(
                lambda: any(
                    shown in line and 'data-state="complete"' in line
                    for line in page.html.splitlines()
                ),
                why="an open page that shows the file",
            )
            late = time.monotonic() - ended
        finally:
            mend()
        check(site, key, page, server, child)
        return Measured(float(words(site, "took.log")[0]), page, late, otherwise)


def use_otherwise(server: Server) -> float:
    """Look at a page, start an export and clear it; return how long the slowest of them took."""
    person, taken = server.client("grace"), []
    for ask in (
        lambda: person.get("/"),
        lambda: person.post("/start/rows/"),
        lambda: person.clear(next(iter(person.shown()))),
    ):
        began = time.monotonic()
        assert ask().status == 200
        taken.append(time.monotonic() - began)
    assert person.shown() == {}
    return max(taken)


def check(site: Site, key: str, page: Page, server: Server, child: Child) -> None:
    """See that nothing is lost, nobody was shown an error, and the log was not flooded."""
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
    """Return the lines of the table, each compared with the healthy one."""
    healthy = measured["healthy"].seconds
    return [each.line(name, healthy) for name, each in measured.items()]


def nothing() -> None:
    """Let all be well."""


def test_case_31_a_redis_that_fails_loses_nothing_and_costs_a_moment(
    new_site: NewSite, redis_server: RedisServer, report: Report
) -> None:
    """Case 31: refused, hung, full, flushed and failing over, mid-export and mid-poll."""
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
        "hung": (redis_server.stop, redis_server.cont),
        "full": (redis_server.fill, redis_server.flush),
        "flushed": (redis_server.flush, nothing),
        "failed over": (redis_server.restart, nothing),
    }
    measured = {name: export(site, fault, mend) for name, (fault, mend) in faults.items()}
    report(TITLE, table(measured))
    assert measured["healthy"].page.unchanged


def test_case_31_a_table_of_the_cache_that_goes_missing_loses_nothing(
    new_site: NewSite, report: Report
) -> None:
    """Case 31: a cache in the database, whose table is dropped mid-export and mid-poll."""
    site = new_site(DATABASE, cache="database")
    measured = {"healthy": export(site, nothing, nothing)}
    measured["dropped"] = export(site, lambda: site.query("DROP TABLE faults_cache"), nothing)
    report(TITLE, table(measured))
    assert measured["healthy"].page.unchanged


#: An export whose progress goes on when the test says so.
STEPS: Final = """
from async_downloads import cache
from tests.faults.site import steering
_, key = cache.init_download("ada", "orders.csv")
steering.tell("keys.log", key)

def rows():
    for step in (30,):
        steering.wait_for(f"go-{step}")
        cache.set_percentage(key, step)
        yield [step]
    steering.wait_for("go-100")

cache.save_download(key, rows())
"""


def test_case_31_a_worker_that_is_cut_off_from_the_cache_is_followed_all_the_same(
    new_site: NewSite, redis_server: RedisServer
) -> None:
    """Case 31: the page asks a Redis that is well, and knows nothing of what the worker does."""
    site = new_site("sqlite", cache=redis_server.url)
    with RedisServer() as dead:
        nowhere = {"default": site.settings["CACHES"]["default"] | {"LOCATION": dead.url}}
    with site.server() as server, Page(server.client()) as page:
        child = site.start(STEPS, CACHES=nowhere)
        for step, seen in ((30, 'value="30"'), (100, 'data-state="complete"')):
            told = page.unchanged
            eventually(lambda told=told: page.unchanged > told + 1, why="a page that is at rest")
            site.go(f"go-{step}")
            # As long as a version token lives, and then some.
            eventually(lambda seen=seen: seen in page.html, why=f"{seen} on the page")
        assert child.wait() == 0, child.log
        assert len(child.lines("left alone")) == 1
        assert page.statuses <= {200, 204}
