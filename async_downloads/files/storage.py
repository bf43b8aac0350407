"""The files of downloads in the storage: write, find, describe and delete them.

Every download has a folder of its own, ``<PATH_PREFIX>/<download key>/``. That
is what makes it safe to sweep the folder: nothing else can be in it.
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

#: Width of the column that keeps the path. The storage is told, and shortens what it makes up.
MAX_PATH_LENGTH: Final = 500


class StoredFile(NamedTuple):
    """What the storage made of a file: the name it chose, and the size in bytes."""

    path: str
    size: int


def storage() -> Storage:
    """Return the storage that holds the files."""
    return storages[settings.STORAGE]


def root() -> Path | None:
    """Return the folder that holds the storage; None if it is no folder of this machine."""
    kept_in = storage()
    return Path(kept_in.location) if isinstance(kept_in, FileSystemStorage) else None


def configured_root() -> str | None:
    """Return the folder of the storage as it is configured; None if it is not a folder."""
    kept_in = storage()
    return str(kept_in.base_location or "") if isinstance(kept_in, FileSystemStorage) else None


def size_of(path: str, *, told: int) -> int:
    """Return the bytes of a file, as the disk has it; of what is on no disk, ``told``."""
    try:
        return Path(storage().path(path)).stat().st_size
    except (NotImplementedError, FileNotFoundError):
        return told


def require(path: str) -> None:
    """See that a file is there, for whoever sends it without opening it.

    Raises:
        FileNotFoundError: It is not.
        OSError: It cannot be told, as with a network file system that hangs up.
    """
    if root() is not None:
        # The storage would take each of these errors for a file that is not there.
        os.lstat(storage().path(path))
    elif not storage().exists(path):
        raise FileNotFoundError(path)


def is_there(path: str) -> bool:
    """Return whether the storage itself is there, with or without the file.

    A disk that is not mounted leaves an empty folder behind, or none.
    """
    folder, parts = root(), PurePosixPath(path).parts
    first = parts[0] if len(parts) > 1 else ""
    return folder is None or (folder / first).is_dir()


def look_up(path: str) -> StoredFile | None:
    """Return a file of the storage with its size, or None if it is not there."""
    kept_in = storage()
    return StoredFile(path, kept_in.size(path)) if kept_in.exists(path) else None


def modified_at(path: str) -> datetime:
    """Return when a file was last changed, in the kind of time that the site uses."""
    modified = storage().get_modified_time(path)
    aware = timezone.is_aware(timezone.now())
    if timezone.is_aware(modified) == aware:
        return modified
    return timezone.make_aware(modified) if aware else timezone.make_naive(modified)


def is_s3(kept_in: Storage) -> bool:
    """Return whether this is the S3 storage of django-storages, or made of it."""
    return any(kind.__module__ == "storages.backends.s3" for kind in type(kept_in).__mro__)


def signs_urls() -> bool:
    """Return whether the storage's URLs are worth something to nobody else, as far as is known."""
    kept_in: Any = storage()
    if is_s3(kept_in):
        # In front of S3, another domain may sign as well, but passes no headers on.
        return bool(kept_in.querystring_auth and not kept_in.custom_domain)
    # A folder of this machine has no URL but the public one.
    return root() is None


def signed_url(path: str, *, content_type: str, disposition: str) -> str:
    """Return a new URL of the storage for a file.

    S3 is asked to send these headers along. Other storages send what they have.

    Args:
        path: The file's path in the storage.
        content_type: The header ``Content-Type``.
        disposition: The header ``Content-Disposition``.
    """
    kept_in: Any = storage()
    if not is_s3(kept_in):
        return str(kept_in.url(path))
    told = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition}
    # A signature covers no other headers than these, so the answer of the storage is not
    # kept by anybody either.
    told["ResponseCacheControl"] = "private, no-store"
    if mimetypes.guess_type(path)[1]:
        # It was stored as what a browser unpacks on the way, and then saves under its packed name.
        told["ResponseContentEncoding"] = "identity"
    return str(kept_in.url(path, parameters=told))


def save(path: str, content: "File[Any]") -> StoredFile:
    """Hand ``content`` to the storage, from its beginning, and return what became of it.

    The storage may choose another name than ``path``; only the name that it
    returns leads back to the file.
    """
    # The end of the stream tells the size of a spooled file, which has no name to ask by.
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    name = storage().save(path, content, max_length=MAX_PATH_LENGTH)
    return StoredFile(name, size)


def remove(path: str) -> None:
    """Delete one file. What is not there counts as deleted.

    A storage that fails is logged and not raised: the row decides what exists,
    and a left-over is found by a clean-up.
    """
    try:
        storage().delete(path)
    except FileNotFoundError:
        pass
    except Exception:
        logger.exception("The storage could not delete %s", path)


def sweep(path: str, *, download_key: str, keep: str = "") -> None:
    """Delete a download's file, whatever else its folder holds, and the folder.

    Args:
        path: The path on the row, asked for or stored.
        download_key: The download's key, which must be the name of the folder
            for anything but ``path`` itself to be touched.
        keep: A path in the folder that stays.
    """
    folder = posixpath.dirname(path)
    own_folder = posixpath.basename(folder) == download_key
    for target in sorted({path, *(names_in(folder) if own_folder else ())} - {keep, ""}):
        remove(target)
    if own_folder and not keep:
        remove(folder)


def folders() -> list[str]:
    """Return the names of the folders under ``PATH_PREFIX``; none if the storage has none."""
    try:
        return storage().listdir(settings.PATH_PREFIX)[0]
    except (FileNotFoundError, NotADirectoryError):
        return []


def old_files(name: str, *, before: datetime) -> list[str]:
    """Return the paths of the files in a folder under ``PATH_PREFIX``, if all of it is old.

    Args:
        name: The name of the folder.
        before: Since when nothing in it may have changed.

    Returns:
        The files, or the folder itself if there are none in it and it is one of
        the disk; nothing if something is younger, or is a folder or a link, which
        can be none of ours.
    """
    folder = posixpath.join(settings.PATH_PREFIX, name)
    if _is_link(folder):
        return []
    try:
        inside, names = storage().listdir(folder)
        paths = [posixpath.join(folder, name) for name in names] or [folder] * bool(root())
        return paths if not inside and all(_is_older(path, before) for path in paths) else []
    except FileNotFoundError:
        # Somebody else has removed it meanwhile.
        return []
    except Exception:
        # S3 tells the same by an error of its own, and so do other troubles.
        logger.exception("The storage could not tell how old %s is", folder)
        return []


def remove_folder(name: str) -> None:
    """Delete an empty folder under ``PATH_PREFIX``, where the storage has folders."""
    remove(posixpath.join(settings.PATH_PREFIX, name))


def _is_link(path: str) -> bool:
    try:
        return Path(storage().path(path)).is_symlink()
    except NotImplementedError:
        # Only the file system has links.
        return False


def _is_older(path: str, than: datetime) -> bool:
    return modified_at(path) < than


def names_in(folder: str) -> Iterator[str]:
    """Yield the paths of the files in a folder; none where there is no such folder."""
    try:
        names = storage().listdir(folder)[1]
    except (FileNotFoundError, NotADirectoryError, NotImplementedError):
        # A storage without folders (or without this one) has nothing more to sweep.
        return
    except Exception:
        logger.exception("The storage could not list %s", folder)
        return
    for name in names:
        yield posixpath.join(folder, name)
