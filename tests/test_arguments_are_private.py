"""The arguments of a recorded call are shown on one page: that of the download, in the admin."""

import io
import logging
from collections.abc import Iterator
from html import escape
from typing import Any, Final

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from async_downloads import cache, store
from async_downloads.models import Download, DownloadCollection
from async_downloads.shortcuts import enqueue_download, start_download
from tests import jobs, queues, recorded_calls, services
from tests.attempts import long_ago, stall_all
from tests.factories import DownloadCollectionFactory, DownloadFactory
from tests.sockets import communicator, in_thread

# Fixtures are only used in modules that import them.
from tests.sockets import no_connection_left_behind as no_connection_left_behind
from tests.sockets import pushed as pushed
from tests.staff import COLLECTIONS, LIST, chosen, client_of, detail, staff_with, text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

SECRET: Final = "swordfish<&>"

#: A part of it that is the same in every kind of text.
PLAIN: Final = "swordfish"

HTMX = {"HX-Request": "true"}

#: The columns of a download in each state.
STATES: Final[dict[str, dict[str, Any]]] = {
    "waiting": {},
    "running": {"running": True},
    "still waiting": {"heard_at": long_ago()},
    "stalled": {"running": True, "heard_at": long_ago()},
    "failed": {"failed": True},
    "complete": {"complete": True},
    "missing": {"complete": True},
}


@pytest.fixture
def rows(user: Any, settings: Any) -> dict[str, Download]:
    """Return a download in each state, with the secret among its arguments."""
    # Otherwise, reading a stalled one would change its state.
    settings.ASYNC_DOWNLOADS_RESCUE = False
    collection = DownloadCollectionFactory(user=user)
    call = recorded_calls.recorded("export", {"for": [SECRET]}, password=SECRET)
    rows = {
        name: DownloadFactory(collection=collection, name=name, **call, **columns)
        for name, columns in STATES.items()
    }
    default_storage.delete(rows["missing"].filepath)
    return rows


def test_no_page_of_the_owner_shows_them(signed_in: Client, rows: dict[str, Download]) -> None:
    update, missing = reverse("async_downloads:ajax_update"), rows["missing"].url
    answers = [
        signed_in.get(reverse("home")),
        signed_in.get(reverse("async_downloads:download_list")),
        signed_in.get(update),
        signed_in.get(update, headers=HTMX),
        signed_in.get(missing),
        *(signed_in.get(reverse("async_downloads:detail", args=[row.pk])) for row in rows.values()),
        *(
            signed_in.post(reverse("async_downloads:retry"), {"download_key": row.pk}, headers=head)
            for row in rows.values()
            for head in (HTMX, {})
        ),
        signed_in.post(reverse("async_downloads:clear_finished"), headers=HTMX),
    ]
    for answer in answers:
        assert answer.status_code in (200, 410)
        assert PLAIN not in answer.text
        assert PLAIN not in str(answer.headers)


async def test_no_message_of_a_socket_has_them(user: Any, rows: dict[str, Download]) -> None:
    page = communicator(user)
    assert (await page.connect())[0]
    assert PLAIN not in await page.receive_from()
    await in_thread(cache.set_percentage, rows["running"].download_key, 40)
    assert PLAIN not in await page.receive_from()
    await page.disconnect()


def test_no_other_page_of_the_admin_shows_them(staff_user: Any, rows: dict[str, Download]) -> None:
    admin = client_of(staff_user)
    keys = ",".join(str(row.pk) for row in rows.values())
    collection = DownloadCollection.objects.get()
    texts = [
        text(admin, LIST),
        text(admin, f"{LIST}summary/"),
        text(admin, f"{LIST}progress/", keys=keys),
        text(admin, COLLECTIONS),
        text(admin, detail(collection)),
        *(text(admin, detail(row).replace("change", "delete")) for row in rows.values()),
        *(text(admin, detail(row).replace("change", "history")) for row in rows.values()),
        *(
            chosen(admin, action, rows.values()).text
            for action in ("delete_selected", "cancel", "mark_failed", "run_again", "extend_expiry")
        ),
        chosen(admin, "run_again", rows.values(), post="yes").text,
        text(admin, "/admin/"),
    ]
    for shown in texts:
        assert PLAIN not in shown
    entries = LogEntry.objects.all()
    assert entries
    assert PLAIN not in str(list(entries.values()))


def test_the_admin_does_not_search_them(staff_user: Any, rows: dict[str, Download]) -> None:
    admin = client_of(staff_user)
    assert text(admin, LIST, q="waiting").count("field-name") > 1
    assert admin.get(LIST, {"q": PLAIN}).context["cl"].result_list == []


def test_the_page_of_one_download_shows_them_to_staff_who_may_view_it(
    rows: dict[str, Download],
) -> None:
    shown = text(staff_with("view_download"), detail(rows["failed"]))
    assert "tests.recorded_calls.export" in shown
    assert f"password=&quot;{escape(SECRET)}&quot;" in shown
    assert "<&>" not in shown
    others = staff_with("view_downloadcollection", "delete_download", "fetch_download")
    response = others.get(detail(rows["failed"]))
    assert response.status_code in (302, 403)
    assert PLAIN not in response.text


def test_no_command_prints_them(rows: dict[str, Download]) -> None:
    outputs = []
    for command, options in {
        "downloads_status": [[], ["--json"], ["--max-failed", "0"]],
        "cleanup_downloads": [["--dry-run"], ["--dry-run", "--json"], ["--no-input"]],
    }.items():
        for arguments in options:
            output = io.StringIO()
            try:
                call_command(command, *arguments, stdout=output, stderr=output)
            except CommandError as error:
                output.write(str(error))
            except SystemExit:
                pass
            outputs.append(output.getvalue())
    assert all(outputs)
    assert PLAIN not in "".join(outputs)


@pytest.fixture
def redis_cache(settings: Any) -> Iterator[redis.Redis]:
    """Use Redis as the cache, and return a client of it."""
    if not services.available("redis"):
        pytest.skip(f"redis does not answer at {services.redis_url()}")
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "redis"
    client = redis.Redis.from_url(services.redis_url())
    yield client
    for key in keys_of(client, settings):
        client.delete(key)
    client.close()


def keys_of(client: redis.Redis, settings: Any) -> list[bytes]:
    return list(client.scan_iter(match=f"{settings.CACHES['redis']['KEY_PREFIX']}:*"))


def test_no_cache_entry_and_no_line_of_the_log_has_them(
    user: Any,
    signed_in: Client,
    staff_user: Any,
    settings: Any,
    redis_cache: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    values: list[bytes] = []

    def remember() -> None:
        keys = keys_of(redis_cache, settings)
        values.extend(keys)
        values.extend(filter(None, redis_cache.mget(keys) if keys else []))

    recorded_calls.failed.clear()
    call: dict[str, Any] = {"args": [SECRET], "kwargs": {"password": SECRET}}
    _, key = start_download(recorded_calls.fail_once, user, "a.csv", join=True, **call)
    start_download(recorded_calls.fail_once, user, "a.csv", join=True, **call)
    remember()
    queues.run_waiting()
    remember()
    retry = reverse("async_downloads:retry")
    assert signed_in.post(retry, {"download_key": key}).status_code == 200
    queues.run_waiting()
    assert Download.objects.get(pk=key).complete
    remember()
    assert signed_in.post(retry, {"download_key": key}).status_code == 200
    start_download(jobs.celery_remember_dead, user, "b.csv", **call)
    start_download(recorded_calls.fail, user, "c.csv", **call)
    queues.run_waiting()
    _, older = cache.init_download(user, "d.csv")
    enqueue_download(recorded_calls.export, older, SECRET, password=SECRET)
    stall_all()
    store.rescue_alone()
    remember()
    Download.objects.filter(pk=key).update(task="no.such.task")
    assert signed_in.post(retry, {"download_key": key}).status_code == 409
    client_of(staff_user).get(LIST)
    signed_in.get(reverse("async_downloads:ajax_update"))
    remember()
    assert Download.objects.filter(arguments__contains=PLAIN).count() >= 4
    assert len(values) > 10
    assert not [value for value in values if PLAIN.encode() in value]
    assert len(caplog.records) > 10
    assert PLAIN not in caplog.text
