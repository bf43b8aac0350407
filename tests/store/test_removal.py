"""Clearing and purging: the row goes with its file, and no other row does."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.files import storage
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import resolve
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries, removal
from tests.factories import DownloadCollectionFactory, DownloadFactory

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

    def test_the_download_of_another_user_stays(self, user: Any, other_user: Any) -> None:
        theirs = DownloadFactory(collection__user=other_user, complete=True)
        assert not store.clear(user.pk, download_key=theirs.pk)
        assert not store.clear(user.pk, filepath=theirs.filepath)
        assert not store.clear(user.pk, filepath="")
        assert exists(theirs)
        assert Download.objects.count() == 1

    def test_a_path_is_only_compared(self, user: Any) -> None:
        DownloadFactory(collection__user=user, complete=True)
        stranger = default_storage.save("secret.txt", ContentFile(b"s"))
        assert not store.clear(user.pk, filepath=stranger)
        assert default_storage.exists(stranger)

    @pytest.mark.parametrize(
        "change", [str.upper, lambda path: f"{path} ", lambda path: path.replace("a", "á")]
    )
    def test_a_path_must_be_equal_whatever_the_collation(self, user: Any, change: Any) -> None:
        download = DownloadFactory(collection__user=user, complete=True, filename="orders a.csv")
        assert change(download.filepath) != download.filepath
        assert not store.clear(user.pk, filepath=change(download.filepath))
        assert exists(download)

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", ""])
    def test_a_path_that_no_database_can_hold_matches_nothing(self, user: Any, path: str) -> None:
        DownloadFactory(collection__user=user, complete=True)
        assert not store.clear(user.pk, filepath=path)
        assert Download.objects.exists()

    def test_the_folder_goes_with_the_file(self, user: Any) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        store.clear(user.pk, download_key=download.pk)
        assert default_storage.listdir("downloads") == ([], [])

    def test_the_change_is_published(self, user: Any, shared_cache: str) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        before = cache_entries.get_version(download.collection.key)
        changes: list[str] = []

        def listen(change: str, **kwargs: Any) -> None:
            changes.append(change)

        download_changed.connect(listen)
        try:
            store.clear(user.pk, download_key=download.pk)
        finally:
            download_changed.disconnect(listen)
        assert changes == ["removed"]
        assert cache_entries.get_version(download.collection.key) not in (before, None)
        assert cache_entries.get_entry(download.download_key) is None


class TestClearFinished:
    @pytest.fixture
    def no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Leave all rows and files to the next clean-up."""
        monkeypatch.setattr(removal, "CLEAR_SECONDS", 0.0)

    def test_a_few_are_deleted_at_once_with_their_files(self, user: Any, other_user: Any) -> None:
        finished = DownloadFactory(collection__user=user, complete=True)
        DownloadFactory(collection=finished.collection, failed=True)
        kept = [
            DownloadFactory(collection=finished.collection, running=True),
            DownloadFactory(collection=finished.collection),
            DownloadFactory(collection__user=other_user, complete=True),
        ]
        assert store.clear_finished(user.pk) == 2
        assert set(Download.objects.all()) == set(kept)
        assert not exists(finished)

    def test_batches_grow_until_all_are_deleted(self, user: Any) -> None:
        collection = DownloadFactory(collection__user=user, failed=True).collection
        DownloadFactory.create_batch(59, collection=collection, failed=True)
        assert store.clear_finished(user.pk) == 60
        assert not Download.objects.exists()

    def test_the_next_clean_up_deletes_the_rest(self, user: Any, no_time: None) -> None:
        finished = DownloadFactory(collection__user=user, complete=True)
        running = DownloadFactory(collection=finished.collection, running=True)
        assert store.clear_finished(user.pk) == 1
        assert store.read_listing(resolve(user)).downloads == [running]
        assert store.get_for_user(user.pk, finished.pk) is None
        assert exists(finished)
        # Also for a machine whose clock is behind.
        assert Download.objects.get(pk=finished.pk).expires_at < timezone.now() - timedelta(hours=1)
        assert store.clear_finished(user.pk) == 0
        assert store.clean_up().downloads == 1
        assert not exists(finished)
        assert list(Download.objects.all()) == [running]

    def test_the_statements_do_not_grow_with_the_rows(self, user: Any, no_time: None) -> None:
        counts = []
        for number in (3, 300):
            collection = DownloadCollectionFactory(user=user)
            rows = DownloadFactory.build_batch(number, collection=collection, failed=True)
            Download.objects.bulk_create(rows)
            with CaptureQueriesContext(connection) as captured:
                assert store.clear_finished(user.pk) == number
            counts.append(len(captured))
        assert counts[0] == counts[1] <= 10

    @pytest.mark.parametrize("late", ["a retry", "an error"])
    def test_a_late_write_does_not_bring_back_a_cleared_download(
        self, user: Any, no_time: None, late: str
    ) -> None:
        download = DownloadFactory(collection__user=user)
        cache.set_error(download.download_key, "first")
        assert store.clear_finished(user.pk) == 1
        if late == "a retry":
            assert store.claim(download.download_key) is None
        else:
            cache.set_error(download.download_key, "second")
        assert store.read_listing(resolve(user)).downloads == []
        assert store.clean_up().downloads == 1

    @pytest.mark.parametrize("late", ["staff keep it for longer", "its file is found missing"])
    def test_a_late_change_does_not_bring_back_a_cleared_file(
        self, user: Any, no_time: None, late: str
    ) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        assert store.clear_finished(user.pk) == 1
        if late == "staff keep it for longer":
            until = timezone.now() + timedelta(days=1)
            assert store.extend_expiry(Download.objects.all(), until) == 0
        else:
            storage.remove(download.filepath)
            # A request that started before the download was cleared.
            assert store.record_missing_file(download)
        assert store.read_listing(resolve(user)).downloads == []
        assert store.clean_up().downloads == 1

    def test_an_attempt_that_resumes_after_a_failure_notices(
        self, user: Any, no_time: None
    ) -> None:
        download = DownloadFactory(collection__user=user)
        attempt = store.claim(download.download_key)
        assert attempt is not None
        with pytest.raises(DownloadCancelled), attempt:
            attempt.report_error("first", detail="")
            assert store.clear_finished(user.pk) == 1
            attempt.resume()
            stored = storage.save(download.filepath, ContentFile(b"late"))
            attempt.complete(stored)
        assert store.read_listing(resolve(user)).downloads == []
        store.clean_up()
        assert not exists(download)

    def test_the_owners_pages_are_out_of_date(
        self, user: Any, no_time: None, shared_cache: str
    ) -> None:
        download = DownloadFactory(collection__user=user, complete=True)
        before = store.read_listing(resolve(user)).version
        store.clear_finished(user.pk)
        changed = store.read_changes(resolve(user), before)
        assert changed is not None
        assert (changed.downloads, changed.total) == ([], 0)
        assert cache_entries.get_version(download.collection.key) is not None

    def test_without_a_user_there_is_nothing_to_clear(self) -> None:
        DownloadFactory(collection__user=None, collection__label="reports", complete=True)
        assert store.clear_finished(None) == 0
        assert Download.objects.exists()


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

    def test_a_file_that_is_already_missing_counts_as_deleted(self) -> None:
        download = DownloadFactory(complete=True)
        default_storage.delete(download.filepath)
        assert store.purge(Download.objects.all()) == 1

    def test_a_purge_is_repeated_if_the_database_aborts_it_to_resolve_a_deadlock(self) -> None:
        download = DownloadFactory(complete=True)
        aborted = []

        def abort_the_first(execute: Any, sql: str, *arguments: Any) -> Any:
            if sql.startswith("DELETE") and not aborted:
                aborted.append(sql)
                raise OperationalError("Deadlock found when trying to get lock")
            return execute(sql, *arguments)

        with connection.execute_wrapper(abort_the_first):
            assert store.purge(Download.objects.all()) == 1
        assert aborted
        assert not exists(download)


@pytest.mark.parametrize("similar", ["REPORTS", "reports ", "réports"])
def test_a_collection_key_must_be_equal_whatever_the_collation(similar: str) -> None:
    key, _ = cache.init_download("reports", "a.csv")
    other, _ = cache.init_download(similar, "b.csv")
    for each in (key, other):
        assert [found.key for found in store.collections_by_key(each)] == [each]
