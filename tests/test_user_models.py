"""Any user model works: without staff, without permissions, without passwords, without names."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

import async_downloads
from async_downloads import cache
from async_downloads.models import Download, FetchRecord
from tests.pace import LONGEST_WAIT

MODELS: Final = {
    "without staff": """
        class Person(AbstractBaseUser):
            email = models.EmailField(unique=True)
            USERNAME_FIELD = "email"
    """,
    "staff without permissions": """
        class Person(AbstractBaseUser):
            email = models.EmailField(unique=True)
            is_staff = models.BooleanField(default=True)
            is_active = models.BooleanField(default=True)
            USERNAME_FIELD = "email"
    """,
    "permissions without staff": """
        class Person(AbstractBaseUser, PermissionsMixin):
            email = models.EmailField(unique=True)
            is_superuser = True
            USERNAME_FIELD = "email"
    """,
    "no base of Django's": """
        class Person(models.Model):
            email = models.EmailField(unique=True)
            is_anonymous, is_authenticated, is_active = False, True, True
            USERNAME_FIELD, REQUIRED_FIELDS = "email", []

            def get_username(self):
                return self.email

            def get_session_auth_hash(self):  # needed since Django 6.1
                return "the same for all"
    """,
}

IMPORTS: Final = """
from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin
from django.db import models
"""

SITE: Final = """
import sys
from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    AUTH_USER_MODEL="people.Person",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "people", "django_q", "async_downloads"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                "OPTIONS": {"context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth"]}}],
    Q_CLUSTER={"orm": "default", "timeout": 60, "retry": 120},
    MEDIA_ROOT="media",
    ROOT_URLCONF="people.urls",
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
)

import uuid
import django

django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from async_downloads import cache
from async_downloads.models import Download

call_command("check")
call_command("migrate", run_syncdb=True, verbosity=0)
people = get_user_model()._base_manager
owner, other = people.create(email="ada@x.example"), people.create(email="bo@x.example")
assert cache.get_username(owner) == cache.get_username("ada@x.example") == "ada@x.example"


def status(client, name, *args, method="get", **data):
    url = reverse(f"async_downloads:{name}", args=args)
    headers = {"HX-Request": data.pop("htmx", "")}
    answer = getattr(client, method)(url, data, headers=headers)
    answer.close()
    return answer.status_code


for who in (owner, other, None):
    _, key = cache.init_download(owner, "orders.csv")
    cache.save_download(key, [["a", 1]])
    client = Client()
    if who is not None:
        client.force_login(who, "django.contrib.auth.backends.ModelBackend")
    print(
        status(client, "download", uuid.uuid4()),
        status(client, "download", key),
        status(client, "download_list"),
        status(client, "ajax_update"),
        status(client, "ajax_update", htmx="true"),
        status(client, "ajax_clear_download", method="post", download_key=key),
        status(client, "clear_finished", method="post"),
        Download.objects.filter(pk=key).exists(),
    )

request = RequestFactory().get("/")
request.user = owner
print("data-version" in render_to_string("async_downloads/download_centre.html", {}, request))
"""


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_urls_need_no_more_of_a_user_than_django(model: str, tmp_path: Path) -> None:
    package = tmp_path / "people"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(IMPORTS + textwrap.dedent(model))
    (package / "urls.py").write_text(
        "from django.urls import include, path\n"
        "urlpatterns = [path('downloads/', include('async_downloads.urls'))]\n"
    )
    root = Path(async_downloads.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SITE],
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "404 200 200 200 200 200 302 False",
        "404 404 200 200 200 404 302 True",
        "302 302 302 302 200 302 302 True",
        # The page has the menu.
        "True",
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("name", "text"), [(491512345, "491512345"), (None, "")], ids=str)
@pytest.mark.parametrize("filename", ["orders.xlsx", "orders.ods"])
def test_the_name_of_a_user_may_be_a_number_or_missing(
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    signed_in: Client,
    user: Any,
    name: Any,
    text: str,
    filename: str,
) -> None:
    """Workbooks and the ledger have the name as text."""
    settings.ASYNC_DOWNLOADS_AUDIT = True
    monkeypatch.setattr(get_user_model(), "get_username", lambda self: name)
    assert cache.get_username(user) == text
    _, key = cache.init_download(user, filename)
    cache.save_download(key, [["a", 1]])
    download = Download.objects.get()
    assert download.complete, download.error_detail
    [listed] = signed_in.get(reverse("async_downloads:ajax_update")).json()["downloads"]
    assert listed["user"] == text
    assert b"".join(signed_in.get(download.url))
    record = FetchRecord.objects.get()
    assert (record.user_name, record.owner) == (text, text)
