"""The demo on several machines: a cluster is killed while it builds an export."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import services
from tests.faults.conftest import needs
from tests.faults.processes import Child, free_port
from tests.faults.redis_server import RedisServer
from tests.pace import LONGEST_WAIT, whole

BROKERS: Final = ("orm", "redis")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    """The demo with each broker, both at the same time, as they mostly wait."""
    needs("proc", "postgres", "redis-server", "nginx")
    folder = tmp_path_factory.mktemp("distributed")
    with RedisServer() as redis:
        children = {broker: demo(broker, redis.url, folder) for broker in BROKERS}
        try:
            yield children
        finally:
            for child in children.values():
                # The watchdog of the demo stops its servers.
                child.close()


def short_times() -> dict[str, str]:
    """Return fewer orders and shorter times than in the demo, by the speed of the machine."""
    return {
        "DEMO_ORDERS": "15000",
        "DEMO_TASK_TIMEOUT": str(whole(45)),
        "DEMO_TASK_RETRY": str(whole(46)),
        "DEMO_STALLED_AFTER": str(whole(4)),
    }


def demo(broker: str, redis: str, folder: Path) -> Child:
    ours = ("DEMO_", "DJANGO_", "AWS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    database = services.url("postgres")._replace(path="/async_downloads_demo").geturl()
    environ = {"DEMO_BROKER": broker, "DEMO_REDIS": redis, "DEMO_DATABASE_URL": database}
    command = [sys.executable, "-m", "demo", "--distributed", "--check"]
    return Child(
        [*command, "--port", str(free_port())],
        env=inherited | short_times() | environ,
        log=folder / f"{broker}.log",
    )


@pytest.mark.parametrize("broker", BROKERS)
def test_an_export_survives_the_cluster_that_builds_it(
    demos: dict[str, Child], broker: str
) -> None:
    child = demos[broker]
    # It waits for several events, each as long as another test.
    code = child.wait(4 * LONGEST_WAIT)
    assert code == 0, child.log
    for text in (
        *("is killed with all its processes", "Both files are the same to the byte"),
        *("It stalls, is queued again by itself", "2 attempts", "no process is left"),
    ):
        assert text in child.log
