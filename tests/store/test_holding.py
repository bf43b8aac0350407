"""Downloads that staff hold: nothing but the deletion of their user removes them."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_delete
from django.test import Client
from django.utils import timezone

from async_downloads import cache, owners, store, teams
from async_downloads.models import Download, DownloadCollection
from async_downloads.models.conditions import CLEARED
from async_downloads.store import cache_entries
from async_downloads.store.bulk_delete import Selection
from tests.attempts import long_ago
from tests.factories import DownloadFactory
from tests.pace import LONGEST_WAIT
from tests.store.test_transactions import locked_elsewhere
from tests.team_members import GROUPS, shared, team

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = "Staff keep this file for now."
CLEAR = "/async_downloads/ajax_clear_download/"
CLEAR_FINISHED = "/async_downloads/clear_finished/"
HTMX = {"HX-Request": "true"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def held(user: Any) -> Download:
    """Return a download that has expired, and that staff hold."""
    made: Download = DownloadFactory(collection__user=user, complete=True, expired=True, held=True)
    return made


@pytest.fixture
def other(user: Any) -> Download:
    """Return a download like that one which staff do not hold."""
    made: Download = DownloadFactory(collection__user=user, complete=True)
    return made


def exists(row: Download) -> bool:
    stored = bool(default_storage.exists(row.filepath))
    assert Download.objects.filter(pk=row.pk).exists() == stored
    return stored


def clear(user: Any, **which: Any) -> None:
    with suppress(store.HeldError):
        store.clear(user.pk, **which)


REMOVALS: dict[str, Callable[[Any], object]] = {
    "clear": lambda user: [clear(user, download_key=row.pk) for row in Download.objects.all()],
    "clear by path": lambda user: [
        clear(user, filepath=row.filepath) for row in Download.objects.all()
    ],
    "clear finished": lambda user: store.clear_finished(user.pk),
    "purge": lambda user: store.purge(Download.objects.all()),
    "remove selected": lambda user: store.remove_selected(Selection()),
    "remove a state": lambda user: store.remove_selected(
        Selection(states=frozenset({"complete", "expired"}))
    ),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_no_removal_touches_it(user: Any, held: Download, other: Download, remove: Any) -> None:
    remove(user)
    assert exists(held)
    assert not exists(other)
    store.end_hold(Download.objects.all())
    Download.objects.update(expires_at=None)
    remove(user)
    assert not exists(held)


def test_the_clean_up_leaves_it_until_it_is_released(held: Download) -> None:
    assert store.clean_up(dry_run=True).downloads == 0
    cache.cleanup_collection(held.collection.key)
    assert store.clean_up().downloads == 0
    assert store.count_held() == 1
    assert exists(held)
    assert store.end_hold(Download.objects.all()) == 1
    assert store.count_held() == 0
    assert store.clean_up().downloads == 1
    assert not exists(held)


def test_it_does_not_expire_for_its_owner(signed_in: Client, held: Download, user: Any) -> None:
    assert list(Download.objects.active()) == [held]
    assert list(Download.objects.expired()) == []
    assert [row.pk for row in store.read_listing(owners.resolve(user)).downloads] == [held.pk]
    assert store.read_summary(owners.resolve(user)).unseen == 1
    assert signed_in.head(f"/async_downloads/download/{held.pk}/").status_code == 200
    data = signed_in.get(f"/async_downloads/detail/{held.pk}/").json()
    assert (data["held"], data["expires_at"], data["until_text"]) == (True, None, "")


def test_the_owner_who_clears_it_reads_why_not(signed_in: Client, held: Download) -> None:
    form = {"download_key": str(held.pk)}
    response = signed_in.post(CLEAR, form)
    assert (response.status_code, response.content.decode()) == (409, REFUSAL)
    response = signed_in.post(CLEAR, form, headers=JSON)
    assert (response.status_code, response.json()["detail"]) == (409, REFUSAL)
    response = signed_in.post(CLEAR, form, headers=HTMX)
    assert REFUSAL in response.content.decode()
    assert f'id="download-{held.pk}"' in response.content.decode()
    response = signed_in.post(CLEAR, {"filepath": held.filepath})
    assert response.status_code == 409
    assert exists(held)


def test_others_learn_nothing_of_it(client: Client, other_user: Any, held: Download) -> None:
    client.force_login(other_user)
    assert client.post(CLEAR, {"download_key": str(held.pk)}).status_code == 404
    assert client.post(CLEAR, {"filepath": held.filepath}).status_code == 404


def test_so_does_a_member_who_clears_one_of_a_team(
    signed_in: Client, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MEMBERS = GROUPS
    sales = team("Sales", user)
    row = shared(sales, complete=True, held=True)
    user.user_permissions.add(Permission.objects.get(codename=teams.PERMISSION))
    data = signed_in.get(f"/async_downloads/detail/{row.pk}/").json()
    assert (data["held"], data["can_clear"], data["clear_url"]) == (True, False, "")
    for form in ({"download_key": str(row.pk)}, {"filepath": row.filepath}):
        response = signed_in.post(CLEAR, form)
        assert (response.status_code, response.content.decode()) == (409, REFUSAL)
    store.end_hold(Download.objects.all())
    assert signed_in.post(CLEAR, {"download_key": str(row.pk)}).status_code == 200
    assert not Download.objects.exists()


def test_clear_finished_leaves_it(signed_in: Client, held: Download, other: Download) -> None:
    response = signed_in.post(CLEAR_FINISHED, headers=HTMX)
    assert REFUSAL in response.content.decode()
    assert exists(held)
    assert not exists(other)


@pytest.mark.parametrize("url", ["/async_downloads/ajax_update/", "/async_downloads/list/"])
@pytest.mark.parametrize("values", [{"complete": True}, {"running": True}], ids=str)
def test_its_item_says_so_and_has_no_button_that_removes_it(
    signed_in: Client, user: Any, values: Any, url: str
) -> None:
    row = DownloadFactory(collection__user=user, **values)

    def item() -> str:
        headers = HTMX if "update" in url else {}
        text = signed_in.get(url, headers=headers).content.decode()
        return text.split(f'download-{row.pk}"', 1)[1].partition("</li>")[0]

    assert REFUSAL not in item()
    assert "download-clear" in item()
    assert store.hold(Download.objects.all()) == 1
    assert REFUSAL in item()
    assert "download-clear" not in item()
    assert ("download-get" in item()) == row.complete


@pytest.mark.parametrize("values", [{}, {"running": True}], ids=["pending", "running"])
def test_an_unfinished_one_can_be_neither_cancelled_nor_cleared(user: Any, values: Any) -> None:
    row = DownloadFactory(collection__user=user, held=True, **values)
    assert store.cancel(Download.objects.all()) == 0
    with pytest.raises(store.HeldError):
        store.clear(user.pk, download_key=row.pk)


def test_an_overdue_one_fails_and_stays() -> None:
    row = DownloadFactory(held=True, expired=True, heard_at=long_ago())
    assert store.clean_up().failed == 1
    Download.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    assert store.clean_up().downloads == 0
    assert list(Download.objects.active()) == [row]


def test_what_its_owner_has_cleared_cannot_be_held() -> None:
    DownloadFactory(failed=True, expired=True, claim=CLEARED)
    assert store.hold(Download.objects.all()) == 0
    assert store.clean_up().downloads == 1


def test_what_its_owner_has_cleared_while_it_was_locked_is_back_once_it_is_held(
    user: Any, other: Download, shared_cache: str
) -> None:
    owner = owners.resolve(user)
    with locked_elsewhere():
        assert store.clear(user.pk, download_key=other.pk)
    assert list(store.read_listing(owner).downloads) == []
    version = cache_entries.get_version(owner.collection_key)
    assert store.hold(Download.objects.all()) == 1
    assert cache_entries.get_version(owner.collection_key) != version
    assert list(store.read_listing(owner).downloads) == [other]
    assert store.get_for_user(user.pk, other.pk) == other


def test_what_staff_hold_while_its_owner_clears_it_is_not_marked(
    user: Any, other: Download, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold has locked the row, and commits between the read of the row and the mark."""
    locked, enough = threading.Event(), threading.Event()
    mark = cache_entries.mark_cleared

    def hold() -> None:
        with transaction.atomic():
            store.hold(Download.objects.all())
            locked.set()
            enough.wait(timeout=LONGEST_WAIT)
        connection.close()

    def mark_after_the_hold(keys: Any) -> bool:
        enough.set()
        held.result()
        return mark(keys)

    monkeypatch.setattr(cache_entries, "mark_cleared", mark_after_the_hold)
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold)
        assert locked.wait(timeout=LONGEST_WAIT)
        with pytest.raises(store.HeldError):
            store.clear(user.pk, download_key=other.pk)
    assert not cache_entries.is_cleared(other.download_key)


def test_what_was_not_cleaned_up_yet_can_be_held(user: Any) -> None:
    row = DownloadFactory(collection__user=user, complete=True, expired=True)
    assert store.hold(Download.objects.all()) == 1
    assert store.hold(Download.objects.all()) == 0
    assert list(Download.objects.active()) == [row]


def test_pages_that_are_open_learn_of_it(user: Any, other: Download, shared_cache: str) -> None:
    owner = owners.resolve(user)
    listing = store.read_listing(owner)
    assert store.read_changes(owner, listing.version) is None
    version = cache_entries.get_version(owner.collection_key)
    store.hold(Download.objects.all())
    assert cache_entries.get_version(owner.collection_key) != version
    assert store.read_changes(owner, listing.version) is not None


def test_the_deletion_of_its_user_removes_it(user: Any, held: Download) -> None:
    user.delete()
    assert not Download.objects.exists()
    assert not default_storage.exists(held.filepath)


@pytest.mark.any_database
@pytest.mark.parametrize("remove", ["clear", "clear by path", "purge"])
def test_no_hold_comes_between_the_read_of_a_row_and_its_removal(
    user: Any, other: Download, remove: str
) -> None:
    """Staff would read that they hold it, and it would be gone."""
    if not connection.features.has_select_for_update_nowait:
        pytest.skip("writers wait for the whole database")
    held: list[int] = []

    def hold() -> int:
        rows = Download.objects.filter(pk=other.pk)
        try:
            with transaction.atomic():
                rows.select_for_update(nowait=True).get()
                return rows.hold()
        except OperationalError:
            return 0
        finally:
            connection.close()

    def hold_meanwhile(**_: Any) -> None:
        with ThreadPoolExecutor(1) as thread:
            held.append(thread.submit(hold).result())

    pre_delete.connect(hold_meanwhile, sender=Download)
    try:
        REMOVALS[remove](user)
    finally:
        pre_delete.disconnect(hold_meanwhile, sender=Download)
    assert held == [0]
    assert not exists(other)


def test_its_collection_stays(held: Download) -> None:
    store.clean_up()
    assert DownloadCollection.objects.count() == 1


@pytest.mark.parametrize("options", [[], ["--state=complete", "--no-input"]], ids=["all", "state"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_the_command_says_how_many_are_held(
    held: Download, dry_run: bool, options: list[str]
) -> None:
    DownloadFactory(held=True)

    def run(*more: str) -> str:
        output = StringIO()
        call_command("cleanup_downloads", *options, *more, dry_run=dry_run, stdout=output)
        return output.getvalue()

    verb = "Would keep" if dry_run else "Kept"
    assert f"{verb} 1 download that staff hold." in run()
    assert json.loads(run("--json"))["held"] == 1
    store.end_hold(Download.objects.all())
    assert "staff hold" not in run()
