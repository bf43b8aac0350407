"""The settings of the demo on several machines come from the environment."""

from pathlib import Path
from typing import Final

import pytest

from tests.demo.commands import SECRET, check, run

ENVIRON: Final = {
    "DJANGO_SETTINGS_MODULE": "demo.settings.distributed",
    "DEMO_SECRET_KEY": SECRET,
    "DEMO_ALLOWED_HOSTS": "shop.example.org",
    "DEMO_DATABASE_URL": "postgresql://shop:s%40fe@db.example.org:5433/shop",
    "DEMO_REDIS": "redis://redis.example.org:6379/0",
    "DEMO_S3_BUCKET": "shop-downloads",
    "AWS_DEFAULT_REGION": "eu-central-1",
}

SCRIPT: Final = "from demo.settings import distributed as s; print(s.DATABASES, s.Q_CLUSTER)"


def test_the_settings_pass_the_deployment_checks(tmp_path: Path) -> None:
    checked = check(**ENVIRON, DEMO_VAR=str(tmp_path))
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def shown(**environ: str) -> str:
    result = run("-c", SCRIPT, **ENVIRON | environ)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_database_url_is_split_and_all_clusters_share_a_queue() -> None:
    output = shown()
    for part in (
        "'HOST': 'db.example.org', 'PORT': 5433",
        "'USER': 'shop', 'PASSWORD': 's@fe'",
        "'orm': 'default'",
        "'name': 'demo'",
        "'DISABLE_SERVER_SIDE_CURSORS': False",
    ):
        assert part in output
    assert "'redis'" not in output


def test_the_queue_in_redis_has_timeouts() -> None:
    output = shown(DEMO_BROKER="redis", DEMO_REDIS="rediss://redis.example.org/1?protocol=3")
    assert "rediss://redis.example.org/1?protocol=3&socket_connect_timeout=2&socket_tim" in output
    assert "'orm'" not in output


def test_pgbouncer_turns_off_server_side_cursors() -> None:
    assert "'DISABLE_SERVER_SIDE_CURSORS': True" in shown(DEMO_PGBOUNCER="1")


@pytest.mark.parametrize("missing", ["DEMO_DATABASE_URL", "DEMO_REDIS", "DEMO_S3_BUCKET"])
def test_the_error_names_a_missing_variable(missing: str) -> None:
    rest = {name: value for name, value in ENVIRON.items() if name != missing}
    result = run("-c", SCRIPT, **rest)
    assert result.returncode != 0
    assert f"KeyError: '{missing}'" in result.stderr


def test_an_unknown_broker_is_refused() -> None:
    result = run("-c", SCRIPT, **ENVIRON, DEMO_BROKER="rabbitmq")
    assert "DEMO_BROKER is 'rabbitmq'; it must be 'orm' or 'redis'." in result.stderr
