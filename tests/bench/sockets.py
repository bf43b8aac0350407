"""A crowd of websockets on one process of Uvicorn, with PostgreSQL, and Redis as cache and layer.

Another process opens the sockets. Measured are a connection of all at once, the cost of sockets
that merely wait, the time until a change arrives, and the end of the server by SIGTERM.
"""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlunsplit

from redis import Redis

from tests import services
from tests.faults.harness import Server, Site
from tests.faults.processes import ROOT

__all__ = ["run"]

#: The sockets, unless the bench is scaled.
SOCKETS: Final = 1000

#: Seconds in which the sockets merely wait.
WAITING: Final = 60

#: Sockets that connect and leave before, so that the process has loaded all it needs.
WARM_UP: Final = 20

#: Changes a second, and how many there are in all.
RATE: Final = 20
CHANGES: Final = 300

#: Users whose downloads change, in turn.
CHANGING: Final = 100

#: Open files: one for each socket, and those of the server itself.
SPARE_FILES: Final = 500

PEOPLE: Final = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

sessions = import_module(settings.SESSION_ENGINE)
for number in range({count}):
    user = get_user_model().objects.create(username=f"person{{number}}")
    session = sessions.SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    print(session.session_key)
"""

#: Makes the downloads that change, once the sockets wait.
DOWNLOADS: Final = """
from django.contrib.auth import get_user_model
from async_downloads import cache
for number in range({count}):
    user = get_user_model().objects.get(username=f"person{{number}}")
    print(cache.init_download(user, "orders.csv", "Orders")[1])
"""

#: Reports progress of one download after the other, and prints the time.
CHANGE: Final = """
import time
from async_downloads import cache
keys = {keys!r}
began = time.monotonic()
for number in range({changes}):
    time.sleep(max(0, began + number / {rate} - time.monotonic()))
    user, percentage = number % len(keys), 1 + number // len(keys)
    print("changed", user, percentage, time.time(), flush=True)
    cache.set_percentage(keys[user], percentage)
"""


@dataclass
class Usage:
    """What the server has used since its start: seconds of a core, and transactions."""

    at: float
    core: float
    transactions: int


def run(scale: float = 1.0) -> None:
    """Measure, and print a table; or which part is missing."""
    for service in ("postgres", "redis"):
        if not services.available(service):
            print(f"Sockets: skipped, {service} does not answer.")
            return
    count = max(1, int(SOCKETS * scale))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + SPARE_FILES:
        # The server and the crowd inherit it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE_FILES, hard))
    print(f"\n{count:,} websockets on one process of Uvicorn, PostgreSQL, Redis:", flush=True)
    for deflate in (False, True):
        with site() as pushing, pushing.server(kind="uvicorn") as server:
            measure(pushing, server, count, deflate=deflate)


@contextmanager
def site() -> Iterator[Site]:
    """Make a site whose sessions are in the database, as by default."""
    prefix = f"bench-{os.getpid()}"
    layer = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # As the documentation says.
        "CONFIG": {
            "hosts": [{"address": services.redis_url(), "socket_timeout": 15}],
            "prefix": prefix,
        },
    }
    settings: dict[str, Any] = {
        "SESSION_ENGINE": "django.contrib.sessions.backends.db",
        "ASYNC_DOWNLOADS_WS_MODE": True,
        "CHANNEL_LAYERS": {"default": layer},
    }
    with Site("postgres", cache="redis", **settings) as made:
        yield made
    # A server that has ended may have left groups.
    with Redis.from_url(services.redis_url()) as client:
        for key in client.scan_iter(match=f"{prefix}*"):
            client.delete(key)


def measure(site: Site, server: Server, count: int, *, deflate: bool) -> None:
    """Measure one crowd from its connection to the end of the server."""
    print(f"- {'with' if deflate else 'without'} permessage-deflate")
    cookies = [f"sessionid={key}" for key in site.run(PEOPLE.format(count=count)).split()]
    with crowd(site, server, cookies[:WARM_UP], deflate=deflate) as warm:
        answer(warm)
    time.sleep(1)
    memory, before = resident(server.pid), usage(site, server.pid)
    with crowd(site, server, cookies, deflate=deflate) as sockets:
        connected = answer(sockets)
        show("connected", f"{connected['listed']:,} of {count:,} have their list")
        show("until the last list", f"{connected['seconds']:.1f} s")
        show("refused", connected["refused"] or "none")
        # Other processes delay a connection, but this is what it costs.
        core = usage(site, server.pid).core - before.core
        show("core seconds of the server", f"{core:.1f}")
        # What follows a connection is over: joins, further looks.
        time.sleep(15)
        show("memory each", f"{(resident(server.pid) - memory) / count / 1000:.1f} kB")
        show_usage("waiting", *used_during(site, server, WAITING))
        latencies = changed(site, sockets, min(CHANGING, count))
        show("a change is shown after", latencies)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        ended = until_ended(server, seconds=60)
        took = f"{time.monotonic() - began:.1f} s" if ended else "not within 60 s"
        show("SIGTERM ends the process", took)
        if not ended:
            server.kill()
        show("close codes", answer(sockets)["closed"])


def show(name: str, value: object) -> None:
    """Print one line."""
    print(f"  {name:<26} {value}", flush=True)


def show_usage(name: str, before: Usage, after: Usage) -> None:
    """Print what was used between two moments."""
    seconds = after.at - before.at
    show(f"{name}: core", f"{(after.core - before.core) / seconds:.3f}")
    transactions = (after.transactions - before.transactions) / seconds
    show(f"{name}: transactions", f"{transactions:.1f} a second")


def used_during(site: Site, server: Server, seconds: float) -> tuple[Usage, Usage]:
    """Return what the server had used before and after some seconds."""
    before = usage(site, server.pid)
    time.sleep(seconds)
    return before, usage(site, server.pid)


def usage(site: Site, pid: int) -> Usage:
    """Return what the server has used until now."""
    import psycopg

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    core = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    # From another database, so that the query itself does not count.
    with psycopg.connect(urlunsplit(services.url("postgres"))) as connection:
        (transactions,) = connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s",
            [site.database.settings["NAME"]],
        ).fetchone() or (0,)
    return Usage(time.monotonic(), core, transactions)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def changed(site: Site, sockets: "subprocess.Popen[str]", users: int) -> str:
    """Change downloads, and return the seconds until their sockets showed it, as a text."""
    keys = site.run(DOWNLOADS.format(count=users)).split()
    time.sleep(3)
    with site.start(CHANGE.format(keys=keys, changes=CHANGES, rate=RATE)) as worker:
        worker.wait()
    time.sleep(3)
    assert sockets.stdin is not None
    sockets.stdin.write("seen\n")
    sockets.stdin.flush()
    seen = answer(sockets)["seen"]
    if warnings := worker.lines("WARNING"):
        show("the worker warns", warnings)
    changes = [line.split()[1:] for line in worker.log.splitlines() if line.startswith("changed")]
    latencies = sorted(
        seen[f"{user} {percentage}"] - float(at)
        for user, percentage, at in changes
        if f"{user} {percentage}" in seen
    )
    if len(latencies) < 2:
        return f"never: {len(latencies)} of {len(changes)} seen"
    worst = statistics.quantiles(latencies, n=20)[-1]
    return (
        f"{statistics.median(latencies):.2f} s (median), {worst:.2f} s (95 %), "
        f"{latencies[-1]:.2f} s (longest), {len(latencies)} of {len(changes)} seen"
    )


def until_ended(server: Server, *, seconds: float) -> bool:
    """Return whether the server ends in time."""
    deadline = time.monotonic() + seconds
    while server.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server.alive


@contextmanager
def crowd(
    site: Site, server: Server, cookies: list[str], *, deflate: bool
) -> "Iterator[subprocess.Popen[str]]":
    """Open a socket for each cookie, in another process."""
    given = site.folder / "crowd.json"
    url = f"{server.address.replace('http', 'ws')}/ws/downloads/?language=en"
    given.write_text(json.dumps({"url": url, "cookies": cookies, "deflate": deflate}))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.socket_crowd", str(given)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the next report of a crowd."""
    assert process.stdout is not None
    values: dict[str, Any] = json.loads(process.stdout.readline())
    return values
