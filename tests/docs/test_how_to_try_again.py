"""docs/how-to/try-again.md."""

import re
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from async_downloads import cache
from async_downloads.models import Call, Download
from async_downloads.shortcuts import start_download
from tests import queues
from tests.docs.helpers import content, executed, problems, rows_of
from tests.docs.people import person_who_may_view_orders
from tests.factories import OrderFactory
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/try-again.md"

COVERED = {
    "def may_start": "test_a_site_refuses_to_build_a_file_again",
    "MAY_START = ": "test_the_settings_satisfy_the_checks",
}

RETRY = "async_downloads:retry"


@pytest.fixture
def rights(quick_start: Any, page: Page) -> None:
    """Install the module that the settings name."""
    quick_start("orders.rights", page.placed("def may_start"))


@pytest.fixture
def start_and_fail(quick_start: Any) -> Callable[[Any], Download]:
    """Starts an export of the site, which then has failed."""
    task = vars(sys.modules["orders.tasks"])["export_orders"]

    def start(user: Any) -> Download:
        _, key = start_download(task, user, "orders.csv", "Open orders", args=["open"])
        OrmQ.objects.all().delete()
        cache.set_error(key, "The first attempt has failed.")
        return Download.objects.get(pk=key)

    return start


def test_the_settings_satisfy_the_checks(
    as_documented: Any, settings: Any, request: pytest.FixtureRequest
) -> None:
    documented = as_documented()
    # Only now: a new site must not find one of the same name.
    request.getfixturevalue("rights")
    ignored = {"W005", "W007"}
    assert problems(settings, documented, ["ASYNC_DOWNLOADS_MAY_START"], ignored) == []


def test_the_table_says_which_values_a_row_records(page: Page) -> None:
    names = {"date": date, "Decimal": Decimal, "order": object(), "queryset": object()}
    rows = rows_of(page.text, "| instead of | pass |")
    assert len(rows) >= 4
    for before, after in rows:
        for expression in re.findall(r"`([^`]+)`", before):
            value = eval(expression, names)  # noqa: S307 (our own text)
            assert Call.recordable("orders.tasks.export", [value], {}) is None, expression
        for expression in re.findall(r"`([^`]+)`", after):
            value = eval(expression, names)  # noqa: S307 (our own text)
            assert Call.recordable("orders.tasks.export", [value], {}), expression


@pytest.mark.django_db(transaction=True)
def test_the_same_download_is_built_by_another_attempt(
    signed_in: Client, user: Any, start_and_fail: Any
) -> None:
    failed = start_and_fail(user)
    OrderFactory(status="open", reference="R1", customer__name="Ada")
    for _ in range(2):
        signed_in.post(reverse(RETRY), {"download_key": failed.download_key})
    assert len(queues.waiting()) == 1
    queues.run_waiting()
    download = Download.objects.get()
    assert content(download) == "Reference,Customer,Total\nR1,Ada,19.90\n"
    assert (download.pk, download.timestamp) == (failed.pk, failed.timestamp)
    assert download.attempts == 1


@pytest.mark.django_db(transaction=True)
def test_a_complete_download_is_made_again_as_a_new_one(
    signed_in: Client, user: Any, start_and_fail: Any
) -> None:
    failed = start_and_fail(user)
    key = {"download_key": failed.download_key}
    signed_in.post(reverse(RETRY), key)
    queues.run_waiting()
    signed_in.post(reverse(RETRY), key)
    queues.run_waiting()
    first, second = Download.objects.order_by("timestamp")
    assert first.pk == failed.pk
    assert (first.name, first.filename, first.call) == (second.name, second.filename, second.call)
    assert content(first) == content(second)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("rights")
def test_a_site_refuses_to_build_a_file_again(
    settings: Any, client: Client, start_and_fail: Any, user: Any, page: Page
) -> None:
    documented = executed(page.snippet("MAY_START = "))
    settings.ASYNC_DOWNLOADS_MAY_START = documented["ASYNC_DOWNLOADS_MAY_START"]
    for owner, status in ((user, 404), (person_who_may_view_orders(), 200)):
        failed = start_and_fail(owner)
        client.force_login(owner)
        response = client.post(reverse(RETRY), {"download_key": failed.download_key})
        assert response.status_code == status
        assert Download.objects.get(pk=failed.pk).failed == (status == 404)
    assert "The answer then is 404" in page.text.replace("\n", " ")
