"""The summary and the progress that pages of the admin request by themselves."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from async_downloads import cache
from async_downloads.models import Download
from tests.clocks import put_database_ahead
from tests.factories import DownloadFactory
from tests.staff import LIST, detail, text

pytestmark = pytest.mark.any_database

SUMMARY = f"{LIST}summary/"
PROGRESS = f"{LIST}progress/"


def polled(page: str) -> set[str]:
    """Return the keys that a page will poll for."""
    (element,) = re.findall(r'<div id="async-downloads-live"[^>]*>', page)
    match = re.search(r'keys=([0-9a-f,]*)"', element)
    assert ("hx-trigger" in element) is bool(match)
    return set() if match is None else set(match[1].split(","))


def test_the_summary_counts_by_state_with_links_to_the_list(admin: Client) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    DownloadFactory.create_batch(2, complete=True)
    DownloadFactory(running=True, heard_at=long_ago)
    page = re.sub(r"\s+", " ", text(admin, SUMMARY))
    assert 'href="/admin/async_downloads/download/?condition=stalled"' in page
    assert 'href="/admin/async_downloads/download/?state__exact=complete"' in page
    plain = re.sub("<.*?>", "", page)
    assert "Stalled 1 Complete 2 8 bytes All 3 8 bytes" in re.sub(" +", " ", plain)


def test_the_list_does_not_wait_for_the_summary(admin: Client) -> None:
    DownloadFactory(complete=True)
    with CaptureQueriesContext(connection) as captured:
        page = text(admin, LIST)
    assert f'hx-get="{SUMMARY}"' in page
    # Without scripts it is a link.
    assert f'<a href="{SUMMARY}">' in page
    assert not [query for query in captured if "COUNT" in query["sql"] or "SUM(" in query["sql"]]


def test_a_page_polls_for_its_downloads_in_progress(admin: Client) -> None:
    running = [DownloadFactory(running=True), DownloadFactory()]
    DownloadFactory(complete=True)
    DownloadFactory(running=True, heard_at=timezone.now() - timedelta(hours=1))
    assert polled(text(admin, LIST)) == {row.pk.hex for row in running}
    assert polled(text(admin, LIST, state__exact="complete")) == set()
    assert polled(text(admin, detail(running[0]))) == {running[0].pk.hex}


def test_the_clock_of_the_database_says_what_is_in_progress(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By the clock of this process, the last heartbeat was an hour ago.
    put_database_ahead(monkeypatch, -3600)
    row = DownloadFactory(running=True, heard_at=timezone.now() - timedelta(hours=1))
    assert polled(text(admin, LIST)) == {row.pk.hex}
    assert polled(text(admin, PROGRESS, keys=row.pk.hex)) == {row.pk.hex}


def test_a_poll_brings_changes_and_the_last_one_ends_the_polling(admin: Client) -> None:
    first, second = DownloadFactory(running=True), DownloadFactory(running=True)
    keys = f"{first.pk.hex},{second.pk.hex}"
    Download.objects.filter(pk=first.pk).complete(path="a.csv", size=2048, rows_written=1234)
    Download.objects.filter(pk=second.pk).progress(55)
    answer = text(admin, PROGRESS, keys=keys)
    assert polled(answer) == {second.pk.hex}
    cells = {
        name: re.findall(rf'<span id="{name}-(\w+)" hx-swap-oob="true">', answer)
        for name in ("state", "size")
    }
    assert {tuple(sorted(keys)) for keys in cells.values()} == {
        tuple(sorted((first.pk.hex, second.pk.hex)))
    }
    assert "Complete</span>" in answer
    assert "1,234 rows" in answer
    assert "2.0\xa0KB" in answer
    assert 'value="55"' in answer
    Download.objects.filter(pk=second.pk).fail("no")
    assert polled(text(admin, PROGRESS, keys=keys)) == set()


def test_staff_see_that_a_download_does_not_move(admin: Client, settings: Any) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    stuck = DownloadFactory(running=True, moved_at=an_hour_ago)
    stalled = DownloadFactory(running=True, moved_at=an_hour_ago, heard_at=an_hour_ago)
    moving = DownloadFactory(running=True)
    assert "Not moving" not in text(admin, LIST)
    settings.ASYNC_DOWNLOADS_STUCK_AFTER = 600
    assert "condition=stuck" in text(admin, LIST)
    assert "Not moving" in text(admin, detail(stuck))
    assert "Not moving" in text(admin, PROGRESS, keys=stuck.pk.hex)
    for download in (stalled, moving):
        assert "Not moving" not in text(admin, PROGRESS, keys=download.pk.hex)
    listed = text(admin, LIST, condition="stuck")
    assert [each.pk.hex in listed for each in (stuck, stalled, moving)] == [True, False, False]


def test_every_page_shows_the_live_percentage(admin: Client, user: Any) -> None:
    # As inside a transaction: other connections do not see the changed row.
    _, key = cache.init_download(user, "a.csv")
    from async_downloads.store import write_through

    write_through.write_progress(Download.objects.select_related("collection__user").get(), 73)
    assert Download.objects.get().percentage == 0
    pages = [
        text(admin, LIST),
        text(admin, detail(Download.objects.get())),
        text(admin, PROGRESS, keys=key),
    ]
    for page in pages:
        assert 'value="73"' in page


def test_a_poll_costs_the_same_for_any_number_of_downloads(admin: Client) -> None:
    def queries(count: int) -> int:
        keys = ",".join(row.pk.hex for row in DownloadFactory.create_batch(count, running=True))
        with CaptureQueriesContext(connection) as captured:
            text(admin, PROGRESS, keys=keys)
        return len(captured)

    assert queries(1) == queries(30)


@pytest.mark.parametrize("keys", ["", "x", "00000000-0000-4000-8000-000000000000,"])
def test_invalid_keys_are_refused(admin: Client, keys: str) -> None:
    assert admin.get(PROGRESS, {"keys": keys}).status_code == 400


def test_no_response_may_be_cached(admin: Client) -> None:
    for url in (SUMMARY, f"{PROGRESS}?keys={uuid.uuid4()}"):
        assert "no-store" in admin.get(url)["Cache-Control"]


def test_pages_add_no_inline_script_or_style(admin: Client) -> None:
    download = DownloadFactory(running=True)
    other_page = text(admin, reverse("admin:auth_group_change", args=[Group.objects.create().pk]))
    for page in (text(admin, LIST), text(admin, detail(download)), text(admin, SUMMARY)):
        for pattern in (r"<script(?![^>]*src=)[^>]*>", r"<style", r" style=", r" on\w+="):
            own, known = re.findall(pattern, page), re.findall(pattern, other_page)
            assert set(own) <= set(known), pattern
