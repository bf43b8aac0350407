"""Write, look up and age out the records of the ledger.

A router of the site may place them in a database of their own: they have no foreign keys.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import router
from django.db.models import CharField
from django.utils import timezone

from async_downloads.models import Download, FetchRecord, FetchRecordQuerySet
from async_downloads.models.texts import write_text
from async_downloads.owners import name_of
from async_downloads.store.removal import BATCH_SIZE
from async_downloads.store.transactions import short_lock_timeout

__all__ = ["age_out_ledger", "was_handed_out_lately", "write_fetch_record"]

#: How long a person may resume a fetch without another record.
RESUMABLE: Final = timedelta(days=1)

#: The columns that hold only so many characters.
LENGTHS: Final = {
    field.name: field.max_length
    for field in FetchRecord._meta.fields
    if isinstance(field, CharField)
}


def write_fetch_record(download: Download, user: Any, address: str) -> FetchRecord:
    """Insert a record of a file that is about to be handed out, and return it.

    Args:
        download: The row of a complete download.
        user: Who asks for the file; anonymous for a visitor.
        address: As much of the person's address as the site keeps.

    Raises:
        DatabaseError: The record was not written.
    """
    texts = {
        "user_key": _key_of(user),
        "user_name": name_of(user),
        "download_name": download.name,
        "file_name": download.filename,
        "owner": download.collection.owner.name,
        "address": address,
    }

    def insert(*storable_texts: str) -> FetchRecord:
        record = FetchRecord(
            fetched_at=timezone.now(),
            download_key=download.pk,
            size=download.size,
            **{
                name: text[: LENGTHS.get(name)]
                for name, text in zip(texts, storable_texts, strict=True)
            },
        )
        record.save(using=_database())
        return record

    # A person who waits for a file is better refused than kept waiting.
    with short_lock_timeout(using=_database()):
        return write_text(insert, *texts.values(), using=_database())


def was_handed_out_lately(download: Download, user: Any) -> bool:
    """Return whether there is a record of this file for this user that a fetch may continue.

    Args:
        download: The row of a complete download.
        user: Who asks for a part of the file.
    """
    key = _key_of(user)
    since = timezone.now() - RESUMABLE
    if download.finished_at is not None:
        # An earlier file may have had the same key.
        since = max(since, download.finished_at)
    same = _records().filter(download_key=download.pk, user_key=key, fetched_at__gte=since)
    return bool(key) and same.exists()


def age_out_ledger(before: datetime, *, dry_run: bool = False) -> int:
    """Delete the records of files that were handed out before a time, and return how many.

    Raises:
        DatabaseError: The records of the last batch were not deleted; earlier ones were.
    """
    old = _records().filter(fetched_at__lt=before)
    if dry_run:
        return old.count()
    return sum(_records().filter(pk__in=keys).age_out() for keys in _batches(old))


def _batches(records: FetchRecordQuerySet) -> Iterator[list[int]]:
    keys = records.order_by("fetched_at", "pk").values_list("pk", flat=True)
    while batch := list(keys[:BATCH_SIZE]):
        yield batch


def _records() -> FetchRecordQuerySet:
    return FetchRecord.objects.using(_database())


def _database() -> str:
    return router.db_for_write(FetchRecord)


def _key_of(user: Any) -> str:
    return "" if user.pk is None else str(user.pk)
