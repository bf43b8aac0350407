"""Adopt the downloads of 0.6, which kept them in the cache, and their files in the storage.

The search goes two ways: by the list of each user, and by the folders in the storage,
whose names are download keys. An adopted download keeps its key, so that a task that is
still queued finds it. The adoption can be repeated at any time: it leaves a download that
has a row as it is, and only reads the cache.
"""

import posixpath
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

from django.conf import settings as project_settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from async_downloads import settings
from async_downloads.files import storage
from async_downloads.files.names import FALLBACK_NAME, shown_name
from async_downloads.legacy import cache_reader, owners
from async_downloads.legacy.cache_reader import LegacyDownload, UnreadableCacheError
from async_downloads.models import Download, DownloadState
from async_downloads.models.timing import expiry
from async_downloads.owners import Owner
from async_downloads.store.collections import get_or_create_collection
from async_downloads.store.fetches import FILE_MISSING
from async_downloads.store.orphans import folder_keys
from async_downloads.store.removal import BATCH_SIZE
from async_downloads.store.transactions import after_commit, database, downloads, retry_on_deadlock
from async_downloads.store.write_through import publish_change
from async_downloads.utils import error_text

__all__ = ["Finding", "UnreadableCacheError", "adopt"]

#: The outcomes of a finding that is not adopted.
KNOWN: Final = "known"
OWNERLESS: Final = "ownerless"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """A download or a file of 0.6.

    Attributes:
        outcome: The state in which it is adopted; or ``"known"`` if it has a row
            already, ``"ownerless"`` if its owner is unknown, or ``"refused"``.
        path: The path of its file, which may not exist.
        name: Its name in the list.
        owner: The owner's name, if it is known.
        reason: The reason of a refusal.
    """

    outcome: str
    path: str
    name: str = ""
    owner: str = ""
    reason: str = ""

    @property
    def adopted(self) -> bool:
        """Whether it becomes a download."""
        return self.outcome not in {KNOWN, OWNERLESS, REFUSED}


class _RefusedError(Exception):
    """The reason why something cannot be adopted."""


@dataclass(slots=True)
class _Batch:
    """Rows to insert together, each with its owner."""

    rows: list[tuple[Owner, Download]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, owner: Owner, download: Download) -> None:
        self.rows.append((owner, download))
        self.findings.append(Finding(download.state, download.filepath, download.name, owner.name))

    def refuse(self, path: str, error: Exception, *, owner: str = "") -> None:
        self.findings.append(Finding(REFUSED, path, owner=owner, reason=str(error)))


def adopt(
    *,
    collection_keys: Iterable[str] = (),
    owner: Owner | None = None,
    dry_run: bool = False,
) -> Iterator[Finding]:
    """Adopt the downloads and files of 0.6, and yield a finding for each.

    Args:
        collection_keys: Keys of lists to read besides those of all users: for
            downloads whose owner is a text.
        owner: The owner of files whose owner is unknown; without one, they are left.
        dry_run: Only yield.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    done: set[uuid.UUID] = set()
    expired: dict[uuid.UUID, str] = {}
    for listed in _listed(collection_keys):
        cached = cache_reader.read_downloads(key for key in listed if key not in done)
        entries = _readable(cached)
        done |= entries.keys()
        expired |= {key: name for key, name in listed.items() if key not in entries}
        yield from _inserted(_from_entries(entries), dry_run=dry_run)
    for keys in folder_keys():
        cached = cache_reader.read_downloads(sorted(keys - done))
        yield from _inserted(_from_entries(_readable(cached)), dry_run=dry_run)
        # A list that names a download without an entry gives its owner, and says that it expired.
        batch = _from_files(keys - done - cached.keys(), expired, owner)
        yield from _inserted(batch, dry_run=dry_run)


def _readable(cached: dict[uuid.UUID, LegacyDownload | None]) -> dict[uuid.UUID, LegacyDownload]:
    return {key: entry for key, entry in cached.items() if entry is not None}


def _listed(collection_keys: Iterable[str]) -> Iterator[dict[uuid.UUID, str]]:
    """Yield download keys with the names of the lists that contain them, a batch at a time."""
    named = {key: key for key in collection_keys}
    for names in chain([[]], owners.user_names(BATCH_SIZE)):
        named |= {settings.COLLECTION_KEY_FORMAT.format(name): name for name in names}
        batch: dict[uuid.UUID, str] = {}
        for collection_key, download_keys in cache_reader.read_lists(named).items():
            for download_key in download_keys:
                batch[download_key] = named[collection_key]
                if len(batch) == BATCH_SIZE:
                    yield batch
                    batch = {}
        yield batch
        named = {}


def _from_entries(entries: dict[uuid.UUID, LegacyDownload]) -> _Batch:
    batch = _Batch()
    known = _known(entries)
    people = owners.resolve_names({entry.user for entry in entries.values()})
    for key, entry in entries.items():
        if key in known:
            batch.findings.append(Finding(KNOWN, entry.filepath, entry.name, entry.user))
            continue
        try:
            if entry.user not in people:
                raise _RefusedError("No user has this name alone, and no label can have it.")
            batch.add(people[entry.user], _row(key, entry))
        except _RefusedError as error:
            batch.refuse(entry.filepath, error, owner=entry.user)
    return batch


def _from_files(keys: set[uuid.UUID], expired: dict[uuid.UUID, str], owner: Owner | None) -> _Batch:
    batch = _Batch()
    for key in sorted(keys - _known(keys)):
        folder = posixpath.join(settings.PATH_PREFIX, str(key))
        paths = sorted(storage.names_in(folder))
        if key in expired and paths:
            error = _RefusedError("It had expired: its owner's list names it, and nothing else.")
            batch.refuse(paths[0], error, owner=expired[key])
        elif owner is None:
            batch.findings += [Finding(OWNERLESS, path) for path in paths]
        elif len(paths) == 1:
            batch.add(owner, _row_of_file(key, paths[0]))
        elif paths:
            batch.refuse(folder, _RefusedError("There is more than one file in this folder."))
    return batch


def _known(keys: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    return set(downloads().filter(pk__in=list(keys)).values_list("pk", flat=True))


def _row(key: uuid.UUID, entry: LegacyDownload) -> Download:
    """Return the row of a download of 0.6.

    Raises:
        _RefusedError: The download cannot have a row, or not now.
    """
    _check_path(key, entry.filepath)
    shown = shown_name(posixpath.basename(entry.filepath)) or FALLBACK_NAME
    columns = {"filepath": entry.filepath, **_outcome(entry, _stored(entry.filepath))}
    return Download(
        id=key,
        name=shown_name(entry.name) or shown,
        filename=shown,
        timestamp=_moment(entry),
        expires_at=expiry(),
        **columns,
    )


def _outcome(entry: LegacyDownload, stored: storage.StoredFile | None) -> dict[str, Any]:
    """Return the columns for the state of a download of 0.6, by its cache entry and its file.

    Raises:
        _RefusedError: Its state cannot be found out.
    """
    if entry.errors and entry.url:
        # The text is that of an exception, and was never meant for its owner.
        return _failed(error_text.for_owner(Exception()), detail=entry.errors)
    if entry.errors:
        return _failed(entry.errors)
    if not entry.complete:
        started = bool(entry.percentage or stored) and settings.MAX_ATTEMPTS > 1
        return {"percentage": entry.percentage, "attempts": int(started)}
    if stored is None:
        if not storage.is_there(entry.filepath):
            raise _RefusedError("The storage is not there, and with it the file.")
        return _failed(
            FILE_MISSING, detail="It was not in the storage when it was adopted from 0.6."
        )
    return _complete(stored)


def _failed(errors: str, *, detail: str = "") -> dict[str, Any]:
    return {
        "state": DownloadState.FAILED,
        "errors": error_text.storable(errors),
        "error_detail": error_text.storable(detail),
        "attempts": 1,
    }


def _complete(stored: storage.StoredFile) -> dict[str, Any]:
    return {
        "state": DownloadState.COMPLETE,
        "percentage": 100,
        "filepath": stored.path,
        "size": stored.size,
        "attempts": 1,
    }


def _row_of_file(key: uuid.UUID, path: str) -> Download:
    """Return the row of a file of which only the path is known."""
    shown = shown_name(posixpath.basename(path)) or FALLBACK_NAME
    times = {"timestamp": storage.modified_at(path), "expires_at": expiry()}
    size = storage.storage().size(path)
    columns = _complete(storage.StoredFile(path, size))
    return Download(id=key, name=shown, filename=shown, **times, **columns)


def _stored(path: str) -> storage.StoredFile | None:
    """Return the file that was saved for a path; 0.6 ignored a name that the storage chose."""
    stored = storage.look_up(path)
    if stored is None:
        others = list(storage.names_in(posixpath.dirname(path)))
        stored = storage.look_up(others[0]) if len(others) == 1 else None
    return stored


def _check_path(key: uuid.UUID, path: str) -> None:
    """Check that a path leads into the download's own folder.

    Raises:
        _RefusedError: It does not.
    """
    folder = posixpath.dirname(path)
    if (
        folder != posixpath.join(settings.PATH_PREFIX, str(key))
        or posixpath.normpath(path) != path
        or path.startswith(("/", "../"))
        or len(path) > storage.MAX_PATH_LENGTH
    ):
        raise _RefusedError(f"{path!r} is not a path inside the folder of the download.")


def _moment(entry: LegacyDownload) -> Any:
    """Return when it was requested, aware or naive as ``USE_TZ`` demands."""
    moment = entry.timestamp
    if project_settings.USE_TZ and timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    elif not project_settings.USE_TZ and timezone.is_aware(moment):
        moment = timezone.make_naive(moment)
    return min(moment, timezone.now())


def _inserted(batch: _Batch, *, dry_run: bool) -> list[Finding]:
    """Insert the rows of a batch, unless it is a dry run, and return the findings."""
    rows = batch.rows
    while rows and not dry_run:
        try:
            retry_on_deadlock(partial(_insert, rows))
            break
        except IntegrityError:
            # Another process has adopted some; or an owner was deleted.
            known = _known(download.pk for _, download in rows)
            if not known:
                raise
            rows = [(owner, download) for owner, download in rows if download.pk not in known]
    return batch.findings


def _insert(rows: list[tuple[Owner, Download]]) -> None:
    with transaction.atomic(using=database()):
        people = {owner.collection_id: owner for owner, _ in rows}
        # In one order, so that two processes do not wait for each other.
        collections = {pk: get_or_create_collection(people[pk]) for pk in sorted(people)}
        for owner, download in rows:
            download.collection = collections[owner.collection_id]
        downloads().bulk_create([download for _, download in rows])
        for _, download in rows:
            after_commit(
                partial(publish_change, download.collection, "created", download.download_key)
            )
