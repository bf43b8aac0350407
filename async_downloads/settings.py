"""The settings of this package, read at each access.

``settings.TIMEOUT`` returns the project's ``ASYNC_DOWNLOADS_TIMEOUT``, or the
default below. Nothing is stored, so that ``override_settings`` works.
"""

from typing import Any, Final

from django.conf import settings as project_settings

PREFIX: Final = "ASYNC_DOWNLOADS_"

TIMEOUT: int | None
"""Seconds that a download lives after its last write, in the cache and as a row.

None keeps downloads until their owner clears them.
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

ESCAPE_FORMULAS: bool
"""Whether text that a spreadsheet would run as a formula gets an apostrophe in front."""

DEFAULTS: Final[dict[str, Any]] = {
    "TIMEOUT": 60 * 60 * 24,
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
    "DATABASE_WAIT": 60,
    "CLEANUP_SCHEDULE": 60,
    "STORAGE": "default",
    "SERVE": "stream",
    "SERVE_LOCATION": "/async_downloads_files/",
    "MAX_ACTIVE": None,
    "MAX_BYTES": None,
    "MAX_ROWS": None,
    "MAY_FETCH": "",
    "ESCAPE_FORMULAS": False,
}


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
    return getattr(project_settings, PREFIX + name, default)
