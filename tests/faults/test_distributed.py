"""The demo on more than one machine, with a cluster that is killed while it builds an export."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import services
from tests.faults.conftest import needs
from tests.faults.nginx import free_port
from tests.faults.processes import Child
from tests.faults.redis_server import RedisServer

#: Fewer orders than the demo has, and less patience with a killed worker.
HASTE: Final = {
    "DEMO_ORDERS": "25000",
    "DEMO_TASK_TIMEOUT": "11",
    "DEMO_TASK_RETRY": "12",
    "DEMO_STALLED_AFTER": "4",
}

BROKERS: Final = ("orm", "redis")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    """The demo with each broker, at the same time: most of it is waiting."""
    needs("proc", "postgres", "redis-server", "nginx")
    folder = tmp_path_factory.mktemp("distributed")
    with RedisServer() as redis:
        children = {broker: demo(broker, redis.url, folder) for broker in BROKERS}
        try:
            yield children
        finally:
            for child in children.values():
                # The demo's own guard ends what it leaves.
                child.close()


def demo(broker: str, redis: str, folder: Path) -> Child:
    ours = {"DEMO_", "DJANGO_", "AWS_"}
    kept = {name: each for name, each in os.environ.items() if not name.startswith(tuple(ours))}
    database = services.url("postgres")._replace(path="/async_downloads_demo").geturl()
    environ = {"DEMO_BROKER": broker, "DEMO_REDIS": redis, "DEMO_DATABASE_URL": database}
    command = [sys.executable, "-m", "demo", "--distributed", "--check"]
    return Child(
        [*command, "--port", str(free_port())],
        env=kept | HASTE | environ,
        log=folder / f"{broker}.log",
    )


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("orm", ["The queue gives it to the cluster", "2 attempts"]),
        ("redis", ["Redis has forgotten the task", "She clears it, and starts it anew"]),
    ],
)
def test_an_export_outlives_the_cluster_that_was_building_it(
    demos: dict[str, Child], broker: str, told: list[str]
) -> None:
    child = demos[broker]
    code = child.wait()
    assert code == 0, child.log
    for text in (
        *("is killed, all of it", "Both files are the same to the byte"),
        *("no process is left", *told),
    ):
        assert text in child.log
