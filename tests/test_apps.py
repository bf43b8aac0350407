"""The app: its receivers, its checks and its imports."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.checks.registry import registry
from django.db.models.signals import post_delete, post_migrate, post_save

import async_downloads
from async_downloads import receivers
from async_downloads.models import Download
from async_downloads.signals import download_changed
from tests.pace import LONGEST_WAIT

#: The settings of a minimal site, which runs in its own process.
PRELUDE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = @BLOCKED@
sys.meta_path.insert(0, Blocker())

from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.messages", "django.contrib.sessions",
                    "django.contrib.admin", "async_downloads"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                 "OPTIONS": {"context_processors": [
                     "django.template.context_processors.request",
                     "django.contrib.auth.context_processors.auth",
                     "django.contrib.messages.context_processors.messages"]}}],
    MEDIA_ROOT="@MEDIA@",
    ROOT_URLCONF="async_downloads_site",
    USE_TZ=True,
)

import types
import django

django.setup()
site = sys.modules["async_downloads_site"] = types.ModuleType("async_downloads_site")
from django.urls import include, path
site.urlpatterns = [path("downloads/", include("async_downloads.urls"))]
"""

IMPORT_ALL = """
import importlib
import pkgutil
import async_downloads

for module in pkgutil.walk_packages(async_downloads.__path__, "async_downloads."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        print(f"{module.name}: {error.name}")
    else:
        assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""

EXPORT = """
import io
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.contrib.auth.models import User
from async_downloads import cache
from async_downloads.models import Download
from async_downloads.shortcuts import init_generic_csv_download

class Task:
    def enqueue(self, key):
        cache.save_download(key, [["a", 1]])

call_command("migrate", verbosity=0)
user = User.objects.create_user("ada")
_, key = init_generic_csv_download(Task(), user, "Orders")
download = Download.objects.get(pk=key)
print(download.state, default_storage.open(download.filepath).read())
call_command("cleanup_downloads", stdout=io.StringIO())
"""

OPTIONAL = {
    *("channels", "channels_redis", "celery", "django_q"),
    *("django_tasks", "django_tasks_db", "pytest", "pytest_django"),
    *("prometheus_client", "opentelemetry"),
}


def in_new_process(code: str, tmp_path: Path, *, blocked: set[str]) -> str:
    prelude = PRELUDE.replace("@BLOCKED@", repr(blocked)).replace("@MEDIA@", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
        # The root of this package, so that an installed one is not imported instead.
        cwd=Path(async_downloads.__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def connected(signal: Any, receiver: Any, sender: Any = None) -> int:
    # The second list holds the coroutines.
    return sum(live is receiver for live in signal._live_receivers(sender)[0])


def test_nothing_in_ready_touches_the_database() -> None:
    # Not marked django_db, so a query fails the test.
    apps.get_app_config("async_downloads").ready()


def test_each_receiver_is_connected_once_however_often_the_app_is_ready() -> None:
    config = apps.get_app_config("async_downloads")
    for _ in range(2):
        config.ready()
        assert connected(post_delete, receivers.discard_deleted, Download) == 1
        assert connected(download_changed, receivers.push_hint) == 1
        assert connected(user_logged_out, receivers.push_signed_out) == 1
        for signal in (post_save, post_delete):
            assert connected(signal, receivers.push_user_change, get_user_model()) == 1
        assert connected(post_migrate, receivers.install_schedules, config) == 1


def test_the_checks_are_registered() -> None:
    names = {check.__name__ for check in registry.registered_checks}
    assert names >= {
        "check_settings",
        "check_websockets",
        "check_site",
        "check_queue",
        "check_sqlite",
    }
    # A check that only production needs runs only there.
    deployment = {check.__name__ for check in registry.deployment_checks}
    assert "check_cache_is_shared" in deployment - names


def test_the_app_has_a_name_and_an_auto_field() -> None:
    config = apps.get_app_config("async_downloads")
    assert config.verbose_name == "Downloads"
    assert config.default_auto_field == "django.db.models.BigAutoField"


def test_only_the_modules_of_optional_packages_need_them(
    tmp_path: Path,
) -> None:
    assert in_new_process(IMPORT_ALL, tmp_path, blocked=OPTIONAL).splitlines() == [
        "async_downloads.metrics.opentelemetry: opentelemetry",
        "async_downloads.metrics.prometheus: prometheus_client",
        "async_downloads.routing: channels",
        "async_downloads.testing: pytest",
        "async_downloads.ws_consumers: channels",
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "blocked",
    [OPTIONAL, {"channels"}, {"celery"}, {"django_q"}, set()],
    ids=lambda names: "+".join(sorted(names)) or "none",
)
def test_a_site_without_the_optional_packages_exports_and_cleans_up(
    tmp_path: Path, blocked: set[str]
) -> None:
    assert in_new_process(EXPORT, tmp_path, blocked=blocked) == "complete b'a,1\\n'\n"


def test_importing_the_package_does_not_import_django() -> None:
    # A tool that only reads the version has not set Django up.
    code = "import async_downloads, sys; assert 'django' not in sys.modules"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        timeout=LONGEST_WAIT,
        cwd=Path(async_downloads.__file__).parent.parent,
    )
