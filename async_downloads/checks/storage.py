"""Checks of the storage, and of the method that serves its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings as project_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from async_downloads import serving, settings
from async_downloads.files import storage

__all__ = ["check_files_are_kept", "check_storage"]


def check_storage(**_: Any) -> Iterator[CheckMessage]:
    """E007 to E009, W015: an unusable storage, an impossible method, or a relative folder."""
    try:
        storage.storage()
    except (ImproperlyConfigured, TypeError) as error:
        yield Error(
            f"The storage {settings.STORAGE!r} cannot be used: {error}",
            hint="Let ASYNC_DOWNLOADS_STORAGE be one of the aliases in STORAGES: "
            f"{', '.join(project_settings.STORAGES)}.",
            id="async_downloads.E007",
        )
        return
    folder = storage.configured_root()
    if settings.SERVE not in list(serving.METHODS):
        yield Error(
            f"ASYNC_DOWNLOADS_SERVE is {settings.SERVE!r}.",
            hint=f"It must be one of: {', '.join(serving.METHODS)}.",
            id="async_downloads.E008",
        )
    elif problem := _serving_problem():
        yield Error(*problem, id="async_downloads.E009")
    elif folder is not None and not Path(folder).is_absolute():
        # An unset MEDIA_ROOT, for example.
        yield CheckWarning(
            f"The folder of the storage {settings.STORAGE!r} is {folder!r}, relative to the "
            "working directory of each process, so that the web server may not find the files.",
            hint="Set MEDIA_ROOT, or the location in the OPTIONS of the storage, to an absolute "
            "path.",
            id="async_downloads.W015",
        )


def _serving_problem() -> tuple[str, str] | None:
    """Return why the storage's files cannot be served by the method, and a hint; or None."""
    way, location = settings.SERVE, settings.SERVE_LOCATION
    if way in ("x-accel", "x-sendfile") and storage.root() is None:
        problem = (
            f"ASYNC_DOWNLOADS_SERVE is {way!r}, but the storage is not a folder of this machine."
        )
        return problem, 'Use "redirect" or "stream".'
    if way == "x-accel" and not (
        isinstance(location, str) and location.startswith("/") and location.endswith("/")
    ):
        problem = f"ASYNC_DOWNLOADS_SERVE_LOCATION is {location!r}."
        return problem, "It must begin and end with a slash, like the location of nginx."
    if way == "redirect" and not storage.signs_urls():
        problem = 'ASYNC_DOWNLOADS_SERVE is "redirect", but the storage signs no URLs.'
        return (
            problem,
            "Use a storage that signs them: on S3, querystring_auth without custom_domain.",
        )
    return None


def check_files_are_kept(**_: Any) -> Iterator[CheckMessage]:
    """W007 and W008: files that are public, or that are read into memory whole."""
    try:
        backend: Any = storage.storage()
    except (ImproperlyConfigured, TypeError):
        # E007 reports it.
        return
    if _is_published():
        yield CheckWarning(
            "Downloads are in MEDIA_ROOT, so anyone who knows a path may fetch them under "
            f"{project_settings.MEDIA_URL}, without a check of their owner.",
            hint="Let ASYNC_DOWNLOADS_STORAGE be a storage outside MEDIA_ROOT; or, if the web "
            f"server refuses {settings.PATH_PREFIX}/ there, silence this check.",
            id="async_downloads.W007",
        )
    elif settings.SERVE == "stream" and storage.is_s3(backend) and not backend.max_memory_size:
        yield CheckWarning(
            "Django reads each whole file of S3 into memory before it sends it.",
            hint='Set ASYNC_DOWNLOADS_SERVE = "redirect", or max_memory_size in the OPTIONS '
            "of the storage.",
            id="async_downloads.W008",
        )


def _is_published() -> bool:
    """Return whether the storage's folder is served under MEDIA_URL."""
    folder, media_root = storage.root(), project_settings.MEDIA_ROOT
    # MEDIA_URL is "/" if it is not set; then nothing is served.
    if folder is None or not media_root or project_settings.MEDIA_URL in ("", "/"):
        return False
    return folder.resolve().is_relative_to(Path(media_root).resolve())
