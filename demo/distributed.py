"""The demo's settings for more than one machine: where everything is comes from the environment.

Besides what ``demo.production`` asks for, these have no defaults: ``DEMO_DATABASE_URL``
(``postgresql://user:password@host:5432/name``), ``DEMO_REDIS`` (``redis://host:6379/0``) and
``DEMO_S3_BUCKET``. boto3 itself reads ``AWS_ENDPOINT_URL_S3``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY`` and ``AWS_DEFAULT_REGION``. docs/how-to/several-machines.md says what
else there is. All machines are given the same.
"""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from demo.production import *  # noqa: F403 (the same site, in pieces)
from demo.production import INSTALLED_APPS, Q_CLUSTER, RUN

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
        # A pool of connections that hands one to another client after each transaction loses
        # the cursors of the last one. An export then takes its rows into memory, all at once.
        "DISABLE_SERVER_SIDE_CURSORS": os.environ.get("DEMO_PGBOUNCER") == "1",
    }
}

# Websockets are a matter of the servers here, not of "runserver".
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]

BROKERS: dict[str, dict[str, Any]] = {
    # Delivers a task again that was not done within "retry" seconds.
    "orm": {"orm": "default"},
    # A server that hangs would hold up whoever starts an export. A worker asks for a second.
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
    # Clusters that are to help each other share a name; others on the same Redis do not.
    "name": f"demo-{RUN}" if RUN else "demo",
    # What a cluster holds beside what it works on, the other one cannot take.
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

# To standard error, which a service manager collects wherever the process runs.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}

if os.environ.get("DEMO_PLAIN_HTTP") == "1":
    # For a loopback address, or a network of one's own, without certificates.
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
    SECURE_HSTS_SECONDS = 0
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
