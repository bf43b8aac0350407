"""Bulk actions on chosen downloads, and their confirmation pages."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.test import Client
from django.utils import timezone

from async_downloads.admin import actions
from async_downloads.models import Download, DownloadCollection
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.staff import COLLECTIONS, LIST, chosen, staff_with, text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

#: By action: the permission, the number of ``assorted`` that it changes, and the message.
ACTIONS = {
    "delete_selected": ("delete_download", 4, "4 downloads were purged."),
    "cancel": ("delete_download", 2, "2 downloads were cancelled."),
    "mark_failed": ("change_download", 2, "2 downloads were marked as failed."),
    "extend_expiry": ("change_download", 2, "2 downloads are kept for longer."),
}


@pytest.fixture
def assorted() -> list[Download]:
    return [
        DownloadFactory(name="waiting"),
        DownloadFactory(name="running", running=True),
        DownloadFactory(name="complete", complete=True),
        DownloadFactory(name="failed", failed=True),
    ]


def state() -> list[Any]:
    return list(Download.objects.order_by("pk").values("pk", "state", "expires_at", "claim"))


def fields(page: str) -> dict[str, Any]:
    """Return the data that the form of a confirmation page would send."""
    form = page[page.index('<form method="post">') :]
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    keys = [value for name, value in pairs if name == "_selected_action"]
    return {**dict(pairs), "_selected_action": keys, "days": "7"}


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_shows_counts_to_confirm_and_then_acts(
    admin: Client, assorted: list[Download], action: str
) -> None:
    _, count, message = ACTIONS[action]
    before = state()
    page = chosen(admin, action, assorted).content.decode()
    assert f"<h2>{count} downloads" in page
    assert state() == before
    done = admin.post(LIST, fields(page), follow=True).content.decode()
    assert message in done
    assert state() != before


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_needs_its_permission(assorted: list[Download], action: str) -> None:
    permission, _, _ = ACTIONS[action]
    lacking = {"delete_download", "change_download"} - {permission}
    before = state()
    others = staff_with("view_download", *lacking)
    assert f'value="{action}"' not in text(others, LIST)
    chosen(others, action, assorted, post="yes", days="7")
    assert state() == before
    allowed = staff_with("view_download", permission)
    assert f'value="{action}"' in text(allowed, LIST)
    chosen(allowed, action, assorted, post="yes", days="7")
    assert state() != before


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_logged_in_the_history(
    admin: Client, assorted: list[Download], action: str
) -> None:
    _, count, _ = ACTIONS[action]
    chosen(admin, action, assorted, post="yes", days="7")
    entries = LogEntry.objects.all()
    assert len(entries) == count
    flag = DELETION if action in ("delete_selected", "cancel") else CHANGE
    assert {entry.action_flag for entry in entries} == {flag}
    assert {entry.object_repr for entry in entries} <= {row.name for row in assorted}


@pytest.mark.parametrize("action", ["cancel", "mark_failed"])
def test_an_action_without_effect_shows_no_confirmation_page(admin: Client, action: str) -> None:
    page = chosen(admin, action, [DownloadFactory(complete=True)]).content.decode()
    assert "Nothing to do" in page
    assert Download.objects.get().complete


def test_a_download_requested_after_the_confirmation_page_is_not_purged(
    admin: Client, assorted: list[Download]
) -> None:
    page = chosen(admin, "delete_selected", assorted[:1], select_across="1").content.decode()
    assert "<h2>4 downloads" in page
    newer = DownloadFactory(timestamp=timezone.now() + timedelta(milliseconds=1))
    admin.post(LIST, fields(page))
    assert list(Download.objects.all()) == [newer]


def test_a_download_that_completed_meanwhile_is_not_cancelled(
    admin: Client, assorted: list[Download]
) -> None:
    page = chosen(admin, "cancel", assorted).content.decode()
    running = Download.objects.filter(name="running")
    assert running.complete(path="a", size=1) == 1
    done = admin.post(LIST, fields(page), follow=True).content.decode()
    assert "1 download was cancelled." in done
    assert running.exists()


def test_an_action_on_more_than_the_limit_is_refused(
    admin: Client, assorted: list[Download], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "ACTION_LIMIT", 3)
    page = chosen(
        admin, "delete_selected", assorted[:1], select_across="1", post="yes"
    ).content.decode()
    assert "More than 3" in page
    assert "cleanup_downloads" in page
    assert Download.objects.count() == 4
    # Three were chosen, and two of them are unfinished.
    chosen(admin, "cancel", assorted[:3], post="yes")
    assert Download.objects.count() == 2


def test_the_confirmation_page_names_the_newest_and_counts_the_others(admin: Client) -> None:
    rows = DownloadFactory.create_batch(13, complete=True)
    page = chosen(admin, "delete_selected", rows).content.decode()
    assert page.count("<li>orders") == 10
    assert "and 3 more" in page
    assert "52\xa0bytes" in page


def test_the_time_to_keep_is_chosen_from_a_list(admin: Client) -> None:
    download = DownloadFactory(complete=True)
    page = chosen(admin, "extend_expiry", [download], post="yes", days="36500").content.decode()
    assert "Select a valid choice" in page
    download.refresh_from_db()
    assert download.expires_at < timezone.now() + timedelta(days=2)
    chosen(admin, "extend_expiry", [download], post="yes", days="30")
    download.refresh_from_db()
    assert timedelta(days=29) < download.expires_at - timezone.now() < timedelta(days=31)


@pytest.mark.parametrize(
    "shown_at",
    [
        *("", "yesterday", "2026-13-45T00:00:00Z", "2026-01-31T00:00:00"),
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_an_invalid_time_of_the_confirmation_page_is_ignored(admin: Client, shown_at: str) -> None:
    download = DownloadFactory(complete=True)
    chosen(admin, "delete_selected", [download], post="yes", shown_at=shown_at)
    assert not Download.objects.exists()


def test_downloads_newer_than_the_confirmation_page_are_left_alone(admin: Client) -> None:
    long_ago = "0001-01-01T00:00:00+14:00"
    download = DownloadFactory(complete=True)
    chosen(admin, "delete_selected", [download], post="yes", shown_at=long_ago)
    assert Download.objects.exists()


# Collections


def test_a_purge_of_collections_counts_their_downloads(admin: Client) -> None:
    collection = DownloadCollectionFactory(user__username="marie")
    DownloadFactory.create_batch(2, collection=collection, complete=True)
    DownloadFactory(collection=collection, running=True)
    empty = DownloadCollectionFactory(user__username="pierre")
    page = chosen(admin, "delete_selected", [collection, empty], url=COLLECTIONS).content.decode()
    assert "<li>marie</li>" in page
    assert "<li>pierre</li>" in page
    assert "<h2>3 downloads, 8\xa0bytes" in page
    assert Download.objects.count() == 3
    done = admin.post(COLLECTIONS, fields(page), follow=True).content.decode()
    assert "3 downloads were purged." in done
    assert not DownloadCollection.objects.exists()
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {"marie", "pierre"}


def test_a_collection_with_a_newer_download_is_kept(admin: Client) -> None:
    collection = DownloadCollectionFactory()
    DownloadFactory(collection=collection, complete=True)
    page = chosen(admin, "delete_selected", [collection], url=COLLECTIONS).content.decode()
    newer = DownloadFactory(
        collection=collection, timestamp=timezone.now() + timedelta(milliseconds=1)
    )
    admin.post(COLLECTIONS, fields(page))
    assert list(Download.objects.all()) == [newer]
    assert list(DownloadCollection.objects.all()) == [collection]
