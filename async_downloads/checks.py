"""System checks: what is misconfigured, told before somebody's export finds out.

None of them touches a database or a cache server.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.urls import NoReverseMatch, reverse

from async_downloads import entries, files, rights, serving, settings
from async_downloads.models import Download

__all__ = ["register_all"]

TAG: Final = "async_downloads"

#: Settings that are numbers above 0, and whether they may be None as well.
NUMBERS: Final = {
    "TIMEOUT": True,
    "STALLED_AFTER": False,
    "MAX_ATTEMPTS": False,
    "IN_MEMORY_MAX_SIZE_BYTES": False,
    "MAX_ACTIVE": True,
    "MAX_BYTES": True,
    "MAX_ROWS": True,
}

#: Those of them that count something.
WHOLE_NUMBERS: Final = {"MAX_ACTIVE", "MAX_BYTES", "MAX_ROWS"}


def register_all() -> None:
    """Register every check of this module; called once, when the app is ready."""
    for check in (check_settings, check_rights, check_websockets, check_site):
        register(check, TAG)
    for check in (check_queue, check_sqlite):
        register(check, TAG)
    register(check_storage, TAG)
    for check in (check_cache_is_shared, check_cache_time_limits, check_files_are_kept):
        register(check, TAG, deploy=True)


def check_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E001 to E004: values that cannot work."""
    return [
        Error(f"ASYNC_DOWNLOADS_{name} is {getattr(settings, name)!r}.", hint=hint, id=check_id)
        for name, hint, check_id in _wrong_settings()
    ]


def _wrong_settings() -> Iterator[tuple[str, str, str]]:
    if not _makes_distinct_keys(settings.COLLECTION_KEY_FORMAT):
        hint = 'It must be text with a "{}" for the owner, such as "async_downloads/{}".'
        yield "COLLECTION_KEY_FORMAT", hint, "async_downloads.E001"
    if settings.CACHE_NAME and settings.CACHE_NAME not in project_settings.CACHES:
        hint = f"It must be one of the aliases in CACHES: {', '.join(project_settings.CACHES)}."
        yield "CACHE_NAME", hint, "async_downloads.E002"
    for name, may_be_none in NUMBERS.items():
        value = getattr(settings, name)
        whole = name in WHOLE_NUMBERS
        if not (may_be_none and value is None) and not _is_positive(value, whole=whole):
            hint = f"It must be a {'whole ' if whole else ''}number above 0."
            yield name, hint, "async_downloads.E003"
    prefix = settings.PATH_PREFIX
    if not isinstance(prefix, str) or prefix.startswith("/") or ".." in prefix.split("/"):
        hint = 'It must be a folder inside the storage, such as "downloads".'
        yield "PATH_PREFIX", hint, "async_downloads.E004"


def _makes_distinct_keys(key_format: object) -> bool:
    try:
        return isinstance(key_format, str) and key_format.format("a") != key_format.format("b")
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _is_positive(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or (whole and not isinstance(value, int)):
        return False
    return isinstance(value, (int, float)) and value > 0


def check_rights(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E006: a function that cannot be asked, so that nobody would get a file."""
    if not settings.MAY_FETCH:
        return []
    try:
        rights.site_function()
    except Exception as error:  # noqa: BLE001 (an import runs the site's own code)
        return [
            Error(
                f"ASYNC_DOWNLOADS_MAY_FETCH is {settings.MAY_FETCH!r}: {error}",
                hint="It must be the dotted path of a function that takes a user and a download, "
                'such as "shop.rights.may_fetch". Until it is, every file is refused.',
                id="async_downloads.E006",
            )
        ]
    return []


def check_websockets(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E005: pushes without anything to push through."""
    if not settings.WS_MODE:
        return []
    if find_spec("channels") is None:
        return [
            Error(
                "ASYNC_DOWNLOADS_WS_MODE is on, but channels is not installed.",
                hint='Install it with: pip install "django-async-downloads[ws]".',
                id="async_downloads.E005",
            )
        ]
    if not getattr(project_settings, "CHANNEL_LAYERS", None):
        return [
            Error(
                "ASYNC_DOWNLOADS_WS_MODE is on, but there is no channel layer.",
                hint="Set CHANNEL_LAYERS, for example to channels_redis.core.RedisChannelLayer.",
                id="async_downloads.E005",
            )
        ]
    return []


def check_site(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W001 and W002: URLs or context processors that the download centre needs."""
    messages: list[CheckMessage] = []
    if not _urls_included():
        messages.append(
            CheckWarning(
                "The URLs of async_downloads are not included.",
                hint='Add path("async_downloads/", include("async_downloads.urls")) '
                "to the URLconf named by ROOT_URLCONF.",
                id="async_downloads.W001",
            )
        )
    needed = {
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
    }
    engines: list[dict[str, Any]] = project_settings.TEMPLATES
    found = {
        processor
        for engine in engines
        for processor in engine.get("OPTIONS", {}).get("context_processors", ())
    }
    if not needed & found:
        messages.append(
            CheckWarning(
                "No template engine tells the download centre who looks at the page.",
                hint=f"Add {sorted(needed)[1]} to the context_processors in TEMPLATES.",
                id="async_downloads.W002",
            )
        )
    return messages


def _urls_included() -> bool:
    if not getattr(project_settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("async_downloads:ajax_update")
    except NoReverseMatch:
        return False
    return True


def check_queue(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W003: a django-q2 that starts a task again while it is still running."""
    if not apps.is_installed("django_q"):
        return []
    cluster = getattr(project_settings, "Q_CLUSTER", {})
    retry, timeout = cluster.get("retry"), cluster.get("timeout")
    if retry and timeout and retry > timeout:
        return []
    return [
        CheckWarning(
            f"Q_CLUSTER has retry={retry!r} and timeout={timeout!r}, so that django-q2 starts "
            "a long export a second time while the first is running, or never stops one.",
            hint="Set both, with timeout above the longest export and retry above timeout.",
            id="async_downloads.W003",
        )
    ]


def check_sqlite(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W004: an SQLite that answers "database is locked" as soon as two processes write."""
    connection = connections[router.db_for_write(Download)]
    if connection.vendor != "sqlite":
        return []
    options = connection.settings_dict.get("OPTIONS", {})
    immediate = str(options.get("transaction_mode", "")).upper() in {"IMMEDIATE", "EXCLUSIVE"}
    wal = "journal_mode=wal" in str(options.get("init_command", "")).lower().replace(" ", "")
    if immediate and wal:
        return []
    return [
        CheckWarning(
            "SQLite is not set up for a web process and a worker that write at the same time.",
            hint='Set OPTIONS to {"transaction_mode": "IMMEDIATE", '
            '"init_command": "PRAGMA journal_mode=WAL;"} for this database.',
            id="async_downloads.W004",
        )
    ]


def check_cache_is_shared(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W005: a cache that the worker does not share with the web processes."""
    if _wrong_cache() or entries.is_shared():
        return []
    return [
        CheckWarning(
            "The cache of async_downloads is not shared between processes, so that every poll "
            "reads the database.",
            hint="Point ASYNC_DOWNLOADS_CACHE_NAME at a shared cache, such as Redis, Memcached, "
            "a database cache or a file-based one.",
            id="async_downloads.W005",
        )
    ]


def check_cache_time_limits(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W006: a Redis that hangs would hold up every request and export for as long as it likes."""
    alias = settings.CACHE_NAME or "default"
    caches: dict[str, Any] = project_settings.CACHES
    found = caches.get(alias, {})
    if found.get("BACKEND") != "django.core.cache.backends.redis.RedisCache":
        return []
    limits = ("socket_timeout", "socket_connect_timeout")
    missing = [name for name in limits if not found.get("OPTIONS", {}).get(name)]
    if not missing:
        return []
    return [
        CheckWarning(
            f"The cache {alias!r} has no {' and no '.join(missing)}, so that a Redis that hangs "
            "holds up whoever asks it.",
            hint=f"Set both in the OPTIONS of CACHES[{alias!r}], to a second for example.",
            id="async_downloads.W006",
        )
    ]


def _wrong_cache() -> bool:
    return bool(settings.CACHE_NAME) and settings.CACHE_NAME not in project_settings.CACHES


def check_storage(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E007 to E009: a storage that there is not, or a way of serving that cannot work with it."""
    try:
        files.storage()
    except (ImproperlyConfigured, TypeError) as error:
        return [
            Error(
                f"The storage {settings.STORAGE!r} cannot be used: {error}",
                hint="Let ASYNC_DOWNLOADS_STORAGE be one of the aliases in STORAGES: "
                f"{', '.join(project_settings.STORAGES)}.",
                id="async_downloads.E007",
            )
        ]
    if settings.SERVE not in serving.WAYS:
        return [
            Error(
                f"ASYNC_DOWNLOADS_SERVE is {settings.SERVE!r}.",
                hint=f"It must be one of: {', '.join(serving.WAYS)}.",
                id="async_downloads.E008",
            )
        ]
    problem = _misfit()
    return [] if problem is None else [Error(*problem, id="async_downloads.E009")]


def _misfit() -> tuple[str, str] | None:
    """Return why files cannot be served in the way that is set, and what to do about it."""
    way, location = settings.SERVE, settings.SERVE_LOCATION
    if way in ("x-accel", "x-sendfile") and files.root() is None:
        said = f"ASYNC_DOWNLOADS_SERVE is {way!r}, but the storage is no folder of this machine."
        return said, 'Use "redirect" or "stream".'
    if way == "x-accel" and not (
        isinstance(location, str) and location.startswith("/") and location.endswith("/")
    ):
        said = f"ASYNC_DOWNLOADS_SERVE_LOCATION is {location!r}."
        return said, "It must begin and end with a slash, as the location of nginx does."
    if way == "redirect" and not files.signs_urls():
        said = 'ASYNC_DOWNLOADS_SERVE is "redirect", but the URLs of the storage are not signed.'
        return said, "Use a storage that signs them: on S3, querystring_auth without custom_domain."
    return None


def check_files_are_kept(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W007 and W008: files that anybody can fetch, or that are read into memory whole."""
    try:
        kept_in: Any = files.storage()
    except (ImproperlyConfigured, TypeError):
        # E007 tells.
        return []
    if _is_published():
        return [
            CheckWarning(
                "Downloads lie in MEDIA_ROOT, so that whoever knows a path may fetch them under "
                f"{project_settings.MEDIA_URL}, past the check of their owner.",
                hint="Let ASYNC_DOWNLOADS_STORAGE be a storage outside MEDIA_ROOT; or, if the web "
                f"server refuses {settings.PATH_PREFIX}/ there, silence this.",
                id="async_downloads.W007",
            )
        ]
    if settings.SERVE == "stream" and files.is_s3(kept_in) and not kept_in.max_memory_size:
        return [
            CheckWarning(
                "Django would read each file of S3 into memory, whole, before it sends it.",
                hint='Set ASYNC_DOWNLOADS_SERVE = "redirect", or max_memory_size in the OPTIONS '
                "of the storage.",
                id="async_downloads.W008",
            )
        ]
    return []


def _is_published() -> bool:
    """Return whether the storage is a folder that MEDIA_URL stands for."""
    folder, media_root = files.root(), project_settings.MEDIA_ROOT
    # Where MEDIA_URL is not set it reads "/", and nothing is handed out.
    if folder is None or not media_root or project_settings.MEDIA_URL in ("", "/"):
        return False
    return folder.resolve().is_relative_to(Path(media_root).resolve())
