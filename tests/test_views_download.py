"""Fetching a file that is missing, that a client has already, or whose storage fails."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from django.contrib.auth.models import Permission
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import Client
from django.utils import timezone

from async_downloads import cache
from async_downloads.models import Download
from async_downloads.store import cache_entries
from async_downloads.store.transactions import on_separate_connection
from tests import s3
from tests.factories import DownloadFactory, UserFactory
from tests.store.test_transactions import locked_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

UPDATE = "/async_downloads/ajax_update/"
HTMX = {"HX-Request": "true"}

#: An address without a server.
UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def mine(user: Any) -> Download:
    return DownloadFactory(collection__user=user, complete=True)


def test_each_request_for_a_missing_file_is_410_and_marks_the_row(
    signed_in: Client, mine: Download
) -> None:
    default_storage.delete(mine.filepath)
    url = mine.url
    for method in (signed_in.get, signed_in.head, signed_in.get):
        assert method(url).status_code == 410
    response = signed_in.get(url)
    assert "This file is missing" in response.text
    assert response["Cache-Control"] == "private, no-store"
    mine.refresh_from_db()
    assert (mine.failed, mine.file_missing, mine.url) == (True, True, "")
    assert mine.errors == "The file is missing. Please request it again."


def test_the_list_says_that_a_file_is_missing_and_does_not_link_it(
    signed_in: Client, mine: Download
) -> None:
    default_storage.delete(mine.filepath)
    before = signed_in.get(UPDATE, headers=HTMX).text
    (version,) = re.findall(r'fragment" data-version="(.+?)"', before)
    signed_in.get(mine.url)
    update = signed_in.get(UPDATE, {"version": version}, headers=HTMX)
    assert "The file is missing." in update.text
    assert mine.url not in update.text
    (entry,) = signed_in.get(UPDATE).json()["downloads"]
    assert (entry["complete"], entry["url"]) == (False, "")


def test_a_missing_file_can_be_built_again(signed_in: Client, mine: Download) -> None:
    default_storage.delete(mine.filepath)
    url = mine.url
    before = signed_in.get(url).status_code
    cache.save_download(mine.download_key, [["a"], [1]])
    response = signed_in.get(url)
    assert (before, response.status_code) == (410, 200)
    assert response.getvalue() == b"a\n1\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("inside", [False, True])
def test_after_another_attempt_has_failed_no_file_is_missing(
    signed_in: Client, mine: Download, inside: bool
) -> None:
    default_storage.delete(mine.filepath)
    url = mine.url
    before = signed_in.get(url).status_code
    with transaction.atomic() if inside else nullcontext():
        cache.save_download(mine.download_key, ([1 // 0] for _ in "a"))
    mine.refresh_from_db()
    assert (mine.failed, mine.file_missing) == (True, False)
    assert (before, signed_in.get(url).status_code) == (410, 404)


def test_an_unreachable_storage_is_503_and_logged(
    signed_in: Client, mine: Download, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STORAGES = s3.storages(UNREACHABLE, client_config=Config(retries={"max_attempts": 0}))
    settings.ASYNC_DOWNLOADS_STORAGE = "s3"
    response = signed_in.get(mine.url)
    assert response.status_code == 503
    assert "Could not connect" in caplog.text
    mine.refresh_from_db()
    assert mine.complete


def test_an_interrupted_download_can_be_resumed(signed_in: Client, mine: Download) -> None:
    etag = signed_in.head(mine.url)["ETag"]
    headers = {"Range": "bytes=2-", "If-Range": etag}
    response = signed_in.get(mine.url, headers=headers)
    assert (response.status_code, response["Content-Range"]) == (206, "bytes 2-3/4")
    assert response.getvalue() == b"b\n"  # type: ignore[attr-defined]


def test_a_file_that_is_built_again_has_another_etag(signed_in: Client, mine: Download) -> None:
    first = signed_in.head(mine.url)["ETag"]
    Download.objects.update(finished_at=timezone.now())
    assert signed_in.head(mine.url)["ETag"] != first
    assert not first.startswith("W/")


@pytest.mark.parametrize("way", ["stream", "x-accel", "x-sendfile"])
@pytest.mark.parametrize("fault", ["not mounted", "broken"])
def test_a_temporary_failure_of_the_storage_marks_no_file_as_missing(
    signed_in: Client, mine: Download, settings: Any, way: str, fault: str
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    folder = Path(default_storage.path(mine.filepath)).parent
    if fault == "not mounted":
        folder = folder.parent
    aside = folder.rename(folder.with_name("aside"))
    if fault == "broken":
        # This error does not mean that the file is missing.
        folder.touch()
    assert signed_in.get(mine.url).status_code == 503
    folder.unlink(missing_ok=True)
    aside.rename(folder)
    response = signed_in.get(mine.url)
    assert response.status_code == 200
    response.close()
    mine.refresh_from_db()
    assert mine.complete


def test_clear_finished_is_503_while_the_database_is_locked(
    signed_in: Client, mine: Download
) -> None:
    # Without a shared cache, the request cannot be recorded there.
    with locked_elsewhere():
        assert signed_in.post("/async_downloads/clear_finished/").status_code == 503
    assert Download.objects.exists()


# Records of fetches


def fetches(download: Download) -> tuple[int, Any]:
    download.refresh_from_db()
    return download.fetch_count, download.fetched_by


@pytest.mark.parametrize(
    ("method", "headers", "counted"),
    [
        ("get", {}, 1),
        ("get", {"Range": "bytes=0-1"}, 1),
        ("get", {"Range": "bytes=2-"}, 0),
        ("get", {"Range": "bytes=99-"}, 0),
        ("get", {"Range": "bytes=2-", "If-Range": '"other"'}, 1),
        ("head", {}, 0),
    ],
    ids=str,
)
def test_a_fetch_is_counted_when_the_response_has_the_first_byte(
    signed_in: Client, user: Any, mine: Download, method: str, headers: Any, counted: int
) -> None:
    response = getattr(signed_in, method)(mine.url, headers=headers)
    assert not response.streaming or b"".join(response) is not None
    assert fetches(mine) == (counted, user if counted else None)


@pytest.mark.usefixtures("shared_cache")
def test_the_list_shows_that_a_file_was_fetched(signed_in: Client, mine: Download) -> None:
    url, htmx = "/async_downloads/ajax_update/", {"HX-Request": "true"}
    signed_in.get(url, headers=htmx)
    before = signed_in.get(url, headers=htmx).text
    (version,) = re.findall(r'fragment" data-version="(.*?)"', before)
    assert signed_in.get(url, {"version": version}, headers=htmx).status_code == 204
    assert b"".join(signed_in.get(mine.url))
    after = signed_in.get(url, {"version": version}, headers=htmx).text
    assert ("data-fetched" in before, "data-fetched" in after) == (False, True)


@pytest.mark.parametrize(
    ("headers", "counted"),
    [
        ({}, 1),
        ({"Range": "bytes=2-"}, 0),
        ({"Range": "Bytes= 0-"}, 1),
        # The web server may answer these with the whole file.
        ({"Range": "bytes=-99999"}, 1),
        ({"Range": "bytes=2-2,0-"}, 1),
        ({"Range": "lines=2-"}, 1),
    ],
    ids=str,
)
def test_a_fetch_through_the_web_server_is_counted(
    signed_in: Client, user: Any, mine: Download, settings: Any, headers: Any, counted: int
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = "x-accel"
    assert signed_in.get(mine.url, headers=headers).status_code == 200
    assert fetches(mine)[0] == counted


def test_a_response_without_content_is_not_counted(signed_in: Client, mine: Download) -> None:
    response = signed_in.get(mine.url)
    assert b"".join(response)
    again = signed_in.get(mine.url, headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304
    assert fetches(mine)[0] == 1


def test_a_fetch_is_committed_before_the_version_token_is_renewed(
    signed_in: Client, mine: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def renew(collection_key: str) -> None:
        rows = Download.objects.filter(pk=mine.pk).values_list("fetch_count", flat=True)
        counted.extend(on_separate_connection(lambda: list(rows)))

    monkeypatch.setattr(cache_entries, "renew_version", renew)
    b"".join(signed_in.get(mine.url))
    assert counted == [1]


def test_a_fetch_does_not_change_the_expiry(signed_in: Client, mine: Download) -> None:
    before = Download.objects.values("heard_at", "expires_at").get()
    assert b"".join(signed_in.get(mine.url))
    assert Download.objects.values("heard_at", "expires_at").get() == before


def test_a_fetch_that_cannot_be_counted_is_still_sent(
    signed_in: Client, mine: Download, caplog: pytest.LogCaptureFixture
) -> None:
    with locked_elsewhere():
        response = signed_in.get(mine.url)
        assert b"".join(response) == b"a,b\n"
    assert "was not counted" in caplog.text
    assert fetches(mine) == (0, None)


# Staff


@pytest.mark.parametrize(
    ("is_staff", "permitted", "status"),
    [(True, True, 200), (True, False, 404), (False, True, 404), (False, False, 404)],
)
def test_staff_with_the_permission_fetch_the_files_of_others(
    client: Client, other_user: Any, mine: Download, is_staff: bool, permitted: bool, status: int
) -> None:
    type(other_user).objects.filter(pk=other_user.pk).update(is_staff=is_staff)
    if permitted:
        permission = Permission.objects.get(codename="fetch_download")
        other_user.user_permissions.add(permission)
    client.force_login(other_user)
    response = client.get(mine.url)
    assert response.status_code == status
    assert not response.streaming or b"".join(response) == b"a,b\n"
    assert fetches(mine) == ((1, other_user) if status == 200 else (0, None))


def test_the_site_may_refuse_staff(
    client: Client, staff_user: Any, mine: Download, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = "operator.is_"
    client.force_login(staff_user)
    assert client.get(mine.url).status_code == 404


def test_the_fetch_of_a_deleted_user_still_counts(
    user: Any, client: Client, mine: Download
) -> None:
    staff = UserFactory(is_staff=True, is_superuser=True)
    client.force_login(staff)
    assert b"".join(client.get(mine.url))
    staff.delete()
    assert fetches(mine) == (1, None)
