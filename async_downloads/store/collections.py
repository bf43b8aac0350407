"""The owner's collection, which is inserted with the first download and locked by the next ones."""

import uuid
from collections.abc import Iterable
from typing import Any, Final

from django.db import IntegrityError, connections, transaction

from async_downloads.models import DownloadCollection, DownloadCollectionQuerySet
from async_downloads.owners import Owner
from async_downloads.store.transactions import database
from async_downloads.utils.memory import Memory

__all__ = [
    "get_or_create_collection",
    "get_or_create_collections",
    "is_known",
    "known_collection",
    "remember",
]

#: How often missing collections are inserted: a clean-up may delete one before it is locked.
INSERTS: Final = 3

#: The keys of the collections that this process has used, by their primary keys.
_remembered: Final[Memory[uuid.UUID, str]] = Memory(10_000)


def get_or_create_collection(owner: Owner, *, exclusive: bool = False) -> DownloadCollection:
    """Return the owner's collection, which stays until the caller's transaction ends.

    Args:
        owner: The owner.
        exclusive: Whether other callers with ``exclusive`` wait until the transaction ends.
    """
    collections = DownloadCollection.objects.using(database())
    collection = _lock(collections, owner.collection_id, exclusive=exclusive)
    while collection is None:
        try:
            with transaction.atomic(using=database()):
                return _insert(collections, exclusive, **_columns(owner))
        except IntegrityError:
            collection = _lock(collections, owner.collection_id, exclusive=exclusive)
            if collection is None and not collections.filter(pk=owner.collection_id).exists():
                # Another request has not inserted it either: the owner is gone.
                raise
    _correct_key(collections, collection, owner)
    return collection


def get_or_create_collections(
    owners: Iterable[Owner], *, exclusive: bool
) -> dict[uuid.UUID, DownloadCollection]:
    """Return the collections of owners, which stay until the caller's transaction ends.

    Args:
        owners: As many as fit into one query.
        exclusive: As for ``get_or_create_collection``.

    Returns:
        The collections by their primary keys.

    Raises:
        IntegrityError: An owner is gone; some databases raise it at the commit.
    """
    collections = DownloadCollection.objects.using(database())
    # All callers insert and lock in the same order, so that none deadlocks with another.
    wanted = {owner.collection_id: owner for owner in owners}
    missing = sorted(wanted)
    locked = _lock_all(collections, missing, exclusive=exclusive)
    for _ in range(INSERTS):
        missing = [pk for pk in missing if pk not in locked]
        if not missing:
            break
        new = [DownloadCollection(**_columns(wanted[pk])) for pk in missing]
        _insert_all(collections, new)
        locked |= _lock_all(collections, missing, exclusive=exclusive)
    if len(locked) < len(wanted):
        raise IntegrityError("A collection cannot be inserted: its owner is gone.")
    for pk, collection in locked.items():
        _correct_key(collections, collection, wanted[pk])
    return locked


def remember(owner: Owner) -> None:
    """Remember that the owner's collection is in the database, under its current key."""
    _remembered[owner.collection_id] = owner.collection_key


def is_known(owner: Owner) -> bool:
    """Return whether this process has used the owner's collection; it may be deleted since."""
    return _remembered.get(owner.collection_id) == owner.collection_key


def known_collection(owner: Owner) -> DownloadCollection:
    """Return the owner's collection without a query; its other columns are read when used."""
    names = ("id", "user_id", "key")
    values = (owner.collection_id, owner.user_id, owner.collection_key)
    return DownloadCollection.from_db(database(), names, values)


def _columns(owner: Owner) -> dict[str, Any]:
    label = owner.name if owner.user_id is None else ""
    return {
        "pk": owner.collection_id,
        "key": owner.collection_key,
        "user_id": owner.user_id,
        "label": label,
    }


def _correct_key(
    collections: DownloadCollectionQuerySet, collection: DownloadCollection, owner: Owner
) -> None:
    """Write the owner's present key: ``COLLECTION_KEY_FORMAT`` may have changed.

    The key that ``init_download`` returns must lead to the collection.
    """
    if collection.key != owner.collection_key:
        collections.filter(pk=collection.pk).update(key=owner.collection_key)
        collection.key = owner.collection_key


def _lock(
    collections: DownloadCollectionQuerySet, pk: uuid.UUID, *, exclusive: bool
) -> DownloadCollection | None:
    return _lock_all(collections, [pk], exclusive=exclusive).get(pk)


def _lock_all(
    collections: DownloadCollectionQuerySet, pks: list[uuid.UUID], *, exclusive: bool
) -> dict[uuid.UUID, DownloadCollection]:
    """Return those collections that there are, locked against deletion until the transaction ends.

    With an exclusive lock, the next request of the same owner waits, and so sees every
    download that is already there.
    """
    if not exclusive:
        return {collection.pk: collection for collection in collections.lock(pks)}
    # PostgreSQL has an exclusive lock that does not block checks of foreign keys. SQLite
    # locks nothing here: its transaction has locked the database.
    no_key = connections[database()].features.has_select_for_no_key_update
    rows = collections.select_for_update(no_key=no_key).filter(pk__in=pks).order_by("pk")
    return {collection.pk: collection for collection in rows}


def _insert(
    collections: DownloadCollectionQuerySet, exclusive: bool, **columns: Any
) -> DownloadCollection:
    """Insert a collection, and return it.

    Raises:
        IntegrityError: Another request has inserted it, or the owner is gone.
    """
    if not exclusive or not _is_mysql():
        return collections.create(**columns)
    collection = DownloadCollection(**columns)
    _insert_all(collections, [collection])
    return collection


def _insert_all(collections: DownloadCollectionQuerySet, new: list[DownloadCollection]) -> None:
    """Insert those collections that another request has not inserted meanwhile.

    On MySQL, a plain INSERT that meets an existing row leaves a shared lock on it. Several
    requests with shared locks deadlock as soon as each wants the exclusive one. One that ignores
    conflicts ignores other errors as well.
    """
    if _is_mysql():
        collections.bulk_create(new, update_conflicts=True, update_fields=["key"])
    else:
        collections.bulk_create(new, ignore_conflicts=True)


def _is_mysql() -> bool:
    return connections[database()].vendor == "mysql"
