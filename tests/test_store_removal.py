"""Cleared, purged, expired: the row goes, then the file, and nobody else's."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from async_downloads import entries, store
from async_downloads.models import Download, DownloadCollection
from async_downloads.signals import download_changed
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def exists(download: Download) -> bool:
    return bool(default_storage.exists(download.filepath))


class TestClear:
    def test_by_key_or_by_path(self, user: Any) -> None:
        first = DownloadFactory(collection__user=user, complete=True)
        second = DownloadFactory(collection=first.collection, complete=True)
        assert store.clear(user.pk, download_key=first.pk)
        assert store.clear(user.pk, filepath=second.filepath)
        assert Download.objects.count() == 0
        assert not exists(first)
        assert not exists(second)

    def test_what_is_somebody_elses_stays(self, user: Any, other_user: Any) -> None:
        theirs = DownloadFactory(collection__user=other_user, complete=True)
        assert not store.clear(user.pk, download_key=theirs.pk)
        assert not store.clear(user.pk, filepath=theirs.filepath)
        assert not store.clear(user.pk, filepath="")
        assert exists(theirs)
        assert Download.objects.count() == 1

    def test_a_path_is_compared_and_never_acted_on(self, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        stranger = default_storage.save("secret.txt", ContentFile(b"s"))
        assert not store.clear(user.pk, filepath=stranger)
        assert default_storage.exists(stranger)

    def test_the_folder_goes_with_the_file(self, user: Any) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        store.clear(user.pk, download_key=download.pk)
        assert default_storage.listdir("downloads") == ([], [])

    def test_the_page_learns_of_it(self, user: Any, shared_cache: str) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        before = entries.get_version(download.collection.key)
        changes: list[str] = []

        def listen(change: str, **kwargs: Any) -> None:
            changes.append(change)

        download_changed.connect(listen)
        try:
            store.clear(user.pk, download_key=download.pk)
        finally:
            download_changed.disconnect(listen)
        assert changes == ["removed"]
        assert entries.get_version(download.collection.key) not in (before, None)
        assert entries.get_entry(download.download_key) is None


class TestEveryWayOfDeleting:
    @pytest.mark.parametrize("way", ["instance", "queryset", "collection", "user", "purge"])
    def test_the_file_goes_after_the_commit_and_stays_on_rollback(self, way: str) -> None:
        download = DownloadFactory(complete=True)
        ways: dict[str, Any] = {
            "instance": lambda: Download.objects.get().delete(),
            "queryset": lambda: Download.objects.all().delete(),
            "collection": lambda: DownloadCollection.objects.all().delete(),
            "user": lambda: get_user_model().objects.all().delete(),
            "purge": lambda: store.purge(Download.objects.all()),
        }
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            ways[way]()
            raise ZeroDivisionError
        assert exists(download)
        assert Download.objects.count() == 1
        with transaction.atomic():
            ways[way]()
            assert exists(download)
        assert not exists(download)
        assert Download.objects.count() == 0

    def test_a_file_that_is_gone_already_counts_as_deleted(self) -> None:
        download = DownloadFactory(complete=True)
        default_storage.delete(download.filepath)
        assert store.purge(Download.objects.all()) == 1
