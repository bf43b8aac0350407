"""The clean-up."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import cache, owners, store, tasks
from async_downloads.files import storage
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import cache_entries, cleanup, jobs
from tests.attempts import long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)


def exists(download: Download) -> bool:
    return bool(default_storage.exists(download.filepath))


class TestCleanUp:
    def test_only_expired_downloads_go(self) -> None:
        expired = DownloadFactory(complete=True, expired=True)
        kept = DownloadFactory(complete=True)
        done = store.clean_up()
        assert (done.downloads, done.size) == (1, 4)
        assert not exists(expired)
        assert exists(kept)

    def test_a_second_clean_up_finds_nothing(self) -> None:
        DownloadFactory(complete=True, expired=True)
        assert store.clean_up().downloads == 1
        assert store.clean_up().downloads == 0

    def test_a_dry_run_removes_nothing(self) -> None:
        expired = DownloadFactory(complete=True, expired=True)
        assert store.clean_up(dry_run=True).downloads == 1
        assert exists(expired)

    def test_what_never_expires_goes_once_it_is_marked_as_cleared(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cleanup, "FIRST_BATCH", 2)
        rows = DownloadFactory.create_batch(5, complete=True, expires_at=None)
        held = DownloadFactory(complete=True, expires_at=None, held=True)
        # Their rows were locked when their owners cleared them.
        cleared = {rows[1], rows[3]}
        assert cache_entries.mark_cleared(row.download_key for row in {*cleared, held})
        assert store.clean_up(dry_run=True).downloads == 2
        done = store.clean_up()
        assert (done.downloads, done.size, done.left) == (2, 8, 0)
        assert set(Download.objects.all()) == {held, *rows} - cleared
        assert not any(map(exists, cleared))
        assert store.clean_up().downloads == 0

    def test_it_works_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cleanup, "FIRST_BATCH", 3)
        collection = DownloadFactory(failed=True, expired=True).collection
        moment = timezone.now() - timedelta(minutes=5)
        for _ in range(9):
            # All expire at once: the next batch must continue inside the same moment.
            DownloadFactory(collection=collection, failed=True, expires_at=moment)
        assert store.clean_up(dry_run=True).downloads == 10
        assert store.clean_up().downloads == 10
        assert Download.objects.count() == 0

    def test_the_queries_of_a_batch_do_not_grow_with_it(self) -> None:
        collection = DownloadFactory().collection
        counts = []
        for number in (10, 60):
            for _ in range(number):
                DownloadFactory(collection=collection, expired=True, failed=True)
            with CaptureQueriesContext(connection) as queries:
                assert store.clean_up().downloads == number
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 20

    def test_an_overdue_download_fails_first_and_is_then_kept(self, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_TIMEOUT = 3600
        waiting = DownloadFactory(expired=True, heard_at=long_ago())
        running = DownloadFactory(running=True, expired=True, heard_at=long_ago())
        ended = DownloadFactory(expired=True, heard_at=long_ago(), started_at=long_ago())
        done = store.clean_up()
        assert (done.downloads, done.failed, done.left) == (0, 3, 0)
        reasons = {
            waiting: "It was not started in time. Please request it again.",
            running: "It stopped responding. Please request it again.",
            ended: "The task ended without a file. Please request it again.",
        }
        for download, reason in reasons.items():
            download.refresh_from_db()
            assert (download.state, download.errors) == ("failed", reason)
            assert "ASYNC_DOWNLOADS_TIMEOUT (3600 seconds)" in download.error_detail
            left = download.expires_at - timezone.now()
            assert timedelta(minutes=50) < left <= timedelta(hours=1)
            entry = cache_entries.get_entry(download.download_key)
            assert entry is not None
            assert (entry["state"], entry["errors"]) == ("failed", reason)
        assert store.clean_up().failed == 0
        Download.objects.update(expires_at=timezone.now())
        assert store.clean_up().downloads == 3

    def test_a_dry_run_fails_nothing(self) -> None:
        DownloadFactory(expired=True, heard_at=long_ago())
        assert store.clean_up(dry_run=True).failed == 1
        assert Download.objects.get().state == "pending"

    def test_a_download_that_was_cleared_while_locked_is_deleted(self, shared_cache: str) -> None:
        cleared = DownloadFactory(running=True, expired=True, heard_at=long_ago())
        assert cache_entries.mark_cleared([cleared.download_key])
        assert store.clean_up(dry_run=True).downloads == 1
        done = store.clean_up()
        assert (done.downloads, done.failed) == (1, 0)
        assert not Download.objects.exists()

    def test_an_export_with_heartbeats_in_the_cache_alone_goes_on(self) -> None:
        quiet = DownloadFactory(running=True, expired=True, heard_at=long_ago())
        alive = DownloadFactory(running=True, expired=True, heard_at=long_ago())
        with transaction.atomic():
            cache.set_percentage(alive.download_key, 50)
        assert store.clean_up().failed == 1
        assert Download.objects.get(pk=quiet.pk).failed
        assert Download.objects.get(pk=alive.pk).state == "running"

    def test_a_heartbeat_between_reading_and_failing_keeps_the_attempt(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        download = DownloadFactory(running=True, expired=True, heard_at=long_ago())
        real = cleanup.with_live_progress

        def beat_meanwhile(rows: list[Download]) -> list[Download]:
            Download.objects.filter(pk=download.pk).heartbeat()
            return real(rows)

        monkeypatch.setattr(cleanup, "with_live_progress", beat_meanwhile)
        assert store.clean_up().failed == 0
        assert Download.objects.get().state == "running"

    def test_a_process_that_dies_between_file_and_row_leaves_no_orphan(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        downloads = [DownloadFactory(complete=True, expired=True) for _ in range(3)]
        real = storage.sweep
        swept: list[str] = []

        def die_at_the_second(path: str, **options: Any) -> None:
            real(path, **options)
            swept.append(path)
            if len(swept) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(storage, "sweep", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            store.clean_up()
        assert Download.objects.count() == 3
        monkeypatch.setattr(storage, "sweep", real)
        assert store.clean_up().downloads == 3
        assert not any(exists(download) for download in downloads)

    @pytest.mark.parametrize(("seconds", "rows"), [(0.0, 500), (9.0, 1)], ids=["quick", "slow"])
    def test_the_size_of_a_batch_follows_its_duration(
        self, seconds: float, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr(cleanup.time, "monotonic", lambda: next(clock) * seconds)
        pace = cleanup.Pace()
        for _ in range(10):
            with pace:
                pass
        assert pace.rows == rows


class TestCollections:
    def test_empty_collections_go_and_others_stay(self) -> None:
        DownloadFactory(failed=True, expired=True)
        DownloadCollectionFactory()
        kept = DownloadFactory().collection
        assert store.clean_up(dry_run=True).collections == 1
        assert store.clean_up().collections == 2
        assert list(DownloadCollection.objects.all()) == [kept]

    def test_the_clean_up_of_one_collection_deletes_no_collection(self) -> None:
        collection = DownloadFactory(failed=True, expired=True).collection
        cache.cleanup_collection(collection.key)
        assert Download.objects.count() == 0
        assert list(DownloadCollection.objects.all()) == [collection]

    def test_the_owner_of_a_deleted_collection_gets_a_new_one(self, user: Any) -> None:
        key, _ = cache.init_download(user, "a.csv")
        Download.objects.all().delete()
        store.clean_up()
        assert cache.init_download(user, "b.csv")[0] == key
        assert [item.name for item in store.read_listing(owners.resolve(user)).downloads] == [
            "b.csv"
        ]

    def test_a_download_that_is_being_created_keeps_its_collection(
        self, user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A download starts between the search for empty collections and their deletion."""
        DownloadCollectionFactory(user=user)
        real = cleanup.skips_locked

        def start_meanwhile() -> bool:
            if not Download.objects.exists():
                cache.init_download(user, "a.csv")
            return real()

        monkeypatch.setattr(cleanup, "skips_locked", start_meanwhile)
        assert store.clean_up().collections == 0
        assert Download.objects.get().collection.user == user


class TestAlone:
    def test_a_second_clean_up_does_not_start_beside_the_first(self, shared_cache: str) -> None:
        DownloadFactory(failed=True, expired=True)
        assert cache_entries.start_job(jobs.name_of("cleanup"))
        assert store.clean_up_alone() is None
        tasks.cleanup_expired_downloads()
        assert Download.objects.count() == 1

    def test_another_site_on_the_same_cache_can_clean_up(self, shared_cache: str) -> None:
        assert cache_entries.start_job("the database of another site")
        assert store.clean_up_alone() is not None

    def test_the_next_clean_up_starts_after_the_first(self, shared_cache: str) -> None:
        for _ in range(2):
            done = store.clean_up_alone()
            assert done is not None
            assert done.downloads == 0

    def test_a_failed_clean_up_does_not_block_the_next(
        self, shared_cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(cleanup, "clean_up", lambda **options: 1 / 0)
            store.clean_up_alone()
        assert store.clean_up_alone() is not None

    def test_without_a_shared_cache_a_clean_up_always_starts(self) -> None:
        assert cache_entries.start_job(jobs.name_of("cleanup"))
        assert store.clean_up_alone() is not None
