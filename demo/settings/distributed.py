"""The settings of the demo on several machines. All addresses come from the environment.

Besides the variables of ``demo.settings.production``, these are required: ``DEMO_DATABASE_URL``
(``postgresql://user:password@host:5432/name``), ``DEMO_REDIS`` (``redis://host:6379/0``) and
``DEMO_S3_BUCKET``. boto3 itself reads ``AWS_ENDPOINT_URL_S3``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY`` and ``AWS_DEFAULT_REGION``. docs/how-to/several-machines.md lists the
optional ones. All machines get the same values.
"""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from demo.settings.production import *  # noqa: F403 (the same site)
from demo.settings.production import INSTALLED_APPS, Q_CLUSTER, RUN

REDIS_URL = os.environ["DEMO_REDIS"]
DATABASE = urlsplit(os.environ["DEMO_DATABASE_URL"])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE.path.lstrip("/"),
        "USER": unquote(DATABASE.username or ""),
        "PASSWORD": unquote(DATABASE.password or ""),
        "HOST": DATABASE.hostname or "",
        "PORT": DATABASE.port or "",
        # PgBouncer in transaction mode loses a cursor at the end of a transaction. Without server-
        # side cursors, an export holds all its rows in memory.
        "DISABLE_SERVER_SIDE_CURSORS": os.environ.get("DEMO_PGBOUNCER") == "1",
    }
}

# Here the ASGI server serves websockets, and not "runserver".
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]

BROKERS: dict[str, dict[str, Any]] = {
    # This broker delivers a task again if it is not done within "retry" seconds.
    "orm": {"orm": "default"},
    # Without these timeouts, a Redis that hangs would block the view that starts an export.
    # A worker waits for a task for one second at a time.
    "redis": {
        "redis": REDIS_URL
        + ("&" if "?" in REDIS_URL else "?")
        + "socket_connect_timeout=2&socket_timeout=10"
    },
}

BROKER = os.environ.get("DEMO_BROKER", "orm")
if BROKER not in BROKERS:
    raise ImproperlyConfigured(f"DEMO_BROKER is {BROKER!r}; it must be 'orm' or 'redis'.")

Q_CLUSTER = {
    **{name: value for name, value in Q_CLUSTER.items() if name != "orm"},
    **BROKERS[BROKER],
    # Clusters of one shop share a name. Another shop on the same Redis has another name.
    "name": f"demo-{RUN}" if RUN else "demo",
    # Tasks that wait inside one cluster are not available to the other one.
    "queue_limit": 1,
    "timeout": int(os.environ.get("DEMO_TASK_TIMEOUT", 600)),
    "retry": int(os.environ.get("DEMO_TASK_RETRY", 660)),
}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "downloads": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": os.environ["DEMO_S3_BUCKET"],
            "signature_version": "s3v4",
            "querystring_expire": 5 * 60,
        },
    },
}
ASYNC_DOWNLOADS_STORAGE = "downloads"
ASYNC_DOWNLOADS_SERVE = os.environ.get("DEMO_SERVE", "redirect")
ASYNC_DOWNLOADS_STALLED_AFTER = int(os.environ.get("DEMO_STALLED_AFTER", 120))

# To standard error: the service manager of each machine collects it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}

if os.environ.get("DEMO_PLAIN_HTTP") == "1":
    # For a loopback address or a private network without certificates.
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
    SECURE_HSTS_SECONDS = 0
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
