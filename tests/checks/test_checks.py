"""All system checks together, through Django's command, on sites with every mistake.

Each kind of check has its own module of tests. Nothing there is marked django_db,
so a check that queries a database fails.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from tests.demo.commands import ROOT, run

CHECKS = "".join(path.read_text() for path in (ROOT / "async_downloads/checks").glob("*.py"))

#: Settings modules and the ids that they must report. Mistakes that exclude each other are apart.
SITES = {
    """
    ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = "downloads"
    ASYNC_DOWNLOADS_CACHE_NAME = "nowhere"
    ASYNC_DOWNLOADS_CSS_CLASS = ["wide"]
    ASYNC_DOWNLOADS_TIMEOUT = 0
    ASYNC_DOWNLOADS_TIMOUT = 3600
    ASYNC_DOWNLOADS_PATH_PREFIX = "/srv/downloads"
    ASYNC_DOWNLOADS_MAY_FETCH = "shop.no_such_function"
    ASYNC_DOWNLOADS_MAY_START = "shop.no_such_function"
    ASYNC_DOWNLOADS_AUDIT = "off"
    ASYNC_DOWNLOADS_AUDIT_ADDRESS = "shop.no_such_function"
    ASYNC_DOWNLOADS_MEMBERS = "shop.no_such_function"
    ASYNC_DOWNLOADS_RESCUE = "off"
    ASYNC_DOWNLOADS_STORAGE = "nowhere"
    ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = "every now and then"
    ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "no_such_template.html"
    ASYNC_DOWNLOADS_METRICS = "statsd"
    ASYNC_DOWNLOADS_WS_MODE = True
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    DATABASES["default"]["OPTIONS"] = {}
    MIDDLEWARE = []
    Q_CLUSTER = {"orm": "nowhere", "sync": True}
    ROOT_URLCONF = "django.contrib.auth.urls"
    TEMPLATES[0]["OPTIONS"] = {}
    """: "E001 E002 E003 E004 E006 E007 E010 E011 E012 E013 E014 E019 E020 E021 E024 E025 "
    "W001 W002 W003 W004 W009 W010 W011 W013 W014",
    """
    ASGI_APPLICATION = "demo.asgi.django_application"
    ASYNC_DOWNLOADS_MAX_LIFETIME = 3600
    ASYNC_DOWNLOADS_SERVE = "nginx"
    ASYNC_DOWNLOADS_WS_MODE = True
    CACHES["default"] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    CHANNEL_LAYERS = {}
    MEDIA_URL = "/media/"
    """: "E005 E008 W005 W007 W012 W016",
    """
    ASYNC_DOWNLOADS_AUDIT_ADDRESS = "async_downloads.audit.remote_network"
    MEDIA_ROOT = ""
    """: "W015 W019",
    """
    import sys
    ASYNC_DOWNLOADS_METRICS = "opentelemetry"
    sys.modules["opentelemetry"] = None
    """: "E022",
    """
    import os
    ASYNC_DOWNLOADS_METRICS = "prometheus"
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/no/such/folder"
    """: "E023",
    """
    ASYNC_DOWNLOADS_METRICS = "prometheus"
    """: "W020",
    """
    ASYNC_DOWNLOADS_SERVE = "redirect"
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",
    }
    """: "E009 W006",
    """
    STORAGES = {
        "default": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {"bucket_name": "shop"},
        },
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    """: "W008",
    """
    ASYNC_DOWNLOADS_NOTIFY_AFTER = 300
    ASYNC_DOWNLOADS_SITE_URL = "shop.example.org"
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    """: "E017 W017",
    """
    ASYNC_DOWNLOADS_NOTIFY_AFTER = 300
    ASYNC_DOWNLOADS_SITE_URL = ""
    TEMPLATES[0]["DIRS"] = [VAR]
    TEMPLATES[0]["APP_DIRS"] = False
    """: "E011 E016 E018",
}


def messages(*, deploy: bool = False) -> list[CheckMessage]:
    return run_checks(tags=["async_downloads"], include_deployment_checks=deploy)


def ids(*, deploy: bool = False) -> list[str]:
    reported = messages(deploy=deploy)
    # Each message comes with a hint.
    assert all(message.hint and message.msg for message in reported)
    return sorted(str(message.id).removeprefix("async_downloads.") for message in reported)


def ids_in(text: str) -> set[str]:
    """Return the ids of this app in the output of Django's command."""
    return set(re.findall(r"\(async_downloads\.([EW]\d{3})\)", text))


def test_the_settings_of_the_tests_pass() -> None:
    assert ids() == []


def test_the_defaults_with_a_shared_cache_pass(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert ids(deploy=True) == []


def test_djangos_command_runs_the_checks(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = -1
    with pytest.raises(SystemCheckError, match=r"async_downloads\.E003") as failed:
        call_command("check")
    assert "ASYNC_DOWNLOADS_TIMEOUT is -1" in str(failed.value)


@pytest.mark.long
@pytest.mark.parametrize("body", SITES, ids=SITES.values())
def test_each_mistake_of_a_site_is_reported(tmp_path: Path, body: str) -> None:
    lines = "\n".join(line.removeprefix("    ") for line in body.splitlines())
    (tmp_path / "wrong.py").write_text(f"from demo.settings import *\n{lines}\n")
    checked = run(
        *("-m", "django", "check", "--deploy"),
        DJANGO_SETTINGS_MODULE="wrong",
        PYTHONPATH=f"{ROOT}:{tmp_path}",
        DEMO_VAR=str(tmp_path),
    )
    assert ids_in(checked.stderr) == set(SITES[body].split()), checked.stderr


#: The mistakes of a ModelAdmin and of a user model, not of settings.
OF_CLASSES = {"E015", "W018"}


def test_these_sites_cover_every_check() -> None:
    checked = set(re.findall(r"async_downloads\.([EW]\d{3})", CHECKS))
    of_sites = {name for names in SITES.values() for name in names.split()}
    assert of_sites | OF_CLASSES == checked


@pytest.mark.long
@pytest.mark.parametrize("environ", [{}, {"DEMO_REDIS": "redis://127.0.0.1:1/0"}], ids=str)
def test_the_demo_passes(tmp_path: Path, environ: dict[str, str]) -> None:
    checked = run(
        *("-m", "django", "check", "--deploy"),
        DJANGO_SETTINGS_MODULE="demo.settings",
        DEMO_VAR=str(tmp_path),
        **environ,
    )
    assert checked.returncode == 0
    # The checks did run: Django warns about a demo in production.
    assert "security.W" in checked.stderr
    assert "async_downloads" not in checked.stderr


@pytest.mark.django_db
def test_no_check_queries_the_database(
    settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "database"
    settings.ASYNC_DOWNLOADS_CLEANUP_SCHEDULE = "0 3 * * *"
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    settings.ASGI_APPLICATION = "demo.asgi.application"
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    own_checks = [
        check
        for check in {*registry.registered_checks, *registry.deployment_checks}
        if check.__module__.startswith("async_downloads.")
    ]
    assert len(own_checks) == 20
    with django_assert_num_queries(0):
        for check in own_checks:
            list(check(app_configs=None))
