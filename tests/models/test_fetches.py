"""Fetch records are inserted, and never changed."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError
from django.utils import timezone

from async_downloads.models import Download, DownloadCollection, FetchRecord

pytestmark = pytest.mark.django_db(transaction=True)


def unsaved(**columns: Any) -> FetchRecord:
    return FetchRecord(
        **{
            "fetched_at": timezone.now(),
            "user_name": "ada",
            "download_key": uuid.uuid4(),
            "download_name": "Orders",
            "file_name": "orders.csv",
            "owner": "ada",
            "size": 4,
            **columns,
        }
    )


@pytest.fixture
def record() -> FetchRecord:
    unsaved().save()
    return FetchRecord.objects.get()


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.save(),
        lambda record: record.save(update_fields=["user_name"]),
        lambda record: record.delete(),
        lambda record: FetchRecord.objects.update(user_name="grace"),
        lambda record: FetchRecord.objects.filter(pk=record.pk).update(user_name="grace"),
        lambda record: FetchRecord.objects.all().delete(),
        lambda record: FetchRecord.objects.bulk_update([record], ["user_name"]),
        lambda record: FetchRecord.objects.update_or_create(
            pk=record.pk, defaults={"user_name": "grace"}
        ),
        lambda record: FetchRecord.objects.bulk_create(
            [record],
            update_conflicts=True,
            update_fields=["user_name"],
            unique_fields=["id"],
        ),
    ],
)
def test_a_record_cannot_be_changed_or_deleted(
    record: FetchRecord, change: Callable[[FetchRecord], Any]
) -> None:
    record.user_name = "grace"
    with pytest.raises(TypeError, match="append-only"):
        change(record)
    assert FetchRecord.objects.get().user_name == "ada"


def test_nor_by_async_code(record: FetchRecord) -> None:
    record.user_name = "grace"

    async def change() -> None:
        for awaitable in (
            record.asave(),
            record.adelete(),
            FetchRecord.objects.aupdate(user_name="grace"),
            FetchRecord.objects.all().adelete(),
        ):
            with pytest.raises(TypeError, match="append-only"):
                await awaitable

    async_to_sync(change)()
    assert FetchRecord.objects.get().user_name == "ada"


def test_an_insert_overwrites_nothing(record: FetchRecord) -> None:
    with pytest.raises(IntegrityError):
        unsaved(pk=record.pk, user_name="grace").save()
    with pytest.raises(IntegrityError):
        FetchRecord.objects.bulk_create([unsaved(pk=record.pk, user_name="grace")])
    assert FetchRecord.objects.get().user_name == "ada"


def test_nor_does_one_whose_arguments_have_no_names(record: FetchRecord) -> None:
    changed = unsaved(pk=record.pk, user_name="grace")
    with pytest.raises(TypeError, match="append-only"):
        FetchRecord.objects.bulk_create([changed], None, False, True, ["user_name"], ["id"])
    assert FetchRecord.objects.get().user_name == "ada"


def test_no_deletion_reaches_a_record(record: FetchRecord) -> None:
    assert not [field for field in FetchRecord._meta.get_fields() if field.is_relation]
    Download.objects.all().delete()
    DownloadCollection.objects.all().delete()
    assert FetchRecord.objects.count() == 1


def test_a_manager_has_no_method_that_deletes() -> None:
    assert not hasattr(FetchRecord.objects, "delete")
    assert not hasattr(FetchRecord.objects, "age_out")


def test_a_record_says_who_fetched_what(record: FetchRecord) -> None:
    assert str(record) == "orders.csv, ada"
