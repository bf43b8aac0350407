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
from tests import queues
from tests.attempts import long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory, UserFactory
from tests.recorded_calls import download
from tests.staff import COLLECTIONS, LIST, chosen, staff_with, text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

#: By action: the permission, the number of ``rows`` that it changes, and the message.
ACTIONS = {
    "delete_selected": ("delete_download", 6, "6 downloads were purged."),
    "cancel": ("delete_download", 3, "3 downloads were cancelled."),
    "mark_failed": ("change_download", 3, "3 downloads were marked as failed."),
    "run_again": ("change_download", 2, "2 downloads are queued again."),
    "extend_expiry": ("change_download", 3, "3 downloads are kept for longer."),
    "hold": ("change_download", 6, "6 downloads are held."),
    "release": ("change_download", 2, "2 downloads are no longer held."),
}


@pytest.fixture
def assorted() -> list[Download]:
    return [
        DownloadFactory(name="waiting"),
        DownloadFactory(name="running", running=True),
        DownloadFactory(name="complete", complete=True),
        DownloadFactory(name="failed", failed=True),
    ]


@pytest.fixture
def rows(assorted: list[Download]) -> list[Download]:
    """Return downloads to which each action applies."""
    return [
        *assorted,
        download(UserFactory(), name="failed, recorded", failed=True),
        download(UserFactory(), name="stalled, recorded", heard_at=long_ago()),
        # These neither expire nor can be removed.
        DownloadFactory(name="held", complete=True, held=True, expires_at=None),
        DownloadFactory(name="held, too", failed=True, held=True, expires_at=None),
    ]


def state() -> list[Any]:
    return list(
        Download.objects.order_by("pk").values("pk", "state", "expires_at", "claim", "held")
    )


def fields(page: str) -> dict[str, Any]:
    """Return the data that the form of a confirmation page would send."""
    form = page[page.index('<form method="post">') :]
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    keys = [value for name, value in pairs if name == "_selected_action"]
    return {**dict(pairs), "_selected_action": keys, "days": "7"}


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_shows_counts_to_confirm_and_then_acts(
    admin: Client, rows: list[Download], action: str
) -> None:
    _, count, message = ACTIONS[action]
    before = state()
    page = chosen(admin, action, rows).content.decode()
    assert f"<h2>{count} downloads" in page
    assert state() == before
    done = admin.post(LIST, fields(page), follow=True).content.decode()
    assert message in done
    assert state() != before


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_needs_its_permission(rows: list[Download], action: str) -> None:
    permission, _, _ = ACTIONS[action]
    lacking = {"delete_download", "change_download"} - {permission}
    before = state()
    others = staff_with("view_download", *lacking)
    assert f'value="{action}"' not in text(others, LIST)
    chosen(others, action, rows, post="yes", days="7")
    assert state() == before
    allowed = staff_with("view_download", permission)
    assert f'value="{action}"' in text(allowed, LIST)
    chosen(allowed, action, rows, post="yes", days="7")
    assert state() != before


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_logged_in_the_history(
    admin: Client, rows: list[Download], action: str
) -> None:
    _, count, _ = ACTIONS[action]
    chosen(admin, action, rows, post="yes", days="7")
    entries = LogEntry.objects.all()
    assert len(entries) == count
    flag = DELETION if action in ("delete_selected", "cancel") else CHANGE
    assert {entry.action_flag for entry in entries} == {flag}
    assert {entry.object_repr for entry in entries} <= {row.name for row in rows}


@pytest.mark.parametrize("action", ["cancel", "mark_failed", "run_again"])
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
    assert page.count("<li><bdi>orders") == 10
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
    long_ago = "0002-01-01T00:00:00+14:00"
    download = DownloadFactory(complete=True)
    chosen(admin, "delete_selected", [download], post="yes", shown_at=long_ago)
    assert Download.objects.exists()


# Run again


def test_the_site_is_asked_with_the_person_who_runs_downloads_again(
    admin: Client, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_START = f"{__name__}.may_start"
    owner = UserFactory(username="ada")
    refused = download(owner, name="no", failed=True)
    allowed = download(owner, name="yes", failed=True)
    done = chosen(admin, "run_again", [refused, allowed], post="yes").text
    assert "1 download is queued again." in done
    assert set(Download.objects.unfinished()) == {allowed}


def may_start(user: Any, row: Download) -> bool:
    return user.get_username() == "root" and row.name == "yes"


def test_a_task_that_no_longer_exists_is_not_run_again(
    admin: Client, caplog: pytest.LogCaptureFixture
) -> None:
    row = download(UserFactory(), task="no.such.task", failed=True)
    assert "0 downloads are queued again." in chosen(admin, "run_again", [row], post="yes").text
    assert "cannot be queued again" in caplog.text
    row.refresh_from_db()
    assert row.failed


def test_the_limit_of_the_owner_does_not_bind_staff(admin: Client, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    owner = UserFactory()
    rows = [download(owner, failed=True) for _ in range(3)]
    assert "does not apply" in chosen(admin, "run_again", rows).text
    chosen(admin, "run_again", rows, post="yes")
    assert {str(task["args"][1]) for task in queues.waiting()} == {str(row.pk) for row in rows}


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


def test_a_purge_leaves_what_is_held_and_says_how_many(
    admin: Client, assorted: list[Download]
) -> None:
    Download.objects.filter(name__in=["complete", "running"]).update(held=True)
    page = chosen(admin, "delete_selected", assorted).content.decode()
    assert "<h2>2 downloads" in page
    assert "2 downloads are held, and stay." in page
    done = admin.post(LIST, fields(page), follow=True).content.decode()
    assert "2 downloads were purged." in done
    assert "2 downloads are held, and stay." in done
    assert {row.name for row in Download.objects.all()} == {"complete", "running"}
    done = chosen(admin, "cancel", assorted, follow=True).content.decode()
    assert "Nothing to do" in done
    assert "1 download is held, and stays." in done


def test_a_purge_of_collections_leaves_those_with_something_held(admin: Client) -> None:
    held = DownloadFactory(complete=True, held=True)
    DownloadFactory(complete=True, collection=held.collection)
    other = DownloadFactory(complete=True).collection
    data = {"action": "delete_selected", "post": "yes"}
    keys = [str(each.pk) for each in DownloadCollection.objects.all()]
    done = admin.post(COLLECTIONS, {**data, "_selected_action": keys}, follow=True)
    assert "1 download is held, and stays." in done.content.decode()
    assert list(Download.objects.all()) == [held]
    assert list(DownloadCollection.objects.all()) == [held.collection]
    assert other != held.collection


@pytest.mark.parametrize("url", [LIST, COLLECTIONS], ids=["download", "collection"])
def test_the_page_that_deletes_one_says_that_it_is_held(admin: Client, url: str) -> None:
    held = DownloadFactory(name="the last invoices", complete=True, held=True)
    pk = held.pk if url == LIST else held.collection.pk
    page = admin.get(f"{url}{pk}/delete/").content.decode()
    assert "protected" in page
    assert "the last invoices" in page
    admin.post(f"{url}{pk}/delete/", {"post": "yes"})
    assert Download.objects.exists()
    Download.objects.update(held=False)
    admin.post(f"{url}{pk}/delete/", {"post": "yes"})
    assert not Download.objects.exists()


def test_the_list_shows_and_finds_what_is_held(admin: Client) -> None:
    DownloadFactory(name="kept by staff", complete=True, held=True, expired=True)
    DownloadFactory(name="another", complete=True)
    assert 'quiet">held<' in text(admin, LIST)
    found = text(admin, f"{LIST}?condition=held")
    assert "kept by staff" in found
    assert "another" not in found
    assert "kept by staff" not in text(admin, f"{LIST}?condition=expired")
