"""The settings of the demo on one machine: no other server, all files in one folder."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: The folder of the database, the files, the cache and the logs. ``--check`` uses a temporary one.
VAR = Path(os.environ.get("DEMO_VAR") or ROOT / "var").absolute()

#: The sign-in page shows this name, so that ``python -m demo`` recognises its own web server.
RUN = os.environ.get("DEMO_RUN", "")

# The pages of the shop for errors are shown, as on any site, and not those of Django for debugging.
DEBUG = False
SECRET_KEY = "the demo keeps nothing secret on the loopback address"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
#: Whether the sign-in page shows user names and passwords.
SHOW_SIGN_INS = True

ROOT_URLCONF = "demo.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True

INSTALLED_APPS = [
    # First, so that its templates replace those of the package and of the admin.
    "demo.shop",
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
            # The web server and the workers write at the same time. A transaction that takes the
            # write lock at its start waits for others; one that takes it later fails.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

CACHES = {
    "default": {
        # Of Django's caches, only this one is shared by processes and needs no server or table.
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR / "cache",
        # Above its default of 300 it drops entries at random.
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

#: The Redis of ``--ws``. Empty without that option.
REDIS_URL = os.environ.get("DEMO_REDIS", "")

if REDIS_URL:
    # First, so that ``runserver`` is the command of Daphne, which serves websockets, too.
    INSTALLED_APPS.insert(0, "daphne")
    ASGI_APPLICATION = "demo.asgi.application"
    ASYNC_DOWNLOADS_WS_MODE = True
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # The layer waits up to five seconds for a message. The timeout must be longer.
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

#: A person cannot start more at a time. The home page says so.
ASYNC_DOWNLOADS_MAX_ACTIVE = 5

#: Members of a group see and fetch what the group owns.
ASYNC_DOWNLOADS_MEMBERS = "demo.shop.people.teams_of"

#: "Keep for longer" goes up to a week after the end of a download.
ASYNC_DOWNLOADS_MAX_LIFETIME = 7 * 24 * 60 * 60

#: A person who waited for less is probably still on the page.
ASYNC_DOWNLOADS_NOTIFY_AFTER = 15
ASYNC_DOWNLOADS_SITE_URL = os.environ.get("DEMO_URL", "http://127.0.0.1:8000")

METRICS_INSTALLED = find_spec("prometheus_client") is not None

# ``python -m demo`` makes the folder, and sets the variable for the web server and the cluster.
if METRICS_INSTALLED and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    ASYNC_DOWNLOADS_METRICS = "prometheus"

# E-mails become files in this folder.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = VAR / "mail"

# Without DEBUG, Django itself would send errors only to ADMINS.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR"}},
}

MEDIA_ROOT = VAR / "media"
STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
