"""Checks of where the files lie, and of who sends them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from async_downloads import serving, settings
from async_downloads.files import storage

__all__ = ["check_files_are_kept", "check_storage"]


def check_storage(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E007 to E009, W015: a storage that cannot be used, or served, or is elsewhere each time."""
    try:
        storage.storage()
    except (ImproperlyConfigured, TypeError) as error:
        return [
            Error(
                f"The storage {settings.STORAGE!r} cannot be used: {error}",
                hint="Let ASYNC_DOWNLOADS_STORAGE be one of the aliases in STORAGES: "
                f"{', '.join(project_settings.STORAGES)}.",
                id="async_downloads.E007",
            )
        ]
    if settings.SERVE not in list(serving.WAYS):
        return [
            Error(
                f"ASYNC_DOWNLOADS_SERVE is {settings.SERVE!r}.",
                hint=f"It must be one of: {', '.join(serving.WAYS)}.",
                id="async_downloads.E008",
            )
        ]
    problem = _misfit()
    if problem is not None:
        return [Error(*problem, id="async_downloads.E009")]
    return _relative()


def _relative() -> list[CheckMessage]:
    """Warn of a folder that is another one for each process, as without a MEDIA_ROOT."""
    folder = storage.configured_root()
    if folder is None or Path(folder).is_absolute():
        return []
    return [
        CheckWarning(
            f"The folder of the storage {settings.STORAGE!r} is {folder!r}, below whatever folder "
            "each process was started from, so that the web server may not find what a worker "
            "has stored.",
            hint="Set MEDIA_ROOT, or the location in the OPTIONS of the storage, to an absolute "
            "path.",
            id="async_downloads.W015",
        )
    ]


def _misfit() -> tuple[str, str] | None:
    """Return why files cannot be served in the way that is set, and what to do about it."""
    way, location = settings.SERVE, settings.SERVE_LOCATION
    if way in ("x-accel", "x-sendfile") and storage.root() is None:
        said = f"ASYNC_DOWNLOADS_SERVE is {way!r}, but the storage is no folder of this machine."
        return said, 'Use "redirect" or "stream".'
    if way == "x-accel" and not (
        isinstance(location, str) and location.startswith("/") and location.endswith("/")
    ):
        said = f"ASYNC_DOWNLOADS_SERVE_LOCATION is {location!r}."
        return said, "It must begin and end with a slash, as the location of nginx does."
    if way == "redirect" and not storage.signs_urls():
        said = 'ASYNC_DOWNLOADS_SERVE is "redirect", but the URLs of the storage are not signed.'
        return said, "Use a storage that signs them: on S3, querystring_auth without custom_domain."
    return None


def check_files_are_kept(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W007 and W008: files that anybody can fetch, or that are read into memory whole."""
    try:
        kept_in: Any = storage.storage()
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
    if settings.SERVE == "stream" and storage.is_s3(kept_in) and not kept_in.max_memory_size:
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
    folder, media_root = storage.root(), project_settings.MEDIA_ROOT
    # Where MEDIA_URL is not set it reads "/", and nothing is handed out.
    if folder is None or not media_root or project_settings.MEDIA_URL in ("", "/"):
        return False
    return folder.resolve().is_relative_to(Path(media_root).resolve())
