"""The settings of the parts of a site, and whether this machine has what they need."""

import os
from pathlib import Path
from typing import Any, Final

from tests import services
from tests.faults.databases import DATABASES
from tests.faults.redis_server import RedisServer

__all__ = ["SERVERS", "cache_settings", "cluster_settings", "missing", "storages"]

ASGI: Final = "tests.faults.site.asgi:application"
OLD_ASGI: Final = "tests.faults.site.old_asgi:application"
ASGI_WITHOUT_ROUTE: Final = "tests.faults.site.old_asgi:without_route"

#: Programs that tests start, and how a skipped test calls them.
PROGRAMS: Final = {
    "nginx": "nginx",
    "apache": "Apache with mod_xsendfile",
    "faketime": "libfaketime",
    "prometheus": "Prometheus",
}

#: The arguments of Python that start each kind of web server.
SERVERS: Final = {
    "threads": ("-m", "tests.faults.site.wsgi_server"),
    "one thread": ("-m", "tests.faults.site.wsgi_server", "--one-thread"),
    "daphne": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "--lifespan", "off", ASGI),
    # The same for a site below a path.
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
    # With the websocket route that 0.6 documented, and without one.
    "daphne of 0.6": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", OLD_ASGI),
    "daphne without a route": (
        *("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI_WITHOUT_ROUTE),
    ),
}


def cache_settings(cache: Any, *, name: str, folder: Path) -> dict[str, Any]:
    """Return Django's settings for a cache of this kind, or at the URL of a Redis."""
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
    """Return django-q2's settings for a cluster; its broker is ``"orm"`` or the URL of a Redis."""
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
        # Keep the cluster's statistics out of the cache under test.
        "cache": "nowhere",
        **more,
    }


def storages(backend: str, **options: Any) -> dict[str, Any]:
    """Return ``STORAGES`` with a default storage of ``site/storages.py``, or of a dotted path."""
    if "." not in backend:
        backend = f"tests.faults.site.storages.{backend}"
    return {
        "default": {"BACKEND": backend, "OPTIONS": options},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def missing(need: str) -> str:
    """Return why this machine lacks a database, server or right; an empty text if it has it."""
    if need in DATABASES:
        return DATABASES[need].missing()
    if need == "redis-server":
        return RedisServer.missing()
    if need == "redis":
        return "" if services.available("redis") else f"no Redis at {services.redis_url()}"
    if need in PROGRAMS:
        return "" if services.available(need) else f"no {PROGRAMS[need]} is installed"
    if need == "old-package":
        available = services.available("old-package")
        return "" if available else f"no wheels of 0.6.0 in {services.old_wheels()}"
    if need == "root":
        return "" if os.geteuid() == 0 else "only root may do this"
    if need == "proc":
        return "" if Path("/proc/self/stat").exists() else "processes are looked up in /proc"
    raise LookupError(need)
