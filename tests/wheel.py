"""Checks of a built wheel and of its installation, which ``nox -s wheel`` runs."""

import sys
import tempfile
import zipfile
from pathlib import Path

NEEDED = (
    "async_downloads/py.typed",
    "async_downloads/migrations/0001_initial.py",
    "async_downloads/locale/de/LC_MESSAGES/django.mo",
    "async_downloads/static/css/async_downloads.css",
    "async_downloads/static/css/async_downloads_export.css",
    "async_downloads/static/js/async_downloads.js",
    "async_downloads/static/js/async_downloads_centre.js",
    "async_downloads/static/js/async_downloads_list.js",
    "async_downloads/static/js/ws_async_downloads.js",
    "async_downloads/templates/async_downloads/admin/change_list.html",
    "async_downloads/templates/async_downloads/download_centre.html",
    "async_downloads/templates/async_downloads/downloads.html",
    "async_downloads/templatetags/async_downloads.py",
    "async_downloads/management/commands/adopt_downloads.py",
    "async_downloads/management/commands/cleanup_downloads.py",
    "async_downloads/executors/threads.py",
    "async_downloads/testing/conformance.py",
)


def contents(path: str) -> None:
    """Check that the wheel has what a site needs, and nothing from the demo and the tests."""
    names = zipfile.ZipFile(path).namelist()
    lacking = [name for name in NEEDED if name not in names]
    strangers = [n for n in names if not n.startswith(("async_downloads/", "django_async_downl"))]
    if lacking or strangers:
        sys.exit(f"The wheel lacks {lacking} and has besides {strangers}.")
    print(f"{Path(path).name}: {len(names)} files, nothing missing, nothing besides")


def try_it() -> None:
    """Export, fetch and clear with the installed package, without extras."""
    import django
    from django.conf import settings

    with tempfile.TemporaryDirectory() as folder:
        settings.configure(
            SECRET_KEY="trial",
            ROOT_URLCONF="async_downloads.urls",
            INSTALLED_APPS=[
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django_q",
                "async_downloads",
            ],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db"}},
            Q_CLUSTER={"orm": "default", "timeout": 60, "retry": 120},
            MEDIA_ROOT=folder,
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        import async_downloads
        from async_downloads import cache
        from async_downloads.models import Download

        call_command("migrate", verbosity=0)
        user = get_user_model().objects.create_user("ada")
        _, key = cache.init_download(user, "numbers.csv")
        cache.save_download(key, ([number, number**2] for number in range(1000)))
        download = Download.objects.get()
        assert download.complete, download.error_detail
        assert Path(folder, download.filepath).read_text().count("\n") == 1000
        _, key = cache.init_download(user, "numbers.xlsx")
        cache.save_download(key, ([number, number**2] for number in range(1000)))
        download = Download.objects.get(pk=key)
        assert download.complete, download.error_detail
        assert zipfile.is_zipfile(Path(folder, download.filepath))
        call_command("cleanup_downloads", "--dry-run")
        refused = ""
        try:
            import async_downloads.testing
        except ImportError as error:
            refused = str(error)
        assert "django-async-downloads[testing]" in refused, refused
        print(f"{async_downloads.__version__} from {Path(async_downloads.__file__).parent} works")


if __name__ == "__main__":
    contents(sys.argv[2]) if sys.argv[1] == "contents" else try_it()
