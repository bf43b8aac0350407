"""The view that builds a download again: the same row after a failure, a new one if complete."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from async_downloads import cache, store
from async_downloads.exceptions import DownloadCancelled
from async_downloads.models import Download, DownloadState
from async_downloads.shortcuts import start_download
from tests import queues, recorded_calls
from tests.attempts import claimed, long_ago, stall_all
from tests.clocks import put_database_ahead
from tests.factories import DownloadFactory
from tests.recorded_calls import download, recorded
from tests.site_functions import SiteFunction

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

RETRY = "/async_downloads/retry/"
LIST = "/async_downloads/list/"
UPDATE = "/async_downloads/ajax_update/"
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/orders/?page=2"}


@pytest.fixture(autouse=True)
def nothing_has_failed() -> Iterator[None]:
    recorded_calls.failed.clear()
    yield
    recorded_calls.failed.clear()


def retry(client: Client, row: Download, **options: Any) -> Any:
    return client.post(RETRY, {"download_key": str(row.pk)}, **options)


def queued_keys() -> list[str]:
    """Return the download keys of the tasks on the queue."""
    return [str(task["args"][1]) for task in queues.waiting()]


def test_a_failed_download_is_built_again_as_the_same_row(signed_in: Client, user: Any) -> None:
    _, key = start_download(recorded_calls.fail_once, user, "orders.csv", args=["2026"])
    queues.run_waiting()
    row = Download.objects.get(pk=key)
    assert (row.failed, row.attempts) == (True, 1)
    response = retry(signed_in, row)
    assert (response.status_code, response.content) == (200, b"")
    row.refresh_from_db()
    assert (row.state, row.attempts, row.errors) == (DownloadState.PENDING, 0, "")
    queues.run_waiting()
    row.refresh_from_db()
    assert (row.complete, row.attempts) == (True, 1)
    assert Download.objects.count() == 1


@pytest.mark.parametrize("values", [{}, {"running": True}], ids=["pending", "running"])
def test_a_stalled_download_is_built_again(signed_in: Client, user: Any, values: Any) -> None:
    row = download(user, heard_at=long_ago(), **values)
    assert retry(signed_in, row).status_code == 200
    assert queued_keys() == [row.download_key]
    row.refresh_from_db()
    assert row.in_progress


def test_an_attempt_that_comes_back_after_a_retry_has_lost(signed_in: Client, user: Any) -> None:
    row = download(user)
    with suppress(DownloadCancelled), claimed(row):
        stall_all()
        assert retry(signed_in, row).status_code == 200
        cache.save_download(row.download_key, [["late"]])
        pytest.fail("The attempt has not noticed.")
    row.refresh_from_db()
    assert (row.state, row.attempts) == (DownloadState.PENDING, 0)


def test_an_attempt_that_lives_in_the_cache_alone_is_left_alone(
    signed_in: Client, user: Any, shared_cache: str
) -> None:
    row = download(user, running=True, heard_at=long_ago())
    with transaction.atomic():
        cache.set_percentage(row.download_key, 40)
    assert retry(signed_in, row).status_code == 200
    assert queued_keys() == []


def test_a_complete_download_is_requested_anew_as_another_row(signed_in: Client, user: Any) -> None:
    row = download(user, complete=True, name="Orders", filename="orders.csv")
    assert retry(signed_in, row).status_code == 200
    new = Download.objects.exclude(pk=row.pk).get()
    assert (new.name, new.filename, new.state) == ("Orders", "orders.csv", DownloadState.PENDING)
    assert new.call == row.call
    # A second click, while the new one is in progress.
    assert retry(signed_in, row).status_code == 200
    assert queued_keys() == [new.download_key]
    queues.run_waiting()
    assert {each.state for each in Download.objects.all()} == {DownloadState.COMPLETE}


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["form", "htmx"])
@pytest.mark.parametrize("values", [{}, {"running": True}], ids=["pending", "running"])
def test_a_download_in_progress_stays_as_it_is(
    signed_in: Client, user: Any, values: Any, headers: Any
) -> None:
    row = download(user, **values)
    before = Download.objects.values().get()
    assert retry(signed_in, row, headers=headers).status_code == 200
    assert Download.objects.values().get() == before
    assert queued_keys() == []


def test_a_second_click_does_nothing(signed_in: Client, user: Any) -> None:
    row = download(user, failed=True)
    for _ in range(3):
        assert retry(signed_in, row).status_code == 200
    assert queued_keys() == [row.download_key]


def test_htmx_gets_the_new_list(signed_in: Client, user: Any) -> None:
    row = download(user, failed=True)
    response = retry(signed_in, row, headers=HTMX)
    assert response.status_code == 200
    assert 'data-state="pending"' in response.text
    assert "HX-Trigger" not in response
    # The page returns to itself.
    assert 'name="next" value="/orders/?page=2"' in response.text


def test_a_form_returns_to_its_page_of_this_site(signed_in: Client, user: Any) -> None:
    row = download(user, failed=True)
    data = {"download_key": str(row.pk), "next": "/orders/?page=2"}
    assert signed_in.post(RETRY, data).headers["Location"] == "/orders/?page=2"
    assert signed_in.post(RETRY, {**data, "next": "https://evil.example/"}).status_code == 200


@pytest.mark.parametrize("state", [{"failed": True}, {"complete": True}, {}], ids=str)
def test_a_download_of_another_user_or_without_a_call_looks_like_an_unknown_one(
    signed_in: Client, user: Any, other_user: Any, state: Any
) -> None:
    foreign = download(other_user, **state)
    without = DownloadFactory(collection__user=user, **state)
    expired = download(user, complete=True, expired=True)
    before = list(Download.objects.order_by("pk").values())
    answers = [
        signed_in.post(RETRY, {"download_key": key})
        for key in (foreign.pk, without.pk, expired.pk, uuid.uuid4(), "x", "")
    ]
    assert {(each.status_code, each.content) for each in answers} == {(404, answers[0].content)}
    menus = [retry(signed_in, row, headers=HTMX) for row in (foreign, without, expired)]
    assert {(each.status_code, each.headers.get("HX-Trigger")) for each in menus} == {(200, None)}
    assert list(Download.objects.order_by("pk").values()) == before
    assert queued_keys() == []


# The limit


@pytest.mark.parametrize("state", [{"failed": True}, {"complete": True}], ids=str)
def test_the_limit_of_the_owner_is_respected(
    signed_in: Client, user: Any, settings: Any, state: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    row = download(user, **state)
    DownloadFactory(collection=row.collection, running=True)
    text = "You have 1 download in progress. Wait until it has finished, or cancel it."
    response = retry(signed_in, row)
    assert (response.status_code, response.text) == (409, text)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    response = retry(signed_in, row, headers=HTMX)
    assert response.status_code == 200
    assert text in response.headers["HX-Trigger"]
    assert f"download-{row.pk}" in response.text
    assert Download.objects.count() == 2
    assert queued_keys() == []


# The site's say

may_start = SiteFunction(lambda user, row: (user.get_username(), row.name), answer=True)
asked = may_start.asked


@pytest.fixture
def site(settings: Any) -> Any:
    """Return a function that sets the answer of the site."""
    settings.ASYNC_DOWNLOADS_MAY_START = f"{__name__}.may_start"
    return may_start.begin()


@pytest.mark.parametrize("state", [{"failed": True}, {"complete": True}], ids=str)
@pytest.mark.parametrize(("value", "status"), [(True, 200), (1, 200), (False, 404), (None, 404)])
def test_the_site_decides_who_may_start_again(
    site: Any, signed_in: Client, user: Any, state: Any, value: Any, status: int
) -> None:
    site(value)
    row = download(user, name="Orders", **state)
    assert retry(signed_in, row).status_code == status
    assert asked == [("ada", "Orders")]
    assert len(queued_keys()) == (status == 200)


def test_a_refusal_looks_like_an_unknown_download_and_htmx_gets_a_text(
    site: Any, signed_in: Client, user: Any
) -> None:
    site(False)
    row = download(user, failed=True)
    unknown = signed_in.post(RETRY, {"download_key": uuid.uuid4()})
    assert retry(signed_in, row).content == unknown.content
    response = retry(signed_in, row, headers=HTMX)
    assert response.status_code == 200
    assert "You may no longer request this file." in response.headers["HX-Trigger"]


def test_an_exception_of_the_site_refuses_and_is_logged(
    site: Any, signed_in: Client, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site(LookupError("which tenant?"))
    row = download(user, failed=True)
    assert retry(signed_in, row).status_code == 404
    (record,) = [each for each in caplog.records if each.name == "async_downloads.permissions"]
    assert "ASYNC_DOWNLOADS_MAY_START" in record.getMessage()
    assert "which tenant?" in str(record.exc_info)


def test_a_click_that_does_nothing_does_not_ask_the_site(
    site: Any, signed_in: Client, user: Any
) -> None:
    assert retry(signed_in, download(user)).status_code == 200
    assert asked == []


# Faults


@pytest.mark.parametrize("state", [{"failed": True}, {"complete": True}], ids=str)
@pytest.mark.parametrize(
    "task",
    # The last one takes no arguments any more.
    ["no.such.task", "tests.jobs.not_callable", "tests.recorded_calls.REASON", "tests.jobs.fail"],
)
def test_a_task_that_no_longer_exists_has_a_clear_answer(
    signed_in: Client, user: Any, caplog: pytest.LogCaptureFixture, task: str, state: Any
) -> None:
    row = download(user, task=task, args=["2026"], **state)
    before = Download.objects.values().get()
    response = retry(signed_in, row)
    assert response.status_code == 409
    assert "cannot be built again" in response.text
    assert "cannot be queued again" in caplog.text
    assert "cannot be built again" in retry(signed_in, row, headers=HTMX).headers["HX-Trigger"]
    assert Download.objects.values().get() == before


@pytest.mark.parametrize("name", ["get_for_user", "retry"])
def test_a_busy_database_is_503(
    signed_in: Client, user: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    row = download(user, failed=True)

    def busy(*args: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(store, name, busy)
    response = retry(signed_in, row)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_a_queue_that_is_away_leaves_the_download_waiting(
    signed_in: Client, user: Any, settings: Any
) -> None:
    row = download(user, task="tests.jobs.celery_remember_dead", failed=True)
    assert retry(signed_in, row).status_code == 200
    row.refresh_from_db()
    assert row.state == DownloadState.PENDING
    settings.ASYNC_DOWNLOADS_RESCUE = False
    Download.objects.update(state=DownloadState.FAILED)
    assert retry(signed_in, row).status_code == 200
    row.refresh_from_db()
    assert (row.failed, row.error_text) == (True, "The download could not be queued.")


# What pages show


def button(row: Download, *, listed: bool = False) -> str:
    return f'id="{"listed-" if listed else ""}download-retry-{row.pk}"'


@pytest.mark.parametrize(
    ("values", "in_menu", "on_page"),
    [
        ({"failed": True}, "Try again", "Try again"),
        ({"heard_at": long_ago()}, "Try again", "Try again"),
        ({"running": True, "heard_at": long_ago()}, "Try again", "Try again"),
        ({"complete": True}, "", "Make again"),
        ({}, "", ""),
        ({"running": True}, "", ""),
    ],
)
def test_each_state_has_its_button(
    signed_in: Client, user: Any, settings: Any, values: Any, in_menu: str, on_page: str
) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = False
    row = download(user, name="A & B", **values)
    menu = signed_in.get(UPDATE, headers=HTMX).text
    page = signed_in.get(LIST).text
    for html, text, listed in ((menu, in_menu, False), (page, on_page, True)):
        assert (button(row, listed=listed) in html) == bool(text)
        assert not text or f'aria-label="{text}: A &amp; B">{text}</button>' in html


@pytest.mark.parametrize("values", [{"failed": True}, {"complete": True}, {"heard_at": long_ago()}])
def test_a_download_without_a_call_has_no_button(signed_in: Client, user: Any, values: Any) -> None:
    DownloadFactory(collection__user=user, **values)
    for response in (signed_in.get(UPDATE, headers=HTMX), signed_in.get(LIST)):
        assert "download-retry" not in response.text


def test_the_json_says_which_downloads_can_be_built_again(signed_in: Client, user: Any) -> None:
    failed, complete = download(user, failed=True), download(user, complete=True)
    without = DownloadFactory(collection=failed.collection, failed=True)
    entries = signed_in.get(UPDATE).json()["downloads"]
    urls = {entry["download_key"]: entry["retry_url"] for entry in entries}
    assert urls == {
        failed.download_key: f"{RETRY}?download_key={failed.pk}",
        complete.download_key: f"{RETRY}?download_key={complete.pk}",
        without.download_key: "",
    }
    assert all(entry["can_retry"] == bool(entry["retry_url"]) for entry in entries)


@pytest.mark.parametrize("state", [{"failed": True}, {"complete": True}], ids=str)
def test_a_page_without_the_button_is_out_of_date(
    signed_in: Client, user: Any, shared_cache: str, state: Any
) -> None:
    row = DownloadFactory(collection__user=user, **state)
    page = signed_in.get(LIST).text
    version = store.Version.parse(page.partition(' data-version="')[2].partition('"')[0])
    Download.objects.update(**recorded())
    assert version is not None
    seen = version._replace(token="expired")
    response = signed_in.get(LIST, {"version": str(seen)}, headers=HTMX)
    assert response.status_code == 200
    assert button(row, listed=True) in response.text


def test_a_reason_does_not_advise_to_request_a_file_that_can_be_tried_again(
    signed_in: Client, user: Any
) -> None:
    text = "Something went wrong while creating the file."
    _, key = start_download(recorded_calls.fail, user, "orders.csv")
    queues.run_waiting()
    row = Download.objects.get(pk=key)
    # The row and the JSON have the whole text, as ever.
    assert row.errors == f"{text} Please request it again."
    assert row.error_text == text
    assert f">{text}</span>" in signed_in.get(UPDATE, headers=HTMX).text
    Download.objects.update(task="", arguments="")
    assert f"{text} Please request it again.</span>" in signed_in.get(UPDATE, headers=HTMX).text


def test_the_owner_of_a_missing_file_may_try_again_from_its_page(
    signed_in: Client, user: Any, staff_user: Any
) -> None:
    row = download(user, complete=True)
    default_storage.delete(row.filepath)
    for _ in range(2):
        response = signed_in.get(row.url)
        assert response.status_code == 410
        assert "Try again" in response.text
        assert "Please request it again." not in response.text
    staff = Client()
    staff.force_login(staff_user)
    assert "Try again" not in staff.get(row.url).text
    data = {"download_key": str(row.pk), "next": reverse("async_downloads:download_list")}
    assert signed_in.post(RETRY, data).headers["Location"] == LIST
    queues.run_waiting()
    row.refresh_from_db()
    assert row.complete
    response = signed_in.get(row.url)
    assert b"".join(response) == b"row\n"


def test_the_clock_of_the_database_says_what_has_stalled(
    signed_in: Client, user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ASYNC_DOWNLOADS_RESCUE = False
    put_database_ahead(monkeypatch, 600)
    # By the clock of this process, its heartbeat is yet to come.
    row = download(user, running=True, heard_at=timezone.now() + timedelta(seconds=400))
    assert "Try again" in signed_in.get(LIST).content.decode()
    retry(signed_in, row)
    assert queued_keys() == [row.download_key]
