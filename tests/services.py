"""The services that the tests can use, and whether they are available.

Servers are expected on their usual loopback ports, or at TEST_POSTGRES_URL, TEST_MARIADB_URL
and TEST_REDIS_URL; a browser in the PATH, or at TEST_CHROMIUM or TEST_FIREFOX. Other services are
not servers:

- "webkit" is WebKitGTK with its WebDriver, and Xvfb.
- "redis-server", "nginx", "apache" (with mod_xsendfile) and "prometheus" are programs that tests
  start.
- "faketime" is libfaketime, which gives a process another clock.
- "root" is the permission to mount a small disk that can be filled.
- "front-end" is the npm packages axe-core, Bootstrap 4 and 5, and Tailwind in TEST_NODE_MODULES.
- "old-package" is the wheels of a site on 0.6.0, which is then upgraded, in TEST_OLD_PACKAGE.

The services in TESTS_REQUIRE (such as "postgres,mariadb,redis,chromium") must be available.
"""

import os
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

DEFAULT_URLS = {
    "postgres": "postgresql://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
    "redis": "redis://127.0.0.1:6379/0",
}
ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}
SERVICES = (
    *("postgres", "mariadb", "redis", "chromium", "firefox", "webkit"),
    *("redis-server", "nginx", "apache", "prometheus", "faketime", "root", "front-end"),
    "old-package",
)

#: The arguments of Chromium.
CHROMIUM_ARGUMENTS = [
    # Chromium's own sandbox does not start for root, as in most containers.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

#: The packages of a site on 0.6.0, with the last Django of its time.
OLD_PACKAGE = ("django-async-downloads==0.6.0", "django~=4.2.0", "django-sekizai")


def url(service: str) -> SplitResult:
    """Return the URL at which a server is expected."""
    return urlsplit(os.environ.get(f"TEST_{service.upper()}_URL", DEFAULT_URLS[service]))


def redis_url() -> str:
    """Return the URL at which Redis is expected, as text."""
    return url("redis").geturl()


def chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return browser("TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome")


def firefox() -> str | None:
    """Return the path of an installed Firefox."""
    return browser("TEST_FIREFOX", "firefox-esr", "firefox")


def browser(variable: str, *names: str) -> str | None:
    """Return the path of the browser that an environment variable names, or of the first found."""
    named = os.environ.get(variable)
    paths = map(shutil.which, [named] if named else names)
    return next(filter(None, paths), None)


def minibrowser() -> Path | None:
    """Return the path of WebKitGTK's own browser."""
    return next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)


def node_modules() -> Path:
    """Return the folder in which npm packages are expected."""
    return Path(os.environ.get("TEST_NODE_MODULES", "node_modules"))


def old_wheels() -> Path:
    """Return the folder in which the wheels of a site on 0.6.0 are expected."""
    return Path(os.environ.get("TEST_OLD_PACKAGE", ".nox/old-package")).absolute()


def nginx() -> str | None:
    """Return the path of an installed nginx, which may not be in the PATH."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def apache() -> str | None:
    """Return the path of an installed Apache with mod_xsendfile."""
    paths = map(shutil.which, ("apache2", "httpd", "/usr/sbin/apache2", "/usr/sbin/httpd"))
    program = next(filter(None, paths), None)
    return program if program and (apache_modules() / "mod_xsendfile.so").is_file() else None


def apache_modules() -> Path:
    """Return the folder of Apache's modules, relative to its program."""
    program = shutil.which("apache2") or shutil.which("httpd") or "/usr/sbin/apache2"
    root = Path(program).parent.parent
    folders = [root / "lib/apache2/modules", root / "lib64/httpd/modules"]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def faketime() -> Path | None:
    """Return the path of an installed libfaketime for processes with threads."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def available(service: str) -> bool:
    """Return whether a service is available."""
    if service in _LOCAL:
        return _LOCAL[service]()
    parts = url(service)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=1):
            return True
    except OSError:
        return False


#: Services that are not servers, with their checks.
_LOCAL = {
    "front-end": lambda: (node_modules() / "axe-core").is_dir(),
    "old-package": lambda: any(old_wheels().glob("django_async_downloads-0.6.0-*.whl")),
    "chromium": lambda: chromium() is not None,
    "firefox": lambda: firefox() is not None,
    "webkit": lambda: (
        minibrowser() is not None and all(map(shutil.which, ("WebKitWebDriver", "Xvfb")))
    ),
    "redis-server": lambda: shutil.which("redis-server") is not None,
    "nginx": lambda: nginx() is not None,
    "apache": lambda: apache() is not None,
    "prometheus": lambda: shutil.which("prometheus") is not None,
    "faketime": lambda: faketime() is not None,
    "root": lambda: os.geteuid() == 0,
}


def required() -> set[str]:
    """Return the services that must be available."""
    return {name for name in os.environ.get("TESTS_REQUIRE", "").split(",") if name}


def database_settings(database: str, folder: Path) -> dict[str, Any]:
    """Return Django's settings for a kind of database."""
    if database == "sqlite":
        path = folder / "db.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            # A file, because threads and processes of the tests share it.
            "TEST": {"NAME": folder / "test.sqlite3"},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    parts = url(database)
    return {
        "ENGINE": ENGINES[database],
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port,
        "TEST": {"NAME": f"async_downloads_tests_{os.getpid()}"},
        **({"OPTIONS": {"charset": "utf8mb4"}} if database == "mariadb" else {}),
    }
