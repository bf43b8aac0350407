"""Taking over what 0.6 kept: its downloads were in the cache, and only their files elsewhere.

They are looked for in two ways: by the list of each user, and by the folders in
the storage, whose names are download keys. A download is adopted under the key
that it has, so that a task that is still queued finds it. It may be done again
at any time: what has a row is left as it is, and the cache is only read.
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
from django.utils.translation import gettext_noop

from async_downloads import owners, settings
from async_downloads.files import storage
from async_downloads.files.names import FALLBACK_NAME, shown_name
from async_downloads.legacy import cache_reader
from async_downloads.legacy.cache_reader import OldDownload, UnreadableCacheError
from async_downloads.models import Download, DownloadState
from async_downloads.models.timing import expiry
from async_downloads.owners import Owner
from async_downloads.store.creation import get_or_create_collection
from async_downloads.store.orphans import folder_keys
from async_downloads.store.removal import BATCH_SIZE
from async_downloads.store.transactions import after_commit, database, downloads, retry_on_deadlock
from async_downloads.store.write_through import publish_change
from async_downloads.utils import error_text

__all__ = ["Finding", "UnreadableCacheError", "adopt"]

#: What becomes of a finding that is not adopted.
KNOWN: Final = "known"
OWNERLESS: Final = "ownerless"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that 0.6 left.

    Attributes:
        outcome: The state in which it is adopted; or ``"known"`` if it has a row
            already, ``"ownerless"`` if nothing tells whose file it is, or
            ``"refused"``.
        path: Where its file lies, or was to lie.
        name: What the list calls it.
        owner: The owner's name, as far as there is one.
        reason: Why it is refused.
    """

    outcome: str
    path: str
    name: str = ""
    owner: str = ""
    reason: str = ""

    @property
    def adopted(self) -> bool:
        """Whether it has become a download, or would."""
        return self.outcome not in {KNOWN, OWNERLESS, REFUSED}


class _RefusedError(Exception):
    """Why something cannot be adopted."""


@dataclass(slots=True)
class _Batch:
    """Rows to be inserted together, with whom each of them is for."""

    rows: list[tuple[Owner, Download]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, owner: Owner, download: Download) -> None:
        self.rows.append((owner, download))
        told = Finding(download.state, download.filepath, download.name, owner.name)
        self.findings.append(told)

    def refuse(self, path: str, error: Exception, *, owner: str = "") -> None:
        self.findings.append(Finding(REFUSED, path, owner=owner, reason=str(error)))


def adopt(
    *,
    collection_keys: Iterable[str] = (),
    owner: Owner | None = None,
    dry_run: bool = False,
) -> Iterator[Finding]:
    """Make downloads of what 0.6 left, and yield what was found.

    Args:
        collection_keys: Lists to look at besides those of all users, by the keys that
            0.6 kept them under: for texts that were given for an owner.
        owner: Who gets the files of which nothing tells whose they are; nobody if left out.
        dry_run: Only yield.

    Raises:
        UnreadableCacheError: The cache does not answer.
    """
    done: set[uuid.UUID] = set()
    expired: dict[uuid.UUID, str] = {}
    for listed in _listed(collection_keys):
        found = _old(key for key in listed if key not in done)
        done |= found.keys()
        expired |= {key: name for key, name in listed.items() if key not in found}
        yield from _inserted(_from_entries(found), dry_run=dry_run)
    for keys in folder_keys():
        there = cache_reader.read_downloads(sorted(keys - done))
        found = {key: entry for key, entry in there.items() if entry is not None}
        yield from _inserted(_from_entries(found), dry_run=dry_run)
        # Of one that a list names, it is known whose it was, and that its time was up.
        batch = _from_files(keys - done - there.keys(), expired, owner)
        yield from _inserted(batch, dry_run=dry_run)


def _old(keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, OldDownload]:
    found = cache_reader.read_downloads(keys)
    return {key: entry for key, entry in found.items() if entry is not None}


def _listed(collection_keys: Iterable[str]) -> Iterator[dict[uuid.UUID, str]]:
    """Yield download keys with the names of the lists that they are in, a batch at a time."""
    named = {key: key for key in collection_keys}
    for names in chain([[]], owners.old_names(BATCH_SIZE)):
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


def _from_entries(found: dict[uuid.UUID, OldDownload]) -> _Batch:
    batch = _Batch()
    known = _known(found)
    people = owners.resolve_old_names({entry.user for entry in found.values()})
    for key, entry in found.items():
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


def _row(key: uuid.UUID, entry: OldDownload) -> Download:
    """Return the row of a download of 0.6.

    Raises:
        _RefusedError: There can be none, or not now.
    """
    folder, filename = posixpath.split(entry.filepath)
    _check_path(key, entry.filepath)
    shown = shown_name(filename) or FALLBACK_NAME
    download = Download(
        id=key,
        name=shown_name(entry.name) or shown,
        filename=shown,
        filepath=entry.filepath,
        timestamp=_moment(entry),
        expires_at=expiry(),
    )
    stored = _stored(entry.filepath, folder)
    for name, value in _outcome(entry, stored).items():
        setattr(download, name, value)
    return download


def _outcome(entry: OldDownload, stored: storage.StoredFile | None) -> dict[str, Any]:
    """Return the columns that say how a download of 0.6 stands, by its entry and its file.

    Raises:
        _RefusedError: It cannot be told.
    """
    if entry.errors and entry.url:
        # The text is that of an exception, and was never meant for its owner.
        told = error_text.for_owner(Exception())
        return _failed(told, detail=entry.errors)
    if entry.errors:
        return _failed(entry.errors)
    if not entry.complete:
        begun = bool(entry.percentage or stored) and settings.MAX_ATTEMPTS > 1
        return {"percentage": entry.percentage, "attempts": int(begun)}
    if stored is None:
        if not storage.is_there(entry.filepath):
            raise _RefusedError("The storage is not there, and with it the file.")
        told = gettext_noop("The file is no longer there. Please ask for it again.")
        return _failed(told, detail="It was not in the storage when it was adopted from 0.6.")
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
    """Return the row of a file of which nothing is known but that it is there."""
    shown = shown_name(posixpath.basename(path)) or FALLBACK_NAME
    times = {"timestamp": storage.modified_at(path), "expires_at": expiry()}
    size = storage.storage().size(path)
    columns = _complete(storage.StoredFile(path, size))
    return Download(id=key, name=shown, filename=shown, **times, **columns)


def _stored(path: str, folder: str) -> storage.StoredFile | None:
    """Return the file that was saved for a path: 0.6 did not ask the storage for its name."""
    stored = storage.look_up(path)
    if stored is None:
        others = list(storage.names_in(folder))
        stored = storage.look_up(others[0]) if len(others) == 1 else None
    return stored


def _check_path(key: uuid.UUID, path: str) -> None:
    """See that a path leads into the download's own folder and nowhere else.

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
        raise _RefusedError(f"{path!r} is no path that a download of its own folder has.")


def _moment(entry: OldDownload) -> Any:
    """Return when it was asked for, in the kind of time that the site uses."""
    moment = entry.timestamp
    if project_settings.USE_TZ and timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    elif not project_settings.USE_TZ and timezone.is_aware(moment):
        moment = timezone.make_naive(moment)
    return min(moment, timezone.now())


def _inserted(batch: _Batch, *, dry_run: bool) -> list[Finding]:
    """Insert the rows of a batch, unless that is not wanted, and return what was found."""
    rows = batch.rows
    while rows and not dry_run:
        try:
            retry_on_deadlock(partial(_insert, rows))
            break
        except IntegrityError:
            # Somebody else was at it as well; or it is an owner who is gone.
            known = _known(download.pk for _, download in rows)
            if not known:
                raise
            rows = [(owner, download) for owner, download in rows if download.pk not in known]
    return batch.findings


def _insert(rows: list[tuple[Owner, Download]]) -> None:
    with transaction.atomic(using=database()):
        people = {owner.collection_id: owner for owner, _ in rows}
        # In one order, so that two who do this at once do not wait for each other.
        collections = {pk: get_or_create_collection(people[pk]) for pk in sorted(people)}
        for owner, download in rows:
            download.collection = collections[owner.collection_id]
        downloads().bulk_create([download for _, download in rows])
        for _, download in rows:
            told = partial(publish_change, download.collection, "created", download.download_key)
            after_commit(told)
