"""Check for the servers that ``--distributed`` and ``--ws`` need, and set the environment.

``--distributed`` needs PostgreSQL, Redis, S3 and nginx. The settings read their addresses
from environment variables. A variable that is already set stays as it is.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from demo.servers.nginx import find_nginx
from demo.servers.ports import HOST, any_free_ports

__all__ = ["LOCAL_S3", "MissingError", "distributed_environment", "use_websockets"]

REDIS: Final = "redis://127.0.0.1:6379/0"
DATABASE: Final = "postgresql://postgres@127.0.0.1:5432/async_downloads_demo"

#: This variable holds the port of an S3 that the demo must start itself.
LOCAL_S3: Final = "DEMO_LOCAL_S3"

#: The modules that ``--distributed`` needs.
MODULES: Final = ("boto3", "channels_redis", "gunicorn", "psycopg", "redis", "storages", "uvicorn")

#: Shorter times, in seconds, for ``--check``: until a task that is not done is delivered again,
#: and until a download without a heartbeat has stalled.
SHORT_TIMES: Final = {"DEMO_TASK_TIMEOUT": "29", "DEMO_TASK_RETRY": "30", "DEMO_STALLED_AFTER": "8"}


class MissingError(Exception):
    """A server or a package is missing. The message says how to get it."""


@contextmanager
def distributed_environment(*, check: bool) -> Iterator[None]:
    """Set the variables that the distributed settings read.

    Args:
        check: Whether to use a temporary database, and shorter times.

    Raises:
        MissingError: A server does not answer, or a package is not installed.
    """
    _require_installed()
    _use_redis()
    environ = {
        "DEMO_ALLOWED_HOSTS": f"{HOST},localhost",
        "DEMO_PLAIN_HTTP": "1",
        "DEMO_RUN": secrets.token_hex(8),
        "DEMO_SECRET_KEY": secrets.token_urlsafe(50),
        "DEMO_S3_BUCKET": "downloads",
        **(SHORT_TIMES if check else {}),
    }
    for name, value in environ.items():
        os.environ.setdefault(name, value)
    if "AWS_ENDPOINT_URL_S3" not in os.environ:
        _use_local_s3()
    with _database(temporary=check):
        try:
            yield
        finally:
            if check:
                _clear_redis()


def use_websockets() -> None:
    """Set the variables that turn on websockets on one machine.

    Raises:
        MissingError: Redis does not answer, or a package is not installed.
    """
    missing = [name for name in ("channels_redis", "daphne") if find_spec(name) is None]
    if missing:
        raise MissingError(
            f"Not installed: {', '.join(missing)}. `nox -s demo -- --ws` installs them."
        )
    _use_redis()


def _clear_redis() -> None:
    import redis

    with redis.Redis.from_url(os.environ["DEMO_REDIS"]) as client:
        # DEMO_RUN is in the keys of the cache, of the channel layer and of the queue.
        for key in client.scan_iter(match=f"*demo-{os.environ['DEMO_RUN']}*"):
            client.delete(key)


def _use_redis() -> None:
    import redis

    url = os.environ.setdefault("DEMO_REDIS", REDIS)
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise MissingError(
            f"Redis does not answer at {url} (DEMO_REDIS sets its address): {error}"
        ) from error


def _require_installed() -> None:
    missing = [name for name in MODULES if find_spec(name) is None]
    if "AWS_ENDPOINT_URL_S3" not in os.environ and find_spec("moto") is None:
        missing.append("moto")
    if missing:
        raise MissingError(
            f"Not installed: {', '.join(missing)}. `nox -s demo -- --distributed` installs them."
        )
    if find_nginx() is None:
        raise MissingError("nginx is not installed. On Debian, `apt-get install nginx` does it.")


def _use_local_s3() -> None:
    (port,) = any_free_ports(1)
    # The keys of a real account must not be sent there.
    os.environ.update(
        {
            LOCAL_S3: str(port),
            "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{port}",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": ",".join(filter(None, [HOST, os.environ.get("NO_PROXY")])),
        }
    )


@contextmanager
def _database(*, temporary: bool) -> Iterator[None]:
    """Make the database unless it exists."""
    import psycopg
    from psycopg import sql

    url = urlsplit(os.environ.get("DEMO_DATABASE_URL", DATABASE))
    name = url.path.lstrip("/")
    if temporary:
        name = f"{name}_check_{secrets.token_hex(4)}"
    server = url._replace(path="/postgres").geturl()
    os.environ["DEMO_DATABASE_URL"] = url._replace(path=f"/{name}").geturl()
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if found.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise MissingError(
            f"The database {name} cannot be made in PostgreSQL at {url.hostname} "
            f"(DEMO_DATABASE_URL is postgresql://user:password@host:5432/name): {error}"
        ) from error
    try:
        yield
    finally:
        if temporary:
            with psycopg.connect(server, autocommit=True) as connection:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))
