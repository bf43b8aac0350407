"""The settings of the demo: one machine, no server, everything under one folder."""

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent

#: Database, files, cache and logs. ``--check`` points it at a folder that it removes afterwards.
VAR = Path(os.environ.get("DEMO_VAR") or ROOT / "var").absolute()

#: By this, on its sign-in page, ``python -m demo`` knows the server that it has started.
RUN = os.environ.get("DEMO_RUN", "")

DEBUG = True
SECRET_KEY = "a demo on the loopback address keeps no secrets"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "demo.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
    "async_downloads",
    "demo.shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "shop.sqlite3",
        "OPTIONS": {
            # The web server and the workers write at the same time. A transaction that
            # asks for the write lock at its start waits for it; one that asks later fails.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

CACHES = {
    "default": {
        # The one cache of Django that processes share without a server or a table.
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR / "cache",
        # Past 300, its default, it throws out entries at random.
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

Q_CLUSTER: dict[str, Any] = {
    "name": "demo",
    "orm": "default",
    "workers": 2,
    "poll": 0.2,
    # The longest export of the demo takes five minutes.
    "timeout": 600,
    "retry": 660,
    "catch_up": False,
    "save_limit": 100,
}

#: Where the Redis of ``--ws`` answers; empty without it.
REDIS_URL = os.environ.get("DEMO_REDIS", "")

if REDIS_URL:
    # First, so that ``runserver`` is that of Daphne, which speaks websockets as well.
    INSTALLED_APPS.insert(0, "daphne")
    ASGI_APPLICATION = "demo.asgi.application"
    ASYNC_DOWNLOADS_WS_MODE = True
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Above the five seconds for which the layer asks a Redis that has nothing to tell.
            "CONFIG": {
                "hosts": [{"address": REDIS_URL, "socket_timeout": 15}],
                "prefix": f"demo-{RUN}",
            },
        }
    }
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": f"demo-{RUN}",
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        }
    }

MEDIA_ROOT = VAR / "media"
STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
