"""The settings of this package.

``settings.TIMEOUT`` returns the project's ``ASYNC_DOWNLOADS_TIMEOUT``, or the
default below. A default that was returned stays an attribute of this module until Django
sends ``setting_changed``, as ``override_settings`` does.
"""

from typing import Any, Final

from django.conf import settings as project_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

PREFIX: Final = "ASYNC_DOWNLOADS_"

TIMEOUT: int | None
"""Seconds that a download lives after its last write, in the cache and as a row.

None keeps downloads until their owner clears them.
"""

MAX_LIFETIME: int | None
"""Seconds from its end for which an owner may keep a complete download, one lifetime at a time;
None if owners cannot keep downloads for longer.
"""

DOWNLOAD_TEMPLATE: str
"""The template that renders the list of downloads."""

PATH_PREFIX: str
"""The folder of the storage under which every file is kept."""

COLLECTION_KEY_FORMAT: str
"""How a collection key is made; ``{}`` becomes the owner's primary key."""

CACHE_NAME: str
"""The alias in ``CACHES`` to write through to; empty means ``"default"``."""

CSS_CLASS: str | None
"""An extra class for each item of the list."""

IN_MEMORY_MAX_SIZE_BYTES: int
"""Bytes of a partial file that stay in memory before it spools to disk."""

WS_MODE: bool
"""Whether changes are pushed to open pages over websockets."""

WS_CHANNEL_NAME: str
"""The first part of the names of the channel layer's groups."""

WS_URL: str
"""The URL at which a page opens its websocket, if the routes of ``ASGI_APPLICATION`` do not say.
As with ``STATIC_URL``, it is below the script prefix unless it begins with a slash or names a
host. It may contain ``{username}``.
"""

STALLED_AFTER: int
"""Seconds without a heartbeat after which an unfinished download has stalled."""

MAX_ATTEMPTS: int
"""Attempts at one download before it fails for good."""

RESCUE: bool
"""Whether a download whose worker has died is built by another one, and queued again if the
queue has lost its task.
"""

STUCK_AFTER: int | None
"""Seconds without progress after which staff see that a live attempt is not moving; None for
never.
"""

DATABASE_WAIT: float
"""Seconds that a worker waits for a database that is away, before it raises
``DownloadUnavailable``; 0 for not at all.
"""

CLEANUP_SCHEDULE: int | str | None
"""How often django-q2 runs the clean-up: minutes, or a cron expression; None for never."""

STORAGE: str
"""The alias in ``STORAGES`` of the storage that holds the files."""

SERVE: str
"""How a file is sent: ``"stream"`` by Django, ``"x-accel"`` by nginx, ``"x-sendfile"`` by
Apache or lighttpd, ``"redirect"`` to a signed URL of the storage.
"""

SERVE_LOCATION: str
"""The internal location of nginx for the storage's folder."""

MAX_ACTIVE: int | None
"""Downloads that one owner may have in progress at once; None for any number."""

MAX_BYTES: int | None
"""Bytes of one file, above which the export fails; None for any number."""

MAX_ROWS: int | None
"""Rows of one file, the header included, above which the export fails; None for any number."""

MAY_FETCH: str
"""The dotted path of a callable that may refuse a file to its owner; empty for none.

It is called with the user and the download at each request for a file.
"""

MAY_START: str
"""The dotted path of a callable that may refuse to build a download again; empty for none.

It is called with the user and the download when a person wants the file built again; and with
the owner, before a worker builds a file that ``start_downloads`` has started.
"""

AUDIT: bool
"""Whether each file that is handed out is recorded, in the ledger and in the log.

The record is written first; if that fails, the file is not handed out.
"""

AUDIT_ADDRESS: str
"""The dotted path of a callable for the address in the ledger; empty to keep none.

It is called with the request, and returns a text.
"""

MEMBERS: str
"""The dotted path of a callable that returns the teams of a user; empty for no teams.

It is called with the user when a request reads downloads. A team is a label or a saved model
instance to which ``init_download`` gives downloads.
"""

JSON_LIMIT: int
"""Downloads in one JSON response: the default and the maximum of ``limit``."""

NOTIFY_AFTER: int | None
"""Seconds after its request from which on the end of a download is mailed to its owner, if the
file is not fetched by then; None for no mails.
"""

SITE_URL: str
"""The address of the site for links in mails, such as ``"https://shop.example.org"``; empty for
that of ``django.contrib.sites``. If it has a path, that replaces the script prefix.
"""

METRICS: str
"""Where the numbers of downloads go: ``"prometheus"``, ``"opentelemetry"``, or nowhere if empty."""

ESCAPE_FORMULAS: bool
"""Whether text that a spreadsheet would run as a formula gets an apostrophe in front."""

DEFAULTS: Final[dict[str, Any]] = {
    "TIMEOUT": 60 * 60 * 24,
    "MAX_LIFETIME": None,
    "DOWNLOAD_TEMPLATE": "async_downloads/downloads.html",
    "PATH_PREFIX": "downloads",
    "COLLECTION_KEY_FORMAT": "async_downloads/{}",
    "CACHE_NAME": "",
    "CSS_CLASS": None,
    "IN_MEMORY_MAX_SIZE_BYTES": 5_000_000,
    "WS_MODE": False,
    "WS_CHANNEL_NAME": "downloads",
    "WS_URL": "",
    "STALLED_AFTER": 120,
    "MAX_ATTEMPTS": 3,
    "RESCUE": True,
    "STUCK_AFTER": None,
    "DATABASE_WAIT": 60,
    "CLEANUP_SCHEDULE": 60,
    "STORAGE": "default",
    "SERVE": "stream",
    "SERVE_LOCATION": "/async_downloads_files/",
    "MAX_ACTIVE": None,
    "MAX_BYTES": None,
    "MAX_ROWS": None,
    "MAY_FETCH": "",
    "MAY_START": "",
    "AUDIT": False,
    "AUDIT_ADDRESS": "",
    "MEMBERS": "",
    "JSON_LIMIT": 1000,
    "NOTIFY_AFTER": None,
    "SITE_URL": "",
    "ESCAPE_FORMULAS": False,
    "METRICS": "",
}


_MISSING: Final = object()


def known_names() -> list[str]:
    """Return the names that a project may set."""
    return sorted(PREFIX + name for name in DEFAULTS)


def unknown_names() -> list[str]:
    """Return the names with our prefix that the project sets and that do not exist."""
    prefixed = {name for name in dir(project_settings) if name.startswith(PREFIX)}
    return sorted(prefixed.difference(known_names()))


def __getattr__(name: str) -> Any:
    try:
        default = DEFAULTS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(project_settings, PREFIX + name, _MISSING)
    if value is not _MISSING:
        return value
    # Django looks anew for a setting that the project does not have.
    globals()[name] = default
    return default


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    name = setting.removeprefix(PREFIX)
    if name in DEFAULTS:
        globals().pop(name, None)
