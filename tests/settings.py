"""The settings of the tests: one database, chosen by TEST_DATABASE, and every kind of cache."""

import atexit
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests import services

if os.environ.get("TEST_PSYCOPG") == "2":
    # Django uses the older driver only if it does not find the newer one.
    sys.modules["psycopg"] = None  # type: ignore[assignment]

DATABASE = os.environ.get("TEST_DATABASE", "sqlite")

SECRET_KEY = "tests"
DEBUG = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"

#: The folder of files and file-based databases of one test run.
VAR = Path(tempfile.mkdtemp(prefix="async-downloads-tests-"))
atexit.register(shutil.rmtree, VAR, ignore_errors=True)

DATABASES = {
    "default": services.database_settings(DATABASE, VAR),
    # A second database of the site.
    "elsewhere": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "elsewhere.sqlite3",
        "TEST": {"NAME": VAR / "test_elsewhere.sqlite3"},
    },
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
    "async_downloads",
    "tests.shop",
]

#: The module of Django's tasks, and the backend that keeps them in the database.
TASKS_PACKAGE = next((name for name in ("django.tasks", "django_tasks") if find_spec(name)), "")
if TASKS_PACKAGE and find_spec("django_tasks_db"):
    INSTALLED_APPS += ["django_tasks_db", *(["django_tasks"] if "." not in TASKS_PACKAGE else [])]
    TASKS = {
        "default": {"BACKEND": f"{TASKS_PACKAGE}.backends.immediate.ImmediateBackend"},
        "database": {"BACKEND": "django_tasks_db.DatabaseBackend"},
    }
    # Its many migrations would run for every database and every process of the tests.
    MIGRATION_MODULES = {"django_tasks_db": None}

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
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

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "database": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "tests_cache",
    },
    "file": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR / "cache",
    },
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": services.redis_url(),
        "OPTIONS": {"socket_timeout": 5, "socket_connect_timeout": 5},
        "KEY_PREFIX": f"async-downloads-tests-{os.getpid()}",
    },
}

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

Q_CLUSTER = {"name": "tests", "orm": "default", "timeout": 60, "retry": 120, "poll": 0.1}

# For Django 6.1 and later. In earlier versions the test runner sets the backend.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

MEDIA_ROOT = VAR / "media"
STATIC_URL = "/static/"
LOGIN_URL = "/admin/login/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
