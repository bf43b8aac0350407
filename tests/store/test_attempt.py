"""One attempt at building a file."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.files import storage
from async_downloads.models import Download, DownloadQuerySet
from async_downloads.signals import download_changed
from async_downloads.store import cache_entries
from tests.attempts import claimed, long_ago, stall_all
from tests.factories import DownloadFactory, OrderFactory
from tests.recorded_calls import recorded
from tests.shop.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hasty")]


class TestProgress:
    def recorded(self, total: int, *, stride: int = 1) -> list[int]:
        """Return the percentages that an attempt records while it writes this many rows."""
        attempt, percentages = claimed(DownloadFactory()), []

        def listen(download_key: str, **_: object) -> None:
            percentages.append(Download.objects.get(pk=download_key).percentage)

        download_changed.connect(listen)
        attempt.begin_file("orders.csv")
        for current in range(0, total, stride):
            attempt.report_progress(total, current)
        download_changed.disconnect(listen)
        return percentages

    def test_each_tenth_is_recorded_once(self) -> None:
        assert self.recorded(100) == list(range(10, 101, 10))
        assert self.recorded(3) == [30, 60, 100]

    def test_a_stride_records_the_tenth_it_lands_in(self) -> None:
        assert self.recorded(100, stride=33) == [30, 60, 100]

    def test_more_rows_than_were_counted_stay_at_all_of_them(self) -> None:
        attempt = claimed(DownloadFactory())
        for current in range(20):
            attempt.report_progress(10, current)
        assert Download.objects.get().percentage == 100

    def test_without_a_total_nothing_is_recorded(self) -> None:
        attempt = claimed(DownloadFactory())
        attempt.report_progress(0, 5)
        assert Download.objects.get().percentage == 0

    def test_a_second_file_begins_anew(self) -> None:
        attempt = claimed(DownloadFactory())
        attempt.report_progress(10, 9)
        attempt.begin_file("orders.csv")
        attempt.report_progress(10, 4)
        assert Download.objects.get().percentage == 50


class TestAttempt:
    def test_a_lost_attempt_stops_at_its_next_heartbeat_and_leaves_the_winner_alone(self) -> None:
        download = DownloadFactory()
        loser = claimed(download)
        stall_all()
        winner = claimed(download)
        with pytest.raises(DownloadCancelled), loser:
            list(loser.with_heartbeats([["row"]]))
        winner.complete(storage.save(download.filepath, ContentFile(b"winner")))
        loser.abandon()
        download.refresh_from_db()
        with default_storage.open(download.filepath) as file:
            assert file.read() == b"winner"

    def test_a_lost_attempt_cannot_overwrite_the_winner(self) -> None:
        download = DownloadFactory()
        loser = claimed(download)
        stall_all()
        winner = claimed(download)
        winner.complete(storage.save(download.filepath, ContentFile(b"winner")))
        with pytest.raises(DownloadCancelled):
            loser.complete(storage.save(download.filepath, ContentFile(b"loser")))
        loser.fail("late", detail="")
        download.refresh_from_db()
        assert download.state == "complete"
        folder = download.filepath.rpartition("/")[0]
        assert len(default_storage.listdir(folder)[1]) == 1

    def test_a_failed_attempt_leaves_the_file_of_the_next_one_alone(self) -> None:
        download = DownloadFactory()

        def begin_again(change: str, **_: Any) -> None:
            if change == "failed":
                winner = claimed(download)
                winner.complete(storage.save(winner.output.path, ContentFile(b"winner")))

        download_changed.connect(begin_again)
        try:
            with pytest.raises(OSError, match="full"), claimed(download):
                raise OSError("full")
        finally:
            download_changed.disconnect(begin_again)
        download.refresh_from_db()
        assert download.complete
        assert default_storage.exists(download.filepath)

    def test_a_lost_attempt_leaves_the_winners_file_on_a_storage_that_overwrites(
        self, settings: Any
    ) -> None:
        options = {"BACKEND": "tests.storages.OverwritingStorage"}
        settings.STORAGES = {**settings.STORAGES, "default": options}
        download = DownloadFactory()
        loser = claimed(download)
        stall_all()
        winner = claimed(download)
        winner.complete(storage.save(winner.output.path, ContentFile(b"winner")))
        with pytest.raises(DownloadCancelled):
            loser.complete(storage.save(loser.output.path, ContentFile(b"loser")))
        loser.abandon()
        with default_storage.open(Download.objects.get().filepath) as file:
            assert file.read() == b"winner"

    @pytest.mark.parametrize("way", ["rescued", "tried again", "failed by staff"])
    def test_a_late_attempt_leaves_the_file_of_the_next_one_on_a_storage_that_overwrites(
        self, settings: Any, way: str
    ) -> None:
        options = {"BACKEND": "tests.storages.OverwritingStorage"}
        settings.STORAGES = {**settings.STORAGES, "default": options}
        download = DownloadFactory(**recorded())
        loser = claimed(download)
        stall_all()
        if way == "rescued":
            assert Download.objects.rescue() == 1
        elif way == "tried again":
            assert Download.objects.retry() == 1
        else:
            assert Download.objects.stop("Stopped.") == 1
        winner = claimed(download)
        # The process of the first one goes on, inside the storage.
        with winner:
            winner.complete(storage.save(winner.output.path, ContentFile(b"winner")))
        with pytest.raises(DownloadCancelled), loser:
            loser.complete(storage.save(loser.output.path, ContentFile(b"loser")))
        row = Download.objects.get()
        with default_storage.open(row.filepath) as file:
            assert file.read() == b"winner"
        folder = row.filepath.rpartition("/")[0]
        assert len(default_storage.listdir(folder)[1]) == 1

    @pytest.mark.parametrize("text", ["half a pair: \udc80", "a zero: \x00"], ids=["half", "zero"])
    def test_any_text_of_a_failure_is_recorded(
        self, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        # pytest-xdist cannot send half a pair from one process to another.
        caplog.set_level(logging.CRITICAL + 1, logger="async_downloads")
        download = DownloadFactory()

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            raise ValueError(text)

        cache.save_download(download.download_key, rows())
        assert Download.objects.get().state == "failed"
        cache.set_error(download.download_key, text)

    def test_an_error_that_the_task_reports_does_not_cancel_it(self) -> None:
        download = DownloadFactory()

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            cache.set_error(download.download_key, "A row was skipped")
            cache.set_percentage(download.download_key, 50)
            yield ["two"]

        cache.save_download(download.download_key, rows())
        assert Download.objects.get().state == "complete"

    def test_progress_before_the_claim_stands(self) -> None:
        download = DownloadFactory()
        cache.set_percentage(download.download_key, 80)
        claimed(download)
        assert Download.objects.get().percentage == 80

    def test_the_rows_are_closed_when_they_fail(self) -> None:
        download = DownloadFactory()
        closed: list[bool] = []

        def rows() -> Iterator[list[str]]:
            try:
                yield ["\ud800"]
            finally:
                closed.append(True)

        # With a reference, no garbage collection closes it.
        generator = rows()
        cache.save_download(download.download_key, generator)
        assert Download.objects.get().state == "failed"
        assert closed == [True]

    def test_the_loop_over_the_rows_gives_the_heartbeats(self) -> None:
        download = DownloadFactory()

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            Download.objects.update(heard_at=long_ago())
            yield ["two"]
            yield ["three"]
            assert Download.objects.get().heard_at > timezone.now() - timedelta(seconds=10)

        cache.save_download(download.download_key, rows())
        assert Download.objects.get().state == "complete"

    def test_a_progress_write_that_fails_does_not_fail_the_export(
        self, monkeypatch: pytest.MonkeyPatch, shared_cache: str
    ) -> None:
        download = DownloadFactory()

        def locked(*args: Any, **kwargs: Any) -> int:
            raise DatabaseError("database is locked")

        monkeypatch.setattr(DownloadQuerySet, "progress", locked)
        monkeypatch.setattr(DownloadQuerySet, "heartbeat", locked)

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            cache.set_percentage(download.download_key, 40)
            entry = cache_entries.get_entry(download.download_key)
            assert entry is not None
            assert entry["percentage"] == 40
            yield ["two"]

        cache.save_download(download.download_key, rows())
        assert Download.objects.get().state == "complete"

    def test_an_attempt_that_reads_rows_can_write_while_others_do(self) -> None:
        """On SQLite a connection that reads has a snapshot, and cannot write to an old one."""
        orders = OrderFactory.create_batch(4)
        download = DownloadFactory()

        def elsewhere(work: Callable[[], object]) -> None:
            def run() -> None:
                work()
                connection.close()

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()

        seen: list[int] = []

        def rows() -> Iterator[list[str]]:
            with closing(Order.objects.order_by("pk").iterator(chunk_size=1)) as cursor:
                yield [next(cursor).reference]
                elsewhere(lambda: Order.objects.filter(pk=orders[0].pk).update(total=1))
                cache.set_percentage(download.download_key, 25)
                elsewhere(lambda: seen.append(Download.objects.get().percentage))
                yield [next(cursor).reference]
                elsewhere(lambda: Download.objects.all().delete())
                yield [next(cursor).reference]
                pytest.fail("No heartbeat noticed that the download was cleared.")

        with pytest.raises(DownloadCancelled):
            cache.save_download(download.download_key, rows())
        assert seen == [25]

    def test_a_heartbeat_inside_a_transaction_writes_to_the_cache_alone(
        self, shared_cache: str
    ) -> None:
        download = DownloadFactory()
        attempt = claimed(download)
        Download.objects.update(heard_at=long_ago())
        with transaction.atomic():
            attempt.heartbeat()
            assert Download.objects.get().stalled
        listing = store.read_listing(download.collection.owner)
        assert [row.stalled for row in listing.downloads] == [False]

    def test_an_attempt_whose_download_was_cleared_while_locked_does_not_complete_it(
        self, shared_cache: str
    ) -> None:
        download = DownloadFactory()

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            assert cache_entries.mark_cleared([download.download_key])

        with pytest.raises(DownloadCancelled):
            cache.save_download(download.download_key, rows())
        assert not Download.objects.exists()
        assert not default_storage.exists(download.filepath)

    def test_a_storage_that_cannot_list_does_no_harm(self, settings: Any) -> None:
        options = {"BACKEND": "tests.storages.StorageWithoutList"}
        settings.STORAGES = {**settings.STORAGES, "default": options}
        download = DownloadFactory(running=True, heard_at=long_ago())
        cache.save_download(download.download_key, (1 / 0 for _ in [1]))  # type: ignore[arg-type, misc]
        assert Download.objects.get().state == "failed"
        cache.save_download(download.download_key, [["row"]])
        assert Download.objects.get().state == "complete"

    def test_a_connection_that_dies_does_not_fail_the_export(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL lets one connection end another")
        download = DownloadFactory()

        def rows() -> Iterator[list[str]]:
            yield ["one"]
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (pid,) = cursor.fetchone()
            other = connection.copy("default")
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            other.close()
            yield ["two"]
            yield ["three"]

        cache.save_download(download.download_key, rows())
        connection.close()
        download.refresh_from_db()
        assert (download.state, download.errors) == ("complete", "")
