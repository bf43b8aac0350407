"""Find and remove files that have no row: a worker that died at the wrong moment leaves one.

The search runs only on request. It looks at folders that lie directly under
``PATH_PREFIX`` and are named by a UUID, and leaves a folder alone while anything in
it is young, because the row may not have been committed yet.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from async_downloads.files import storage
from async_downloads.files.names import download_key_of
from async_downloads.store.removal import BATCH_SIZE
from async_downloads.store.transactions import downloads

__all__ = ["folder_keys", "remove_orphans"]


def remove_orphans(*, min_age: timedelta, dry_run: bool = False) -> Iterator[str]:
    """Remove the files of folders that have no row, and yield their paths.

    Args:
        min_age: How long nothing in a folder may have changed.
        dry_run: Only yield the paths.
    """
    before = timezone.now() - min_age
    for keys in folder_keys():
        known = set(downloads().filter(pk__in=keys).values_list("pk", flat=True))
        folders = {
            str(key): paths
            for key in sorted(keys - known)
            if (paths := storage.old_files(str(key), before=before))
        }
        # A storage may have put the file of a download into the folder of another.
        paths = [path for paths in folders.values() for path in paths]
        used = set(downloads().filter(filepath__in=paths).values_list("filepath", flat=True))
        for name, paths in folders.items():
            if used.isdisjoint(paths):
                yield from _remove(name, paths, dry_run=dry_run)


def _remove(name: str, paths: list[str], *, dry_run: bool) -> Iterator[str]:
    for path in paths:
        if not dry_run:
            storage.remove(path)
        yield path
    if not dry_run:
        storage.remove_folder(name)


def folder_keys() -> Iterator[set[uuid.UUID]]:
    """Yield the download keys that name folders in the storage, in batches."""
    batch: set[uuid.UUID] = set()
    for name in storage.folders():
        key = download_key_of(name)
        if key is not None:
            batch.add(key)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = set()
    if batch:
        yield batch
