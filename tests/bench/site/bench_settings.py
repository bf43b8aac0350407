"""The settings of the measured site; the environment chooses version, database and cache."""

import os
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = os.environ["BENCH_FOLDER"]
OURS = os.environ["BENCH_PACKAGE"] == "ours"

SECRET_KEY = "bench"
USE_TZ = True
TIME_ZONE = "UTC"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "bench_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "/static/"
MEDIA_ROOT = f"{FOLDER}/media-{os.environ['BENCH_PACKAGE']}"
MEDIA_URL = "/media/"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "async_downloads",
    "orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
if OURS:
    INSTALLED_APPS += ["django_htmx", "django_q"]
    Q_CLUSTER = {"name": "bench", "orm": "default", "log_level": "WARNING"}
else:
    # The list template of 0.6 loads their tags.
    INSTALLED_APPS += ["sekizai", "django.contrib.humanize"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
        },
    }
]

if os.environ["BENCH_DATABASE"] == "postgres":
    _url = urlsplit(os.environ["BENCH_POSTGRES_URL"])
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["BENCH_POSTGRES_NAME"],
            "HOST": _url.hostname,
            "PORT": _url.port or "",
            "USER": _url.username or "",
            "PASSWORD": _url.password or "",
            # A connection for each request would hide what else a request costs.
            "CONN_MAX_AGE": None,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{FOLDER}/db.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }

if os.environ["BENCH_CACHE"] == "redis":
    _cache = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["BENCH_REDIS_URL"],
        "KEY_PREFIX": f"bench-{os.environ['BENCH_PACKAGE']}-{os.environ['BENCH_RUN']}",
    }
else:
    _cache = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
CACHES = {"default": _cache}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"nowhere": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["nowhere"], "level": "WARNING"},
}
