"""What a site of the fault tests is made of, and what this machine lacks of it."""

import os
from pathlib import Path
from typing import Any, Final

from tests import services
from tests.faults.databases import DATABASES
from tests.faults.redis_server import RedisServer

__all__ = ["SERVERS", "cache_settings", "cluster_settings", "missing"]

ASGI: Final = "tests.faults.site.asgi:application"
OLD_ASGI: Final = "tests.faults.site.old_asgi:application"
ASGI_WITHOUT_ROUTE: Final = "tests.faults.site.old_asgi:without_route"

#: Programs that tests start, and what to say if one is not there.
PROGRAMS: Final = {"nginx": "nginx", "apache": "Apache with mod_xsendfile"}

#: Web servers by their kind: what Python runs.
SERVERS: Final = {
    "threads": ("-m", "tests.faults.site.wsgi_server"),
    "one thread": ("-m", "tests.faults.site.wsgi_server", "--one-thread"),
    "daphne": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "--lifespan", "off", ASGI),
    # The same, as servers of a site below a path.
    "daphne below": (
        *("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "--root-path", "/shop", ASGI),
    ),
    "uvicorn below": (
        *("-m", "uvicorn", "--port", "0", "--lifespan", "off", "--root-path", "/shop", ASGI),
    ),
    "gunicorn below": (
        *("-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
        *("--env", "SCRIPT_NAME=/shop", "django.core.wsgi:get_wsgi_application()"),
    ),
    # With the websocket's route as 0.6 documented it, and without any.
    "daphne of 0.6": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", OLD_ASGI),
    "daphne without a route": (
        *("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI_WITHOUT_ROUTE),
    ),
}


def cache_settings(cache: Any, *, name: str, folder: Path) -> dict[str, Any]:
    """Return Django's settings for a cache: by its kind, or by the URL of a Redis."""
    if isinstance(cache, dict):
        return cache
    backends = "django.core.cache.backends"
    if cache == "redis":
        cache = services.redis_url()
    if cache.startswith("redis://"):
        backend = f"{backends}.redis.RedisCache"
        return {"BACKEND": backend, "LOCATION": cache, "KEY_PREFIX": name}
    return {
        "file": {
            "BACKEND": f"{backends}.filebased.FileBasedCache",
            "LOCATION": str(folder / "cache"),
        },
        "database": {
            "BACKEND": f"{backends}.db.DatabaseCache",
            "LOCATION": "faults_cache",
        },
        "locmem": {"BACKEND": f"{backends}.locmem.LocMemCache"},
        "dummy": {"BACKEND": f"{backends}.dummy.DummyCache"},
    }[cache]


def cluster_settings(broker: str, more: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Return django-q2's settings for a cluster on a broker: ``"orm"``, or the URL of a Redis."""
    queue = {"orm": "default"} if broker == "orm" else {"redis": broker}
    return {
        "name": name,
        **queue,
        "workers": 1,
        "poll": 0.1,
        "guard_cycle": 0.1,
        "timeout": 600,
        "retry": 660,
        "catch_up": False,
        # What a cluster tells of itself is none of the cache's business here.
        "cache": "nowhere",
        **more,
    }


def missing(need: str) -> str:
    """Return what this machine lacks of a database, server or right; an empty text if nothing."""
    if need in DATABASES:
        return DATABASES[need].missing()
    if need == "redis-server":
        return RedisServer.missing()
    if need == "redis":
        return "" if services.available("redis") else f"no Redis at {services.redis_url()}"
    if need in PROGRAMS:
        return "" if services.available(need) else f"no {PROGRAMS[need]} is installed"
    if need == "old-package":
        there = services.available("old-package")
        return "" if there else f"no wheels of 0.6.0 in {services.old_wheels()}"
    if need == "root":
        return "" if os.geteuid() == 0 else "only root may do this"
    if need == "proc":
        return "" if Path("/proc/self/stat").exists() else "processes are looked up in /proc"
    raise LookupError(need)
