"""The files of downloads in the storage: save, find, describe and delete them.

Every download has a folder of its own, ``<PATH_PREFIX>/<download key>/``. So it is safe to
delete all files in the folder.
"""

import io
import mimetypes
import os
import posixpath
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils import timezone

from async_downloads import settings
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit

__all__ = [
    "StoredFile",
    "configured_root",
    "folders",
    "is_s3",
    "is_there",
    "look_up",
    "modified_at",
    "names_in",
    "old_files",
    "remove",
    "remove_folder",
    "require",
    "root",
    "save",
    "signed_url",
    "signs_urls",
    "size_of",
    "storage",
    "sweep",
]

logger = get_logger(__name__)

#: The width of the column for the path. The storage shortens the names that it makes to fit.
MAX_PATH_LENGTH: Final = 500


class StoredFile(NamedTuple):
    """A file in the storage: the path that the storage chose, and the size in bytes."""

    path: str
    size: int


def storage() -> Storage:
    """Return the storage that holds the files."""
    return storages[settings.STORAGE]


def root() -> Path | None:
    """Return the folder of the storage; None if it is not on this machine."""
    backend = storage()
    return Path(backend.location) if isinstance(backend, FileSystemStorage) else None


def configured_root() -> str | None:
    """Return the folder of the storage as configured; None if it is not on this machine."""
    backend = storage()
    return str(backend.base_location or "") if isinstance(backend, FileSystemStorage) else None


def size_of(path: str, *, default: int) -> int:
    """Return the size of a file on this machine's disk; ``default`` if it is not there."""
    try:
        return Path(storage().path(path)).stat().st_size
    except (NotImplementedError, FileNotFoundError):
        return default


def require(path: str) -> None:
    """Check that a file exists, for a response that does not open it.

    Raises:
        FileNotFoundError: It does not exist.
        OSError: The check failed, for example because a network file system is away.
    """
    if root() is not None:
        # With any of these errors, the storage would say that the file does not exist.
        os.lstat(storage().path(path))
    elif not storage().exists(path):
        raise FileNotFoundError(path)


def is_there(path: str) -> bool:
    """Return whether the storage itself is there, with or without the file.

    If a disk is not mounted, its folder is empty or missing.
    """
    folder, parts = root(), PurePosixPath(path).parts
    first = parts[0] if len(parts) > 1 else ""
    return folder is None or (folder / first).is_dir()


def look_up(path: str) -> StoredFile | None:
    """Return a file of the storage with its size, or None if it does not exist."""
    backend = storage()
    return StoredFile(path, backend.size(path)) if backend.exists(path) else None


def modified_at(path: str) -> datetime:
    """Return when a file was last changed: an aware time if the site uses time zones."""
    modified = storage().get_modified_time(path)
    aware = timezone.is_aware(timezone.now())
    if timezone.is_aware(modified) == aware:
        return modified
    return timezone.make_aware(modified) if aware else timezone.make_naive(modified)


def is_s3(backend: Storage) -> bool:
    """Return whether a storage is the S3 storage of django-storages, or a subclass of it."""
    return any(kind.__module__ == "storages.backends.s3" for kind in type(backend).__mro__)


def signs_urls() -> bool:
    """Return whether the storage signs its URLs, so that only their recipient can use them."""
    backend: Any = storage()
    if is_s3(backend):
        # A custom domain may sign as well, but does not pass the headers on.
        return bool(backend.querystring_auth and not backend.custom_domain)
    # The URLs of a folder on this machine are public. Other storages are assumed to sign.
    return root() is None


def signed_url(path: str, *, content_type: str, disposition: str) -> str:
    """Return a new URL of the storage for a file.

    S3 sends these headers with the file. Other storages send their own.
    """
    backend: Any = storage()
    if not is_s3(backend):
        return str(backend.url(path))
    parameters = {
        "ResponseContentType": content_type,
        "ResponseContentDisposition": disposition,
        # Caches on the way must not keep the file.
        "ResponseCacheControl": "private, no-store",
    }
    if mimetypes.guess_type(path)[1]:
        # It was stored with a content encoding, by which a browser would decompress it and then
        # save it under its compressed name.
        parameters["ResponseContentEncoding"] = "identity"
    return str(backend.url(path, parameters=parameters))


def save(path: str, content: "File[Any]") -> StoredFile:
    """Save ``content``, from its beginning, and return the stored file.

    The storage may choose another path than ``path``.
    """
    # A spooled file has no name, so its size is the position of its end.
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    name = storage().save(path, content, max_length=MAX_PATH_LENGTH)
    return StoredFile(name, size)


def remove(path: str) -> None:
    """Delete one file, if it exists.

    An error of the storage is logged and not raised: the row decides what exists,
    and a clean-up finds the file later. That of a time limit is raised.
    """
    try:
        storage().delete(path)
    except FileNotFoundError:
        pass
    except Exception as error:
        logger.exception("The storage could not delete %s", path)
        raise_time_limit(error)


def sweep(path: str, *, download_key: str, keep: str = "") -> None:
    """Delete a download's file, all other files in its folder, and the folder.

    Args:
        path: The path on the row, requested or stored.
        download_key: The download's key. If the folder has another name, only ``path``
            is deleted.
        keep: A path in the folder that stays.
    """
    folder = posixpath.dirname(path)
    own_folder = posixpath.basename(folder) == download_key
    for target in sorted({path, *(names_in(folder) if own_folder else ())} - {keep, ""}):
        remove(target)
    if own_folder and not keep:
        remove(folder)


def folders() -> list[str]:
    """Return the names of the folders under ``PATH_PREFIX``."""
    try:
        return storage().listdir(settings.PATH_PREFIX)[0]
    except (FileNotFoundError, NotADirectoryError):
        return []


def old_files(name: str, *, before: datetime) -> list[str]:
    """Return the paths of the files in a folder under ``PATH_PREFIX``, if all are old.

    Args:
        name: The name of the folder.
        before: All files must have been changed before this time.

    Returns:
        The files, or the folder itself if it is an empty folder on this machine. An
        empty list if a file is younger, or if the folder is a link or has folders,
        which downloads never have.
    """
    folder = posixpath.join(settings.PATH_PREFIX, name)
    if _is_link(folder):
        return []
    try:
        inside, names = storage().listdir(folder)
        paths = [posixpath.join(folder, name) for name in names] or [folder] * bool(root())
        return [] if inside or any(modified_at(path) >= before for path in paths) else paths
    except FileNotFoundError:
        # Another process has deleted it meanwhile.
        return []
    except Exception as error:
        # S3 raises an error of its own, for a deleted file as for other reasons.
        logger.exception("The age of %s could not be read from the storage", folder)
        raise_time_limit(error)
        return []


def remove_folder(name: str) -> None:
    """Delete an empty folder under ``PATH_PREFIX``, if the storage has folders."""
    remove(posixpath.join(settings.PATH_PREFIX, name))


def _is_link(path: str) -> bool:
    try:
        return Path(storage().path(path)).is_symlink()
    except NotImplementedError:
        # Only the file system has links.
        return False


def names_in(folder: str) -> Iterator[str]:
    """Yield the paths of the files in a folder; none if the folder does not exist."""
    try:
        names = storage().listdir(folder)[1]
    except (FileNotFoundError, NotADirectoryError, NotImplementedError):
        # A storage without folders, or without this one, has no further files.
        return
    except Exception as error:
        logger.exception("The storage could not list %s", folder)
        raise_time_limit(error)
        return
    for name in names:
        yield posixpath.join(folder, name)
