"""The view that keeps a complete download for longer."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from async_downloads import store
from async_downloads.models import Download
from tests.clocks import move_clock
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

KEEP = "/async_downloads/keep/"
LIST = "/async_downloads/list/"
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/orders/?page=2"}
JSON = {"Accept": "application/json"}
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
REFUSAL = "This file is kept for as long as it can be."


@pytest.fixture
def row(user: Any, settings: Any) -> Download:
    """Return a download that its owner may keep for three days."""
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 3 * 24 * 60 * 60
    made: Download = DownloadFactory(
        collection__user=user, complete=True, expires_at=timezone.now() + timedelta(hours=1)
    )
    return made


def keep(client: Client, row: Download, **options: Any) -> Any:
    return client.post(KEEP, {"download_key": str(row.pk)}, **options)


def kept(row: Download) -> timedelta:
    """Return how long after its end a download expires, in minutes."""
    row.refresh_from_db()
    assert row.expires_at is not None
    assert row.finished_at is not None
    minutes = (row.expires_at - row.finished_at).total_seconds() / 60
    return timedelta(minutes=round(minutes))


def is_offered(client: Client, row: Download) -> bool:
    return f'id="listed-download-keep-{row.pk}"' in client.get(LIST).content.decode()


def test_each_press_gives_one_more_lifetime_up_to_the_limit(
    signed_in: Client, row: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first two within minutes: each moves the day that the list shows.
    for passed, lifetime in {0.0: DAY + HOUR, 0.1: 2 * DAY + HOUR, 1.5: 3 * DAY}.items():
        with monkeypatch.context() as context:
            move_clock(context, passed * HOUR)
            assert is_offered(signed_in, row)
            response = keep(signed_in, row)
            assert (response.status_code, response.content) == (200, b"")
            assert kept(row) == lifetime
    with monkeypatch.context() as context:
        move_clock(context, 2.5 * DAY)
        assert not is_offered(signed_in, row)
        response = keep(signed_in, row)
        assert (response.status_code, response.content.decode()) == (409, REFUSAL)
        assert kept(row) == 3 * DAY
    with monkeypatch.context() as context:
        move_clock(context, 3.1 * DAY)
        assert keep(signed_in, row).status_code == 404
        assert store.clean_up().downloads == 1


def test_its_own_lifetime_counts(signed_in: Client, row: Download) -> None:
    Download.objects.update(lifetime=2 * DAY)
    assert keep(signed_in, row).status_code == 200
    assert kept(row) == 2 * DAY + HOUR


def test_a_form_returns_to_its_page(signed_in: Client, row: Download) -> None:
    response = signed_in.post(KEEP, {"download_key": str(row.pk), "next": f"{LIST}?page=1"})
    assert (response.status_code, response["Location"]) == (302, f"{LIST}?page=1")


def test_htmx_gets_the_list_and_perhaps_the_refusal(
    signed_in: Client, row: Download, settings: Any
) -> None:
    page = keep(signed_in, row, headers=HTMX)
    assert f'id="download-{row.pk}"' in page.content.decode()
    assert REFUSAL not in page.content.decode()
    assert kept(row) == DAY + HOUR
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 60
    page = keep(signed_in, row, headers=HTMX)
    assert REFUSAL in page.content.decode()
    assert "async-downloads:refused" in page["HX-Trigger"]


def test_json_is_the_download(signed_in: Client, row: Download, settings: Any) -> None:
    listed = signed_in.get(f"/async_downloads/detail/{row.pk}/").json()
    assert listed["can_keep"] is True
    response = signed_in.post(listed["keep_url"], headers=JSON)
    assert response.status_code == 200
    row.refresh_from_db()
    assert row.expires_at is not None
    assert response.json()["expires_at"] == row.expires_at.isoformat()
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 60
    response = signed_in.post(listed["keep_url"], headers=JSON)
    assert (response.status_code, response.json()["detail"]) == (409, REFUSAL)
    listed = signed_in.get(f"/async_downloads/detail/{row.pk}/").json()
    assert (listed["can_keep"], listed["keep_url"]) == (False, "")


@pytest.mark.parametrize("headers", [{}, JSON], ids=["form", "json"])
def test_foreign_unknown_and_other_downloads_are_alike(
    signed_in: Client, row: Download, user: Any, other_user: Any, headers: Any
) -> None:
    foreign = DownloadFactory(collection__user=other_user, complete=True)
    failed = DownloadFactory(collection__user=user, failed=True)
    running = DownloadFactory(collection__user=user, running=True)
    before = list(Download.objects.order_by("pk").values())
    responses = [
        signed_in.post(KEEP, {"download_key": key}, headers=headers)
        for key in (foreign.pk, failed.pk, running.pk, uuid.uuid4(), "", "no key")
    ]
    assert {response.status_code for response in responses} == {404}
    assert len({response.content for response in responses}) == 1
    assert list(Download.objects.order_by("pk").values()) == before


def test_without_the_setting_there_is_nothing_to_keep(
    signed_in: Client, row: Download, settings: Any, django_assert_max_num_queries: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = None
    assert not is_offered(signed_in, row)
    with django_assert_max_num_queries(2):  # the session and the user
        assert keep(signed_in, row).status_code == 404


def test_a_page_that_is_open_gets_the_new_words(signed_in: Client, row: Download) -> None:
    def version(text: str) -> str:
        return text.partition('data-version="')[2].partition('"')[0]

    seen = version(signed_in.get(LIST).content.decode())
    poll = {"page": 1, "version": seen}
    assert signed_in.get(LIST, poll, headers=HTMX).status_code == 204
    keep(signed_in, row)
    assert signed_in.get(LIST, poll, headers=HTMX).status_code == 200


def test_a_busy_database_is_503(
    signed_in: Client, row: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(row: Download) -> bool:
        raise OperationalError("locked")

    monkeypatch.setattr(store, "keep", fail)
    assert keep(signed_in, row).status_code == 503
