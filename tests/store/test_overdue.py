"""Unfinished downloads without a heartbeat for TIMEOUT fail with a reason, and are kept."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from async_downloads import cache, owners, store, tasks
from async_downloads.models import Download
from async_downloads.shortcuts import download_task
from async_downloads.store import cache_entries, claiming, overdue
from tests import jobs
from tests.attempts import long_ago, stall_all
from tests.factories import DownloadFactory
from tests.store.test_transactions import locked_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

NOT_STARTED = "It was not started in time. Please request it again."


@pytest.fixture
def late(user: Any) -> Download:
    """Return a download that has waited for a worker for longer than ``TIMEOUT``."""
    download: Download = DownloadFactory(collection__user=user, expired=True, heard_at=long_ago())
    return download


@download_task
def export(download_key: str) -> None:
    cache.save_download(download_key, [["row"]])


class TestReading:
    def test_a_listing_fails_it_with_a_reason_and_keeps_it(self, user: Any, late: Download) -> None:
        listing = store.read_listing(owners.resolve(user))
        assert [(row.state, row.errors) for row in listing.downloads] == [("failed", NOT_STARTED)]
        late.refresh_from_db()
        assert (late.state, late.errors) == ("failed", NOT_STARTED)
        assert late.expires_at is not None
        assert late.expires_at > timezone.now() + timedelta(hours=23)
        assert store.clean_up().downloads == 0

    def test_a_page_that_polls_is_out_of_date(self, user: Any, late: Download) -> None:
        owner = owners.resolve(user)
        Download.objects.update(expires_at=timezone.now() + timedelta(hours=1))
        seen = store.read_listing(owner).version
        Download.objects.update(expires_at=timezone.now())
        changes = store.read_changes(owner, seen)
        assert changes is not None
        assert changes.downloads[0].errors == NOT_STARTED

    @pytest.mark.parametrize("name", ["ajax_update", "download_list"])
    def test_every_page_of_the_owner_shows_the_reason(
        self, signed_in: Client, late: Download, name: str
    ) -> None:
        response = signed_in.get(reverse(f"async_downloads:{name}"))
        assert NOT_STARTED in response.content.decode()

    def test_the_admin_shows_the_reason(
        self, client: Client, staff_user: Any, late: Download
    ) -> None:
        client.force_login(staff_user)
        for path in ("", f"{late.pk}/change/"):
            response = client.get(f"/admin/async_downloads/download/{path}")
            assert NOT_STARTED in response.content.decode()
        assert Download.objects.get().failed

    def test_the_reason_is_in_the_language_of_the_reader(self, late: Download) -> None:
        store.clean_up()
        late.refresh_from_db()
        with translation.override("de"):
            assert late.error_text != NOT_STARTED

    def test_a_live_attempt_is_left_alone(self, user: Any) -> None:
        """TIMEOUT may be shorter than the time between two heartbeats."""
        DownloadFactory(collection__user=user, running=True, expired=True)
        listing = store.read_listing(owners.resolve(user))
        assert [row.state for row in listing.downloads] == ["running"]
        assert Download.objects.get().state == "running"

    def test_without_a_timeout_nothing_is_overdue(self, user: Any, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_TIMEOUT = None
        _, key = cache.init_download(user, "a.csv")
        stall_all()
        [download] = store.read_listing(owners.resolve(user)).downloads
        assert (download.state, download.stalled) == ("pending", True)
        assert store.clean_up().failed == 0
        tasks.run_task("tests.jobs.export", key)
        assert Download.objects.get().complete

    def test_it_is_shown_as_stalled_if_the_database_cannot_write(
        self, user: Any, late: Download, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any) -> int:
            raise DatabaseError("read-only")

        monkeypatch.setattr(overdue, "fail_overdue", refuse)
        [download] = store.read_listing(owners.resolve(user)).downloads
        assert (download.state, download.stalled) == ("pending", True)

    def test_a_locked_row_is_shown_as_stalled_without_a_wait(
        self, user: Any, late: Download
    ) -> None:
        if not connections["default"].features.has_select_for_update_skip_locked:
            pytest.skip("it has no locks of single rows")
        with locked_elsewhere():
            [download] = store.read_listing(owners.resolve(user)).downloads
        assert (download.state, download.stalled) == ("pending", True)


class TestStartingLate:
    @pytest.mark.parametrize("first", ["nothing", "a clean-up", "a look"])
    @pytest.mark.parametrize("call", ["run_task", "download_task", "save_download"])
    def test_a_worker_that_starts_late_still_builds_it(
        self, user: Any, late: Download, first: str, call: str
    ) -> None:
        if first == "a clean-up":
            store.clean_up()
        elif first == "a look":
            store.read_listing(owners.resolve(user))
        key = late.download_key
        if call == "run_task":
            tasks.run_task("tests.jobs.export", key)
            jobs.calls.clear()
        elif call == "download_task":
            export(key)
        else:
            cache.save_download(key, [["row"]])
        late.refresh_from_db()
        assert (late.state, late.errors) == ("complete", "")
        entry = cache_entries.get_entry(key)
        assert entry is not None
        assert entry["complete"]

    def test_a_waiting_delivery_takes_over_after_the_failure(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TIMEOUT may be shorter than STALLED_AFTER, so that both are over at once."""
        key = DownloadFactory(running=True).download_key

        def wait(seconds: float) -> None:
            stall_all()
            Download.objects.update(expires_at=timezone.now())
            assert store.clean_up().failed == 1

        monkeypatch.setattr(claiming.time, "sleep", wait)
        cache.save_download(key, [["row"]])
        assert Download.objects.get().complete

    def test_an_attempt_without_heartbeats_still_finishes_it(self, late: Download) -> None:
        def rows() -> Any:
            Download.objects.update(heard_at=long_ago(), expires_at=timezone.now())
            cache_entries.delete_entry(late.download_key)
            assert store.clean_up().failed == 1
            yield ["row"]

        cache.save_download(late.download_key, rows())
        assert Download.objects.get().complete


def test_only_the_given_downloads_fail(late: Download) -> None:
    other = DownloadFactory(expired=True, heard_at=long_ago())
    assert overdue.fail_overdue([late.pk, uuid.uuid4()]) == 1
    other.refresh_from_db()
    assert other.state == "pending"
