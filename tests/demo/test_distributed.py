"""The demo's settings for more than one machine: all of them are in the environment."""

from pathlib import Path
from typing import Final

import pytest

from tests.demo.test_production import SECRET, check, run

ENVIRON: Final = {
    "DJANGO_SETTINGS_MODULE": "demo.distributed",
    "DEMO_SECRET_KEY": SECRET,
    "DEMO_ALLOWED_HOSTS": "shop.example.org",
    "DEMO_DATABASE_URL": "postgresql://shop:s%40fe@db.example.org:5433/shop",
    "DEMO_REDIS": "redis://redis.example.org:6379/0",
    "DEMO_S3_BUCKET": "shop-downloads",
    "AWS_DEFAULT_REGION": "eu-central-1",
}

SHOWN: Final = "from demo import distributed as of; print(of.DATABASES, of.Q_CLUSTER)"


def test_nothing_is_wrong_with_them(tmp_path: Path) -> None:
    checked = check(**ENVIRON, DEMO_VAR=str(tmp_path))
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def shown(**environ: str) -> str:
    told = run("-c", SHOWN, **ENVIRON | environ)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_they_find_the_database_and_one_queue_for_all_clusters() -> None:
    told = shown()
    for part in (
        "'HOST': 'db.example.org', 'PORT': 5433",
        "'USER': 'shop', 'PASSWORD': 's@fe'",
        "'orm': 'default'",
        "'name': 'demo'",
        "'DISABLE_SERVER_SIDE_CURSORS': False",
    ):
        assert part in told
    assert "'redis'" not in told


def test_the_queue_may_be_in_redis_which_is_not_waited_for_without_end() -> None:
    told = shown(DEMO_BROKER="redis", DEMO_REDIS="rediss://redis.example.org/1?protocol=3")
    assert "rediss://redis.example.org/1?protocol=3&socket_connect_timeout=2&socket_tim" in told
    assert "'orm'" not in told


def test_behind_pgbouncer_no_cursor_outlives_a_transaction() -> None:
    assert "'DISABLE_SERVER_SIDE_CURSORS': True" in shown(DEMO_PGBOUNCER="1")


@pytest.mark.parametrize("missing", ["DEMO_DATABASE_URL", "DEMO_REDIS", "DEMO_S3_BUCKET"])
def test_without_what_all_machines_share_nothing_starts(missing: str) -> None:
    rest = {name: value for name, value in ENVIRON.items() if name != missing}
    told = run("-c", SHOWN, **rest)
    assert told.returncode != 0
    assert f"KeyError: '{missing}'" in told.stderr


def test_another_broker_is_refused() -> None:
    told = run("-c", SHOWN, **ENVIRON, DEMO_BROKER="rabbitmq")
    assert "DEMO_BROKER is 'rabbitmq'; it must be 'orm' or 'redis'." in told.stderr
