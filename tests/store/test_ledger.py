"""Records of the ledger are deleted by their age."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from async_downloads import store
from async_downloads.models import FetchRecord
from async_downloads.store import ledger
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def record(user: Any, *, age: timedelta = timedelta()) -> int:
    """Write a record of this age, and return its primary key."""
    download = DownloadFactory(collection__user=user, complete=True)
    written = store.write_fetch_record(download, user, "")
    FetchRecord.objects.filter(pk=written.pk).age_out()
    written._state.adding = True
    written.fetched_at -= age
    written.save()
    return written.pk


def test_records_before_a_time_are_deleted(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "BATCH_SIZE", 2)
    for days in (3, 4, 5):
        record(user, age=timedelta(days=days))
    kept = record(user, age=timedelta(days=1))
    before = timezone.now() - timedelta(days=2)
    assert store.age_out_ledger(before, dry_run=True) == 3
    assert FetchRecord.objects.count() == 4
    assert store.age_out_ledger(before) == 3
    assert store.age_out_ledger(before) == 0
    assert FetchRecord.objects.get().pk == kept


def test_another_file_and_another_user_are_not_continued(user: Any, other_user: Any) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    store.write_fetch_record(download, user, "")
    assert store.was_handed_out_lately(download, user)
    assert not store.was_handed_out_lately(download, other_user)
    assert not store.was_handed_out_lately(DownloadFactory(complete=True), user)
