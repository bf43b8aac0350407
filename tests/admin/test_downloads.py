"""The pages of downloads and collections in the admin."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from async_downloads import cache
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import cache_entries
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.staff import COLLECTIONS, LIST, chosen, detail, listed, staff_with, text

MARKUP = '<script>alert("1")</script><img src=x onerror=alert(1)>'


def stored_files() -> int:
    return sum(path.is_file() for path in Path(project_settings.MEDIA_ROOT).rglob("*"))


def purge(client: Client, url: str, rows: Any, *, confirmed: bool = True) -> Any:
    confirmation = {"post": "yes"} if confirmed else {}
    return chosen(client, "delete_selected", rows, url=url, **confirmation)


# The list


def test_the_list_shows_owner_file_and_state(admin: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, name="Orders", running=True, percentage=40)
    DownloadFactory(collection__user=None, collection__label="team", complete=True)
    page = text(admin, LIST)
    assert listed(admin) == set(Download.objects.values_list("name", flat=True))
    assert '<span title="ada" dir="auto">ada</span>' in page
    assert '<span title="team" dir="auto">team</span>' in page
    assert 'async-downloads-running">In progress<' in page
    assert 'max="100" value="40" aria-label="Orders"></progress>' in page
    assert "</progress> 40%<" in page
    assert 'async-downloads-complete">Complete<' in page
    assert "4\xa0bytes" in page


def test_a_stalled_download_is_shown_as_stalled(admin: Client) -> None:
    DownloadFactory(running=True, heard_at=timezone.now() - timedelta(hours=1))
    assert re.search(r'async-downloads-stalled"[^>]*>Stalled<', text(admin, LIST))


def test_a_truncated_file_is_not_shown_as_complete(admin: Client) -> None:
    DownloadFactory(complete=True, rows_written=5, rows_expected=9)
    page = text(admin, LIST)
    assert re.search(r'async-downloads-truncated"[^>]*>Truncated<', page)
    assert "async-downloads-complete" not in page


def test_the_list_says_why_a_download_failed(admin: Client) -> None:
    DownloadFactory(failed=True, errors="The warehouse is <closed>. " + "Long. " * 100)
    page = text(admin, LIST)
    assert 'quiet"><bdi>The warehouse is &lt;closed&gt;. Long.' in page
    assert page.count("Long.") > 100  # the title has all of it
    (below,) = re.findall(r'quiet"><bdi>(The warehouse.*?)</bdi>', page)
    assert below.endswith("…")


@pytest.mark.parametrize(
    ("values", "bar"),
    [
        ({"running": True, "percentage": 40}, r'<progress[^>]* value="40"[^>]*></progress> 40%<'),
        ({"running": True, "rows_written": 5}, r"<progress(?![^>]* value)[^>]*></progress><"),
        ({"percentage": 40}, r'<progress[^>]* value="40"[^>]*></progress> 40%<'),
        ({}, ""),
        ({"complete": True}, ""),
    ],
)
def test_a_bar_has_a_number_only_if_that_is_known(admin: Client, values: Any, bar: str) -> None:
    DownloadFactory(**values)
    page = text(admin, LIST)
    assert re.search(bar, page)
    assert ("<progress" in page) == bool(bar)
    assert " 0%" not in page


def test_the_stylesheet_of_the_list_is_found(admin: Client) -> None:
    assert "css/async_downloads_admin.css" in text(admin, LIST)


@pytest.fixture
def assorted(db: None) -> None:
    old = timezone.now() - timedelta(hours=1)
    DownloadFactory(name="pending")
    DownloadFactory(name="running", running=True)
    DownloadFactory(name="stalled", running=True, heard_at=old)
    DownloadFactory(name="never picked up", heard_at=old)
    DownloadFactory(name="complete", complete=True)
    DownloadFactory(name="failed", failed=True)
    DownloadFactory(name="expired", complete=True, expired=True)
    DownloadFactory(name="for ever", complete=True, expires_at=None)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"state__exact": "pending"}, {"pending", "never picked up"}),
        ({"state__exact": "running"}, {"running", "stalled"}),
        ({"state__exact": "complete"}, {"complete", "expired", "for ever"}),
        ({"state__exact": "failed"}, {"failed"}),
        ({"condition": "stalled"}, {"stalled", "never picked up"}),
        ({"condition": "expired"}, {"expired"}),
        ({"condition": "stalled", "state__exact": "running"}, {"stalled"}),
        ({"condition": "expired", "q": "exp"}, {"expired"}),
        ({"condition": "expired", "q": "other"}, set()),
        ({"condition": "stalled", "o": "1.2"}, {"stalled", "never picked up"}),
    ],
)
def test_the_list_is_filtered(
    admin: Client, assorted: None, query: dict[str, str], names: set[str]
) -> None:
    assert listed(admin, **query) == names


def test_an_unknown_condition_filters_nothing(admin: Client, assorted: None) -> None:
    assert len(listed(admin, condition="purple")) == 8


@pytest.mark.parametrize("query", ["march", "MARCH.csv", "marie", "team north"])
def test_the_list_is_searched_by_name_file_and_owner(admin: Client, query: str) -> None:
    DownloadFactory(name="march" if query == "march" else "x", filename="march.csv")
    DownloadFactory(collection__user__username="marie")
    DownloadFactory(collection__user=None, collection__label="team north")
    DownloadFactory(collection__user__username="another user", name="other", filename="o.csv")
    assert len(listed(admin, q=query)) == 1


def test_the_list_can_be_ordered_by_each_column(admin: Client, assorted: None) -> None:
    for column in range(1, 7):
        assert len(listed(admin, o=str(column))) == 8
        assert len(listed(admin, o=f"-{column}")) == 8


@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
def test_the_queries_of_a_list_do_not_grow_with_its_rows(admin: Client, url: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text(admin, url)
        return len(captured)

    DownloadFactory.create_batch(2, complete=True)
    few = queries()
    DownloadFactory.create_batch(30, complete=True)
    DownloadFactory.create_batch(10, collection__user=None, collection__label="team")
    assert queries() <= few


def test_the_traceback_stays_out_of_the_list(admin: Client) -> None:
    DownloadFactory(failed=True)
    assert "Traceback: secret" not in text(admin, LIST)


# The detail page


def test_the_detail_page_shows_everything_and_offers_no_change(admin: Client) -> None:
    download = DownloadFactory(failed=True, name="Orders")
    page = text(admin, detail(download))
    for shown in ("Orders", download.filename, download.filepath, "Something went wrong."):
        assert shown in page
    # Staff see details that the owner does not.
    assert "Traceback: secret" in page
    assert 'name="_save"' not in page
    assert not re.search(r'<(input|textarea|select)[^>]* name="(?!csrf|q\b)', page)


@pytest.mark.parametrize("model", [Download, DownloadCollection])
def test_even_a_superuser_cannot_add_or_change(admin: Client, model: Any) -> None:
    download = DownloadFactory(name="before")
    row = download if model is Download else download.collection
    name = model._meta.model_name
    assert admin.get(reverse(f"admin:async_downloads_{name}_add")).status_code == 403
    assert admin.post(reverse(f"admin:async_downloads_{name}_add"), {}).status_code == 403
    changed = admin.post(detail(row), {"name": "after", "key": "after", "label": "after"})
    assert changed.status_code == 403
    assert Download.objects.get().name == "before"
    assert DownloadCollection.objects.get().key != "after"


def test_the_page_of_a_collection_shows_its_downloads(admin: Client, user: Any) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory.create_batch(3, collection=collection, complete=True)
    DownloadFactory(collection=collection)
    page = text(admin, COLLECTIONS)
    assert '<td class="field-download_count">4</td>' in page
    assert "12\xa0bytes" in page
    assert collection.key in page
    assert "12\xa0bytes" in text(admin, detail(collection))


# Permissions


@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
@pytest.mark.django_db
def test_staff_without_permission_are_refused(url: str) -> None:
    download = DownloadFactory(complete=True)
    client = staff_with()
    row = download if url == LIST else download.collection
    assert client.get(url).status_code == 403
    assert client.get(detail(row)).status_code == 403
    assert purge(client, url, [row]).status_code == 403
    assert client.post(detail(row).replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Download.objects.exists()


@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
@pytest.mark.django_db
def test_staff_with_only_the_view_permission_cannot_purge(url: str) -> None:
    download = DownloadFactory(complete=True)
    client = staff_with("view_download", "view_downloadcollection")
    row = download if url == LIST else download.collection
    assert 'value="delete_selected"' not in text(client, url)
    purge(client, url, [row])
    assert client.post(detail(row).replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Download.objects.exists()


@pytest.mark.django_db
def test_users_who_are_not_staff_are_sent_to_sign_in(signed_in: Client) -> None:
    assert signed_in.get(LIST).status_code == 302


# Purging


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
def test_a_purge_needs_confirmation(admin: Client, url: str) -> None:
    download = DownloadFactory(complete=True)
    response = purge(
        admin, url, [download if url == LIST else download.collection], confirmed=False
    )
    assert "are removed with their files" in response.content.decode()
    assert Download.objects.exists()
    assert stored_files() == 1


@pytest.mark.django_db(transaction=True)
def test_a_purge_deletes_rows_files_and_cache_entries(admin: Client) -> None:
    purged = [DownloadFactory(complete=True), DownloadFactory(running=True)]
    kept = DownloadFactory(complete=True)
    cache.set_percentage(purged[1].download_key, 50)
    assert cache_entries.get_entry(purged[1].download_key) is not None
    response = purge(admin, LIST, purged)
    assert "2 downloads were purged." in response.content.decode()
    assert list(Download.objects.all()) == [kept]
    assert stored_files() == 1
    assert cache_entries.get_entry(purged[1].download_key) is None


@pytest.mark.django_db(transaction=True)
def test_a_purge_of_more_than_one_batch_deletes_all(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("async_downloads.store.removal.BATCH_SIZE", 3)
    downloads = DownloadFactory.create_batch(10, complete=True)
    purge(admin, LIST, downloads)
    assert not Download.objects.exists()
    assert stored_files() == 0


@pytest.mark.django_db(transaction=True)
def test_downloads_hidden_by_a_filter_are_not_purged(admin: Client) -> None:
    hidden = DownloadFactory(complete=True)
    shown = DownloadFactory(failed=True)
    purge(admin, f"{LIST}?state__exact=failed", [hidden, shown])
    assert list(Download.objects.all()) == [hidden]


@pytest.mark.django_db(transaction=True)
def test_purging_a_collection_deletes_its_downloads(admin: Client) -> None:
    collection = DownloadCollectionFactory()
    DownloadFactory.create_batch(3, collection=collection, complete=True)
    kept = DownloadFactory(complete=True)
    purge(admin, COLLECTIONS, [collection])
    assert list(Download.objects.all()) == [kept]
    assert list(DownloadCollection.objects.all()) == [kept.collection]
    assert stored_files() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
def test_deletion_from_the_detail_page_needs_confirmation_and_deletes_the_file(
    admin: Client, url: str
) -> None:
    download = DownloadFactory(complete=True)
    row = download if url == LIST else download.collection
    delete = detail(row).replace("change", "delete")
    assert "Are you sure" in text(admin, delete)
    assert stored_files() == 1
    admin.post(delete, {"post": "yes"})
    assert not Download.objects.exists()
    assert stored_files() == 0
    assert DownloadCollection.objects.exists() == (url == LIST)


@pytest.mark.django_db(transaction=True)
def test_deleting_a_user_deletes_the_files(admin: Client) -> None:
    download = DownloadFactory(complete=True)
    user = download.collection.user
    admin.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert not Download.objects.exists()
    assert not DownloadCollection.objects.exists()
    assert stored_files() == 0


# Misspelt extensions


@pytest.mark.django_db
def test_staff_see_a_misspelt_extension_unless_the_file_has_no_rows(
    admin: Client,
) -> None:
    warning = "Unknown extension, so the rows are CSV. Did you mean .xlsx?"
    rows = DownloadFactory(complete=True, filename="orders.xslx", rows_written=5)
    assert warning in text(admin, detail(rows))
    for fine in (
        DownloadFactory(complete=True, filename="orders.xls", rows_written=5),
        # A file that the caller made has no rows.
        DownloadFactory(complete=True, filename="orders.xslx", rows_written=None),
    ):
        assert "Unknown extension" not in text(admin, detail(fine))
