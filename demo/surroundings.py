"""What ``--distributed`` needs around it: a PostgreSQL, a Redis, an S3, and programs.

Everything that the settings are to read is put into the environment, unless it is there
already: whoever has servers of their own says where.
"""

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

__all__ = ["LOCAL_S3", "MissingError", "nginx", "surrounded", "use_websockets"]

HOST: Final = "127.0.0.1"
REDIS: Final = "redis://127.0.0.1:6379/0"
DATABASE: Final = "postgresql://postgres@127.0.0.1:5432/async_downloads_demo"

#: Set to the port of an S3 that the demo has to start itself.
LOCAL_S3: Final = "DEMO_LOCAL_S3"

#: What is installed for it, as it is imported.
MODULES: Final = ("boto3", "channels_redis", "gunicorn", "psycopg", "redis", "storages", "uvicorn")

#: Seconds, so that ``--check`` need not wait for as long as a site would: a task is delivered
#: again that was not done in time, and one that was not heard of has stalled.
HASTE: Final = {"DEMO_TASK_TIMEOUT": "29", "DEMO_TASK_RETRY": "30", "DEMO_STALLED_AFTER": "8"}


class MissingError(Exception):
    """Something is not there; the message says what to do."""


@contextmanager
def surrounded(*, check: bool) -> Iterator[None]:
    """Have the settings find everything.

    Args:
        check: Whether to use a database that is dropped afterwards, and to be in haste.

    Raises:
        MissingError: A server does not answer, or something is not installed.
    """
    _look_for_programs()
    _use_redis()
    environ = {
        "DEMO_ALLOWED_HOSTS": f"{HOST},localhost",
        "DEMO_PLAIN_HTTP": "1",
        "DEMO_RUN": secrets.token_hex(8),
        "DEMO_SECRET_KEY": secrets.token_urlsafe(50),
        "DEMO_S3_BUCKET": "downloads",
        **(HASTE if check else {}),
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
                _leave_nothing_in_redis()


def use_websockets() -> None:
    """Have the settings of one machine use Redis and websockets.

    Raises:
        MissingError: Redis does not answer, or something is not installed.
    """
    lacking = [name for name in ("channels_redis", "daphne") if find_spec(name) is None]
    if lacking:
        raise MissingError(
            f"Not installed: {', '.join(lacking)}. `nox -s demo -- --ws` installs them."
        )
    _use_redis()


def _leave_nothing_in_redis() -> None:
    import redis

    with redis.Redis.from_url(os.environ["DEMO_REDIS"]) as client:
        # Entries of the cache, the layer's groups and the queue all bear the number of the run.
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
            f"No Redis answers at {url} (set DEMO_REDIS to where it does): {error}"
        ) from error


def nginx() -> str | None:
    """Return the path of an installed nginx, which not everybody has in the PATH."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def _look_for_programs() -> None:
    lacking = [name for name in MODULES if find_spec(name) is None]
    if "AWS_ENDPOINT_URL_S3" not in os.environ and find_spec("moto") is None:
        lacking.append("moto")
    if lacking:
        raise MissingError(
            f"Not installed: {', '.join(lacking)}. `nox -s demo -- --distributed` installs them."
        )
    if nginx() is None:
        raise MissingError("nginx is not installed; `apt-get install nginx` does it on Debian.")


def _use_local_s3() -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    # Keys of a real account have no business there.
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
    """Make the database, if it is not there yet."""
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
            f"No PostgreSQL lets us make the database {name} at {url.hostname} (set "
            f"DEMO_DATABASE_URL to postgresql://user:password@host:5432/name): {error}"
        ) from error
    try:
        yield
    finally:
        if temporary:
            with psycopg.connect(server, autocommit=True) as connection:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))
