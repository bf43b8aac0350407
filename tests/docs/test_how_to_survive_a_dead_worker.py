"""docs/how-to/survive-a-dead-worker.md.

Real workers are killed in tests/faults, on each of the queues.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from async_downloads import settings as package_settings
from async_downloads import signals, store
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from async_downloads.store import rescue
from tests import queues
from tests.attempts import claimed, stall_all
from tests.docs.helpers import content, executed, problems
from tests.factories import OrderFactory
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/survive-a-dead-worker.md"

COVERED = {
    "manage.py rescue_downloads": "test_the_command_rescues",
    "MAX_ATTEMPTS = ": "test_the_settings_satisfy_the_checks",
    "RESCUE = False": "test_without_rescues_a_stalled_download_waits",
    "STUCK_AFTER = ": "test_the_settings_satisfy_the_checks",
}

EXPECTED = "Reference,Customer,Total\nR1,Ada,19.90\n"


@pytest.fixture
def stalled(user: Any, quick_start: Any) -> Download:
    """An export of the site whose worker was killed."""
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    _, key = start_download("orders.tasks.export_orders", user, "orders.csv", args=["open"])
    download = Download.objects.get(pk=key)
    claimed(download)
    # The broker has handed the message out, and forgets it.
    OrmQ.objects.all().delete()
    stall_all()
    return download


def test_the_settings_satisfy_the_checks(as_documented: Any, settings: Any) -> None:
    documented = as_documented()
    names = {name for name in documented if name.startswith("ASYNC_DOWNLOADS_")}
    assert names == {
        f"ASYNC_DOWNLOADS_{name}" for name in ("MAX_ATTEMPTS", "RESCUE", "STUCK_AFTER")
    }
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []


def test_the_numbers_are_those_of_the_settings(page: Page) -> None:
    text, defaults = page.text.replace("\n", " "), package_settings.DEFAULTS
    assert timedelta(seconds=defaults["STALLED_AFTER"]) == timedelta(minutes=2)
    assert "stalled_after), which is two minutes" in text
    assert defaults["MAX_ATTEMPTS"] == 3
    assert "max_attempts) times (three)" in text
    assert rescue.MAX_TIMES_QUEUED == 8
    assert "up to eight times in all" in text
    # The pause before the last time.
    longest = timedelta(seconds=defaults["STALLED_AFTER"]) * 2 ** (rescue.MAX_TIMES_QUEUED - 2)
    assert longest == timedelta(hours=2, minutes=8)
    assert "from two minutes to about two hours" in text


@pytest.mark.django_db(transaction=True)
def test_the_command_rescues(stalled: Download, page: Page) -> None:
    (command,) = re.findall(r"manage\.py (.*)", page.snippet("manage.py rescue_downloads"))
    call_command(*command.split(), verbosity=0)
    queues.run_waiting()
    assert content(Download.objects.get()) == EXPECTED


@pytest.mark.django_db(transaction=True)
def test_a_poll_of_the_owner_rescues(stalled: Download, signed_in: Client) -> None:
    signed_in.get(reverse("async_downloads:ajax_update"))
    queues.run_waiting()
    download = Download.objects.get()
    assert content(download) == EXPECTED
    assert download.attempts == 2


@pytest.mark.django_db(transaction=True)
def test_without_rescues_a_stalled_download_waits(
    stalled: Download, signed_in: Client, settings: Any, page: Page
) -> None:
    documented = executed(page.snippet("RESCUE = False"))
    settings.ASYNC_DOWNLOADS_RESCUE = documented["ASYNC_DOWNLOADS_RESCUE"]
    signed_in.get(reverse("async_downloads:ajax_update"))
    store.rescue_alone()
    assert queues.waiting() == []
    assert Download.objects.get().stalled
    # Its owner may select "Try again" all the same.
    assert store.retry(Download.objects.select_related("collection__user").get())
    queues.run_waiting()
    assert content(Download.objects.get()) == EXPECTED


@pytest.mark.django_db(transaction=True)
def test_a_task_that_is_rescued_begins_again_and_its_receivers_are_called_once(
    stalled: Download,
) -> None:
    completed = []

    def receive(download_key: str, **_: Any) -> None:
        completed.append(download_key)

    signals.download_completed.connect(receive)
    try:
        store.rescue_alone()
        queues.run_waiting()
        queues.run_waiting()
    finally:
        signals.download_completed.disconnect(receive)
    assert completed == [stalled.download_key]


@pytest.mark.django_db(transaction=True)
def test_the_last_attempt_fails_and_can_be_tried_again(stalled: Download, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ATTEMPTS = 1
    store.rescue_alone()
    download = Download.objects.get()
    assert download.errors.startswith("Given up")
    assert download.retryable
